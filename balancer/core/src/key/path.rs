//! The hash of a path in its normal form: query cut off, percent-decoded, repeated slashes merged, `.` and `..` resolved.
//!
//! The normal form is never written down. A polynomial hash can be taken from the last byte to the first, and in that order a `..` is known
//! before the name it takes away; so nothing has to be remembered, and nothing is allocated.

/// `h = h * multiplier + byte` over the normal form of the target's path, from 0 up.
pub(super) fn hash(target: &[u8], multiplier: u64) -> u64 {
    plain(target, multiplier).unwrap_or_else(|| {
        let end = target.iter().position(|b| ends_path(*b));
        let path = &target[..end.unwrap_or(target.len())];
        backwards(path, multiplier)
    })
}

fn ends_path(byte: u8) -> bool {
    matches!(byte, b'?' | b'#')
}

/// The usual path is normal already. None: this one may not be.
fn plain(target: &[u8], multiplier: u64) -> Option<u64> {
    let (mut hash, mut before) = (0u64, 0);
    for byte in target {
        match *byte {
            b'?' | b'#' => break,
            b'%' => return None,
            b'/' | b'.' if before == b'/' => return None,
            _ => {}
        }
        hash = hash.wrapping_mul(multiplier).wrapping_add(u64::from(*byte));
        before = *byte;
    }
    (target.first() == Some(&b'/')).then_some(hash)
}

/// A piece of the normal form: its hash, and the multiplier to the power of its length.
#[derive(Clone, Copy)]
struct Piece {
    hash: u64,
    power: u64,
}

impl Piece {
    const EMPTY: Piece = Piece { hash: 0, power: 1 };

    /// With `other` in front.
    fn after(self, other: Piece) -> Piece {
        Piece {
            hash: other.hash.wrapping_mul(self.power).wrapping_add(self.hash),
            power: self.power.wrapping_mul(other.power),
        }
    }
}

/// One segment as it is collected, last byte first.
struct Segment {
    piece: Piece,
    length: usize,
    dots: bool,
}

impl Segment {
    const NEW: Segment = Segment {
        piece: Piece::EMPTY,
        length: 0,
        dots: true,
    };

    /// `""`, `.` and `..` name nothing.
    fn is_nameless(&self) -> bool {
        self.dots && self.length <= 2
    }
}

fn backwards(path: &[u8], multiplier: u64) -> u64 {
    let byte = |b: u8| Piece {
        hash: u64::from(b),
        power: multiplier,
    };
    let (mut whole, mut segment) = (Piece::EMPTY, Segment::NEW);
    // Names still to be taken away; None: the last segment is not complete yet.
    let (mut dropped, mut slash) = (0usize, None);
    for b in Decoded(path).map(Some).chain([None]) {
        if let Some(b) = b.filter(|b| *b != b'/') {
            segment.piece = segment.piece.after(byte(b));
            segment.length += 1;
            segment.dots &= b == b'.';
            continue;
        }
        // A path whose last segment names nothing is a directory and keeps a slash at its end.
        let joined = *slash.get_or_insert(segment.is_nameless());
        match std::mem::replace(&mut segment, Segment::NEW) {
            s if s.is_nameless() => dropped += usize::from(s.length == 2),
            _ if dropped > 0 => dropped -= 1,
            s => {
                if joined {
                    whole = whole.after(byte(b'/'));
                }
                whole = whole.after(s.piece);
                slash = Some(true);
            }
        }
    }
    whole.after(byte(b'/')).hash
}

/// Bytes from the last to the first, percent escapes as the byte they stand for; what is not an escape stays as it is.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if let [rest @ .., b'%', high, low] = self.0
            && let Some(byte) = hex(*high, *low)
        {
            self.0 = rest;
            return Some(byte);
        }
        let (last, rest) = self.0.split_last()?;
        self.0 = rest;
        Some(*last)
    }
}

/// The path of a target in its normal form, written down.
pub fn normalise(target: &[u8]) -> Vec<u8> {
    let end = target.iter().position(|b| ends_path(*b));
    let path = decode(&target[..end.unwrap_or(target.len())]);
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut directory = true;
    for part in path.split(|b| *b == b'/') {
        directory = matches!(part, b"" | b"." | b"..");
        match part {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let mut out = vec![b'/'];
    out.extend_from_slice(&kept.join(&b'/'));
    if directory && out.len() > 1 {
        out.push(b'/');
    }
    out
}

/// Percent escapes become bytes; what is not an escape stays as it is.
fn decode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(|d| hex(d[0], d[1])))
            .flatten();
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let high = char::from(high).to_digit(16)?;
    let low = char::from(low).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;
    use proptest::prelude::*;

    const TABLE: [(&str, &str); 12] = [
        ("/", "/"),
        ("", "/"),
        ("/a?b=c", "/a"),
        ("//a///b/", "/a/b/"),
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/../..", "/"),
        ("/%61%2fb%zz", "/a/b%zz"),
        ("/a/b/..", "/a/"),
        ("/a/.b/...", "/a/.b/..."),
        ("a/b/", "/a/b/"),
        ("/%2e%2E/a%", "/a%"),
    ];

    #[test]
    fn paths_are_normalised() {
        for (target, path) in TABLE {
            let expected = ring::hash(path.as_bytes());
            assert_eq!(hash(target.as_bytes(), 31) as u32, expected, "{target}");
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_need_not_be_written_down(target in "(/|\\.|\\.\\.|a|bc|%2f|%2E|%|%4|%%41|\\?|#|é){0,24}") {
            let written = ring::hash(&normalise(target.as_bytes()));
            prop_assert_eq!(hash(target.as_bytes(), 31) as u32, written);
        }

        #[test]
        fn any_bytes_have_a_hash(target in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(hash(&target, 31) as u32, ring::hash(&normalise(&target)));
        }
    }
}
