//! The fingerprint of an authority, as tokens carry it: `SECRET.FINGERPRINT`.

use std::fmt;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// Bytes of the SHA-256 that are compared: nobody can make another certificate with the same ones.
const LENGTH: usize = 16;

/// The beginning of the SHA-256 of an authority's certificate; written in hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; LENGTH]);

impl Pin {
    /// Of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = Sha256::digest(certificate);
        let mut pin = [0; LENGTH];
        pin.copy_from_slice(&digest[..LENGTH]);
        Self(pin)
    }

    /// In a token; None: the token's cluster has no certificates.
    pub fn of_token(token: &str) -> Option<Self> {
        let (_, text) = token.rsplit_once('.')?;
        if text.len() != 2 * LENGTH || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok();
        let bytes: Option<Vec<u8>> = (0..LENGTH).map(byte).collect();
        bytes?.try_into().ok().map(Self)
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_carries_it_at_its_end() {
        let pin = Pin::of(&CertificateDer::from(vec![1, 2, 3]));
        let token = format!("operator-{}.{pin}", "ab".repeat(24));
        assert_eq!(Pin::of_token(&token), Some(pin));
        assert_eq!(Pin::of_token(&token.replace('.', "-")), None);
        assert_eq!(Pin::of_token(&token[..token.len() - 1]), None);
        assert_eq!(Pin::of_token("operator.zz"), None);
        assert_ne!(pin, Pin::of(&CertificateDer::from(vec![1, 2, 4])));
    }
}
