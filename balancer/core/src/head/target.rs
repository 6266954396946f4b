//! Bytes that cannot stand in a target, but are sent all the same: other proxies hand them on, so they become escapes instead of a refusal.

/// Whether some byte of a target has to become an escape. Looks at all of it, which is faster than stopping.
pub(super) fn is_odd(target: &[u8]) -> bool {
    // The query may hold a backquote and the path a quote; that is for `escape` to say.
    let odd = |b: u8| (b == b'<') | (b == b'>') | (b == b'`') | (b == b'"');
    target.iter().fold(false, |is, b| is | odd(*b))
}

/// The target with escapes.
pub(super) fn escape(target: &[u8], out: &mut Vec<u8>) {
    let mut in_query = false;
    for byte in target {
        match byte {
            b'<' => out.extend_from_slice(b"%3C"),
            b'>' => out.extend_from_slice(b"%3E"),
            b'`' if !in_query => out.extend_from_slice(b"%60"),
            b'"' if in_query => out.extend_from_slice(b"%22"),
            other => out.push(*other),
        }
        in_query |= *byte == b'?';
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_stand_there_changes() {
        for (target, escaped) in [
            ("/a<b>`\"{}|^?c", "/a%3Cb%3E%60\"{}|^?c"),
            ("/?q=<\"`>", "/?q=%3C%22`%3E"),
            ("/%3C", "/%3C"),
        ] {
            let mut out = Vec::new();
            escape(target.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), escaped);
        }
        assert!(is_odd(b"/`") && !is_odd(b"/a{b}|c?d=[e]"));
    }
}
