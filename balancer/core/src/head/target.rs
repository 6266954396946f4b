//! Targets that engines cannot hold, spelt so that they can: bytes that are no UTF-8 become characters nobody else uses, and come back.

use std::borrow::Cow;

/// Stands for the byte 0x80; the others follow.
const FIRST: u32 = 0xf780;
const LAST: u32 = 0xf7ff;

/// The target as engines can hold it; borrowed: as it came. Four ASCII characters no engine takes are percent-encoded for good.
pub(super) fn spelt(target: &[u8]) -> Cow<'_, [u8]> {
    if target.is_ascii() && !target.iter().any(|b| is_foreign(*b)) {
        return Cow::Borrowed(target);
    }
    let mut out = Vec::with_capacity(target.len() + 16);
    let mut in_query = false;
    for piece in target.utf8_chunks() {
        for letter in piece.valid().chars() {
            in_query |= letter == '?';
            spell(&mut out, letter, in_query);
        }
        piece.invalid().iter().for_each(|b| stand_in(&mut out, *b));
    }
    match out == target {
        true => Cow::Borrowed(target),
        false => Cow::Owned(out),
    }
}

fn is_foreign(byte: u8) -> bool {
    matches!(byte, b'<' | b'>' | b'`' | b'"')
}

fn spell(out: &mut Vec<u8>, letter: char, in_query: bool) {
    let mut bytes = [0; 4];
    let bytes = letter.encode_utf8(&mut bytes).as_bytes();
    let encoded = match letter {
        '<' | '>' => true,
        '`' => !in_query,
        '"' => in_query,
        _ => false,
    };
    if encoded {
        out.extend_from_slice(format!("%{:02X}", bytes[0]).as_bytes());
    } else if (FIRST..=LAST).contains(&u32::from(letter)) {
        // Somebody does use it.
        bytes.iter().for_each(|b| stand_in(out, *b));
    } else {
        out.extend_from_slice(bytes);
    }
}

fn stand_in(out: &mut Vec<u8>, byte: u8) {
    let letter = char::from_u32(FIRST + u32::from(byte & 0x7f)).unwrap_or('?');
    let mut bytes = [0; 4];
    out.extend_from_slice(letter.encode_utf8(&mut bytes).as_bytes());
}

/// The target as the client sent it. None: it is that already.
pub fn as_sent(target: &[u8]) -> Option<Vec<u8>> {
    if target.is_ascii() {
        return None;
    }
    let mut out = Vec::with_capacity(target.len());
    let mut changed = false;
    for letter in std::str::from_utf8(target).ok()?.chars() {
        let code = u32::from(letter);
        if (FIRST..=LAST).contains(&code) {
            changed = true;
            out.push((code - FIRST) as u8 | 0x80);
        } else {
            let mut bytes = [0; 4];
            out.extend_from_slice(letter.encode_utf8(&mut bytes).as_bytes());
        }
    }
    changed.then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn most_targets_stay() {
        for target in ["/", "/a?b=c", "/a\"b?`", "/caf\u{e9}/\u{4f60}", "/%ff"] {
            assert!(
                matches!(spelt(target.as_bytes()), Cow::Borrowed(_)),
                "{target}"
            );
            assert_eq!(as_sent(target.as_bytes()), None, "{target}");
        }
        assert_eq!(*spelt(b"/<a>`?<`\""), *b"/%3Ca%3E%60?%3C`%22");
    }

    proptest! {
        #[test]
        fn what_was_spelt_comes_back(rest in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut target = b"/\xef\x9e\x80".to_vec();
            target.extend(rest.into_iter().filter(|b| !is_foreign(*b)));
            let spelt = spelt(&target);
            prop_assert!(std::str::from_utf8(&spelt).is_ok());
            prop_assert_eq!(as_sent(&spelt).unwrap_or(spelt.to_vec()), target);
        }
    }
}
