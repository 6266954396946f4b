//! One party's certificate and key, as they are stored.

use hancock_proto::time::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::{Name, TlsError};

/// What an authority hands out; no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// PEM.
    pub certificate: String,
    /// PEM of who signed it.
    pub authority: String,
    /// When it was signed.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
}

/// A certificate with its key. A secret: a file with it belongs to its owner alone (mode 0600).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    #[serde(flatten)]
    pub(crate) signed: Signed,
    /// PEM.
    pub(crate) key: String,
}

/// Without the key: it must not get into a log.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity until {}", self.signed.until)
    }
}

impl Signed {
    /// When a new one is fetched: as long before the end as a third of the whole time.
    pub fn due(&self) -> Timestamp {
        let whole = self.until.since(self.from);
        self.from + whole.mul_f64(2.0 / 3.0)
    }

    /// Whether it is time for a new one.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now >= self.due()
    }
}

impl Identity {
    /// What was signed.
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// Whom it names; None: it is none of a cluster.
    pub fn name(&self) -> Option<Name> {
        Name::of(&certificate(&self.signed.certificate).ok()?)
    }

    /// The authority's certificate as PEM, for programs that want a file with it.
    pub fn authority(&self) -> &str {
        &self.signed.authority
    }
}

/// Reads a certificate.
pub(crate) fn certificate(pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| TlsError::new("read a certificate", e))
}

/// Reads a key.
pub(crate) fn key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| TlsError::new("read a key", e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_is_due_when_a_third_is_left() {
        let signed = Signed {
            certificate: String::new(),
            authority: String::new(),
            from: Timestamp(30_000),
            until: Timestamp(60_000),
        };
        assert!(!signed.is_due(Timestamp(49_999)));
        assert!(signed.is_due(Timestamp(50_000)));
        // A clock that was put back does not hurry.
        assert!(!signed.is_due(Timestamp(0)));
    }
}
