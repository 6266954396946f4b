//! What a hash mode looks at.

mod address;
mod path;

use std::net::IpAddr;

use crate::upstream::{KeyKind, Mode};

pub use path::normalise;

/// Of the original's hash.
const RING: u64 = 31;
/// Of Maglev's: odd, and with bits all over, so that short keys are spread too.
const WIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The parts of a request a mode may hash. Borrowed: nothing is computed before a mode asks for it.
#[derive(Debug, Clone, Copy)]
pub struct RequestKey<'a> {
    /// Request target as sent, query included.
    pub target: &'a [u8],
    /// The client's address; None: not known.
    pub client: Option<IpAddr>,
    /// Value of `X-Hash-Key`, when there is one, even an empty one.
    pub header: Option<&'a [u8]>,
}

impl RequestKey<'_> {
    /// The key's hash under `mode`: 32 bits for a ring, 64 for Maglev, 0 where nothing is hashed.
    pub fn hash(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Rotation | Mode::LeastConn | Mode::P2c => 0,
            Mode::Ring(kind) => self.polynomial(kind, RING) & u64::from(u32::MAX),
            Mode::Maglev(kind) => mix(self.polynomial(kind, WIDE)),
        }
    }

    fn polynomial(&self, kind: KeyKind, multiplier: u64) -> u64 {
        match (kind, self.header) {
            (KeyKind::Client, _) => self.client.map_or(0, |ip| address::hash(ip, multiplier)),
            (KeyKind::Header, Some(value)) => bytes(value, multiplier),
            (KeyKind::Header, None) | (KeyKind::Path, _) => path::hash(self.target, multiplier),
        }
    }
}

fn bytes(text: &[u8], multiplier: u64) -> u64 {
    let mut polynomial = Polynomial::new(multiplier);
    polynomial.add(text);
    polynomial.hash
}

/// `h = h * multiplier + byte`, as bytes come.
struct Polynomial {
    hash: u64,
    multiplier: u64,
}

impl Polynomial {
    fn new(multiplier: u64) -> Self {
        Self {
            hash: 0,
            multiplier,
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let raised = self.hash.wrapping_mul(self.multiplier);
            self.hash = raised.wrapping_add(u64::from(*byte));
        }
    }
}

/// The hash of a server's name, for Maglev.
pub(crate) fn name(text: &str) -> u64 {
    mix(bytes(text.as_bytes(), WIDE))
}

/// Every bit of the input changes half of the output: the finaliser of MurmurHash3 (Appleby, public domain).
pub(crate) fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(client: Option<IpAddr>, header: Option<&[u8]>) -> RequestKey<'_> {
        RequestKey {
            target: b"/abc",
            client,
            header,
        }
    }

    #[test]
    fn an_empty_header_counts() {
        let key = key(None, Some(b""));
        assert_eq!(key.hash(Mode::Ring(KeyKind::Header)), 0);
        assert_eq!(key.hash(Mode::Ring(KeyKind::Path)), 1_496_531);
        assert_eq!(key.hash(Mode::Ring(KeyKind::Client)), 0);
        assert_eq!(key.hash(Mode::Rotation), 0);
    }

    #[test]
    fn kinds_of_keys_are_told_apart() {
        let hash = |kind, header| key(None, header).hash(Mode::Maglev(kind));
        let path = hash(KeyKind::Path, Some(b"x"));
        assert_eq!(path, hash(KeyKind::Header, None));
        assert_ne!(path, hash(KeyKind::Header, Some(b"x")));
        assert_ne!(path, hash(KeyKind::Client, Some(b"x")));
    }
}
