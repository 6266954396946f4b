//! What bytes of a head may be, looked up; and where one of them is. Every byte of every request passes here.

/// Bytes compared at once.
const STRIDE: usize = 16;
/// Bytes of names and methods.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
            );
        byte += 1;
    }
    table
};

/// Where the first `wanted` is.
pub(super) fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    let has = |piece: &&[u8]| !piece.iter().fold(false, |has, b| has | (*b == wanted));
    let at = bytes.chunks_exact(STRIDE).take_while(has).count() * STRIDE;
    let found = bytes[at..].iter().position(|b| *b == wanted);
    found.map(|n| at + n)
}

/// Whether this may be a name or a method.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| TOKEN[usize::from(*b)])
}

/// Whether a value holds what no value may. Looks at all of it, which is faster than stopping.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    let control = |b: u8| (b < b' ' && b != b'\t') | (b == 0x7f);
    bytes.iter().fold(false, |has, b| has | control(*b))
}

/// Whether a target holds what would end it for some reader.
pub(super) fn has_blank(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(false, |has, b| has | (*b <= b' ') | (*b == 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_is() {
        for length in 0..70 {
            for place in 0..=length {
                let mut bytes = vec![b'x'; length + 1];
                bytes[length] = b'\n';
                bytes[place] = b'\n';
                assert_eq!(find(&bytes, b'\n'), Some(place), "{length}");
                assert_eq!(find(&bytes[..place], b'\n'), None);
            }
        }
    }

    #[test]
    fn every_byte_is_what_the_rules_say() {
        for byte in 0..=u8::MAX {
            let token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(&[byte]), token, "{byte}");
            let control = byte.is_ascii_control();
            assert_eq!(has_control(&[byte]), control && byte != b'\t', "{byte}");
            assert_eq!(has_blank(&[byte]), control || byte == b' ', "{byte}");
        }
        assert!(!is_token(b"") && !has_control(b"") && !has_blank(b""));
    }
}
