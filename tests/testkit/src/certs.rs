//! Certificates for tests, signed by an authority that lives as long as its test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Certified {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Default for Authority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap());
        let issuer = issuer.unwrap();
        Self { issuer }
    }
}

impl Authority {
    /// Its own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names or addresses, good for servers and clients.
    ///
    /// # Panics
    /// When a name is none.
    pub fn certify(&self, names: &[&str]) -> Certified {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let (params, key) = (
            CertificateParams::new(names).unwrap(),
            KeyPair::generate().unwrap(),
        );
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Certified {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}
