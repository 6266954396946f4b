//! Who may speak to a master: three secrets of a cluster, one for each door, and the authority that signs its certificates.

use std::io::{self, Read};

use hancock_tls::Authority;
use serde::{Deserialize, Serialize};

/// The secrets of a cluster. Every master has them all.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// Shown by people and programs to the API, and by a new master.
    pub operator: String,
    /// Shown by agents to the hub.
    pub join: String,
    /// Shown by masters to each other; never leaves them.
    pub(crate) peers: String,
    /// None: the cluster was begun without certificates, and its masters speak plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) authority: Option<Authority>,
}

/// Without the secrets: they must not get into a log.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials")
    }
}

impl Credentials {
    /// New ones. The tokens that leave the masters carry the fingerprint of `authority`.
    pub(crate) fn draw(authority: Option<Authority>) -> io::Result<Self> {
        let pin = authority.as_ref().map(Authority::pin);
        let pin = pin.transpose().map_err(io::Error::other)?;
        let pin = pin.map(|pin| format!(".{pin}")).unwrap_or_default();
        Ok(Self {
            operator: format!("operator-{}{pin}", hex::<24>()?),
            join: format!("join-{}{pin}", hex::<24>()?),
            peers: format!("peers-{}", hex::<24>()?),
            authority,
        })
    }

    /// Whether the cluster has certificates.
    pub fn is_encrypted(&self) -> bool {
        self.authority.is_some()
    }
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut random = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(random)
}

/// `N` random bytes as text.
pub(crate) fn hex<const N: usize>() -> io::Result<String> {
    let bytes = random::<N>()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether `shown`, the value of an Authorization header, is `token`.
pub(crate) fn is_bearer(shown: &[u8], token: &str) -> bool {
    let shown = shown.strip_prefix(b"Bearer ");
    shown.is_some_and(|shown| same(shown, token.as_bytes()))
}

/// Whether two secrets are the same; the time it takes tells nothing about where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |bits, (x, y)| bits | (x ^ y));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::time::Timestamp;
    use hancock_tls::Pin;

    use super::*;

    #[test]
    fn only_the_whole_token_is_one() {
        assert!(is_bearer(b"Bearer abc", "abc"));
        for wrong in [
            "Bearer ab",
            "Bearer abcd",
            "Bearer abd",
            "abc",
            "Bearer ",
            "",
        ] {
            assert!(!is_bearer(wrong.as_bytes(), "abc"), "{wrong}");
        }
    }

    #[test]
    fn secrets_differ_and_are_not_told() {
        let draw = || Credentials::draw(None).unwrap();
        let (one, other) = (draw(), draw());
        assert_ne!(one.operator, other.operator);
        assert_eq!(one.operator.len(), "operator-".len() + 48);
        assert!(!format!("{one:?}").contains(&one.peers));
    }

    #[test]
    fn tokens_that_leave_the_masters_carry_the_fingerprint() {
        let authority = Authority::found(&"c".parse().unwrap(), Timestamp(0)).unwrap();
        let pin = authority.pin().unwrap();
        let credentials = Credentials::draw(Some(authority)).unwrap();
        assert_eq!(Pin::of_token(&credentials.operator), Some(pin));
        assert_eq!(Pin::of_token(&credentials.join), Some(pin));
        assert!(credentials.is_encrypted());
    }
}
