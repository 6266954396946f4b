//! Whom a client believes to be a master: whoever shows a master's certificate of the cluster's authority, under whatever host name.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::{Name, Pin};

/// What is known of the authority.
#[derive(Debug, Clone)]
pub(crate) enum Anchor {
    /// Its fingerprint; the certificate comes with the handshake.
    Pin(Pin),
    /// Its certificate.
    Authority(CertificateDer<'static>),
}

/// The client's judgement of servers.
#[derive(Debug)]
pub(crate) struct Masters {
    anchor: Anchor,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a server is not believed, in words that reach the user.
fn stranger(reason: &str) -> Error {
    Error::General(reason.to_owned())
}

impl Masters {
    pub(crate) fn new(anchor: Anchor, provider: &CryptoProvider) -> Self {
        Self {
            anchor,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// The authority the server's certificate must come from.
    fn roots(&self, sent: &[CertificateDer<'_>]) -> Result<RootCertStore, Error> {
        let authority = match &self.anchor {
            Anchor::Authority(certificate) => certificate.clone(),
            Anchor::Pin(pin) => sent
                .iter()
                .find(|certificate| Pin::of(certificate) == *pin)
                .map(|certificate| certificate.clone().into_owned())
                .ok_or_else(|| {
                    stranger("this is no master of the token's cluster: its authority has another fingerprint")
                })?,
        };
        let mut roots = RootCertStore::empty();
        roots.add(authority)?;
        Ok(roots)
    }
}

impl ServerCertVerifier for Masters {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let roots = self.roots(intermediates)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let all = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, all)?;
        match Name::of(end_entity).is_some_and(|name| name.as_master().is_some()) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(stranger(
                "the certificate is of the cluster, but not a master's",
            )),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
