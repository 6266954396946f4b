//! How a peer is chosen: the words of a document, and what they mean.

/// How a peer is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Smooth weighted round robin.
    Rotation,
    /// The fewest open requests and sessions per unit of weight.
    LeastConn,
    /// The better of two drawn at random, by latency and by what is open.
    P2c,
    /// The original's hash ring.
    Ring(KeyKind),
    /// A Maglev table.
    Maglev(KeyKind),
}

/// What a hashing mode hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The path.
    Path,
    /// The client's address.
    Client,
    /// The header `X-Hash-Key`, else the path.
    Header,
}

impl Mode {
    /// The words of all modes, of several for one the longest.
    pub const WORDS: [&'static str; 9] = [
        "rr",
        "least_conn",
        "p2c",
        "url_hash",
        "ip_hash",
        "header_hash",
        "url_maglev",
        "ip_maglev",
        "header_maglev",
    ];

    /// What a document's word means.
    pub fn read(word: Option<&str>) -> Self {
        match word {
            None | Some("" | "rr") => Mode::Rotation,
            Some("least_conn") => Mode::LeastConn,
            Some("p2c") => Mode::P2c,
            Some("ip_hash") => Mode::Ring(KeyKind::Client),
            Some("header_hash") => Mode::Ring(KeyKind::Header),
            Some("maglev" | "url_maglev") => Mode::Maglev(KeyKind::Path),
            Some("ip_maglev") => Mode::Maglev(KeyKind::Client),
            Some("header_maglev") => Mode::Maglev(KeyKind::Header),
            // The original hashes the path under every word it does not know.
            Some(_) => Mode::Ring(KeyKind::Path),
        }
    }

    /// The word for it; of several the longest.
    pub fn word(self) -> &'static str {
        match self {
            Mode::Rotation => "rr",
            Mode::LeastConn => "least_conn",
            Mode::P2c => "p2c",
            Mode::Ring(KeyKind::Path) => "url_hash",
            Mode::Ring(KeyKind::Client) => "ip_hash",
            Mode::Ring(KeyKind::Header) => "header_hash",
            Mode::Maglev(KeyKind::Path) => "url_maglev",
            Mode::Maglev(KeyKind::Client) => "ip_maglev",
            Mode::Maglev(KeyKind::Header) => "header_maglev",
        }
    }

    /// The same for TCP connections: they have neither path nor headers, so every hash is one of the client's address.
    #[must_use]
    pub fn over_tcp(self) -> Self {
        match self {
            Mode::Ring(_) => Mode::Ring(KeyKind::Client),
            Mode::Maglev(_) => Mode::Maglev(KeyKind::Client),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_they_are_written() {
        for word in Mode::WORDS {
            assert_eq!(Mode::read(Some(word)).word(), word);
        }
        assert_eq!(Mode::read(Some("maglev")).word(), "url_maglev");
        assert_eq!(Mode::read(Some("hash")).word(), "url_hash");
        assert_eq!(Mode::read(Some("nonsense")).word(), "url_hash");
    }
}
