//! Cookies that keep a client with its peer. Their values tell peers apart and nothing else: an address cannot be guessed from one without
//! the document's secret, and an instance's name is no address.

use sha2::{Digest, Sha256};

use crate::upstream::PeerKey;

/// Digits of a value.
const DIGITS: usize = 16;

/// How a service keeps its clients with their peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Name of the cookie.
    pub name: Box<str>,
    /// What follows its value.
    pub(super) attributes: Box<str>,
    pub(super) secret: Box<str>,
}

impl Cookie {
    /// What stands for a peer; the same on every balancer that has the document.
    pub fn token(&self, key: &PeerKey) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.secret.as_bytes());
        hash.update([0]);
        match &key.instance {
            Some(instance) => hash.update(instance.as_str().as_bytes()),
            None => hash.update(key.to_string().as_bytes()),
        }
        let hash = hash.finalize();
        hash.iter()
            .take(8)
            .fold(0, |token, byte| token << 8 | u64::from(*byte))
    }

    /// The token among the cookies of a request, each argument one `Cookie` header; the first one counts.
    pub fn find<'a>(&self, headers: impl Iterator<Item = &'a [u8]>) -> Option<u64> {
        let mut pairs = headers.flat_map(|line| line.split(|b| *b == b';'));
        pairs.find_map(|pair| {
            let rest = pair.trim_ascii().strip_prefix(self.name.as_bytes())?;
            token(rest.strip_prefix(b"=")?)
        })
    }

    /// The value of `Set-Cookie` for a peer.
    pub fn set(&self, token: u64) -> String {
        format!("{}={token:016x}{}", self.name, self.attributes)
    }
}

fn token(value: &[u8]) -> Option<u64> {
    if value.len() != DIGITS {
        return None;
    }
    value.iter().try_fold(0, |token, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(token << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(secret: &str) -> Cookie {
        Cookie {
            name: "srv".into(),
            attributes: "; Path=/; HttpOnly".into(),
            secret: secret.into(),
        }
    }

    fn key(host: &str, instance: Option<&str>) -> PeerKey {
        PeerKey {
            host: host.into(),
            port: 80,
            instance: instance.and_then(|i| i.parse().ok()),
        }
    }

    #[test]
    fn a_value_is_found_again() {
        let cookie = cookie("s");
        let token = cookie.token(&key("10.0.0.1", None));
        let set = cookie.set(token);
        assert!(set.ends_with("; Path=/; HttpOnly"), "{set}");
        let pair = &set[..set.find(';').expect("attributes")];
        for (header, found) in [
            (format!("a=b; {pair}; c=d"), true),
            (pair.to_owned(), true),
            (format!("x{pair}"), false),
            (format!("{pair}0"), false),
            ("srv=zzzzzzzzzzzzzzzz".to_owned(), false),
            ("srv".to_owned(), false),
            (String::new(), false),
        ] {
            let given = cookie.find([header.as_bytes()].into_iter());
            assert_eq!(given, found.then_some(token), "{header}");
        }
    }

    #[test]
    fn values_depend_on_the_secret_and_on_who_the_peer_is() {
        let (a, b) = (key("10.0.0.1", None), key("10.0.0.2", None));
        let tokens = [cookie("s").token(&a), cookie("s").token(&b)];
        assert!(tokens[0] != tokens[1] && tokens[0] != cookie("t").token(&a));
        // An instance that moved is the same one.
        let (here, there) = (
            key("10.0.0.1", Some("web-1")),
            key("10.0.0.2", Some("web-1")),
        );
        assert_eq!(cookie("s").token(&here), cookie("s").token(&there));
    }
}
