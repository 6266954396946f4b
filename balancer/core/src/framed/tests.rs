use super::*;

#[test]
fn lines_that_are_refused() {
    for (line, message) in [
        ("", "command invalid"),
        ("GET", "command invalid"),
        ("GET upstream", "command invalid"),
        ("a b c d", "command invalid"),
        ("GET nothing x", "topic invalid"),
        ("FOO upstream x", "method invalid"),
        ("LOAD upstream x", "method invalid"),
        ("TRACE code x", "method invalid"),
    ] {
        assert_eq!(Command::parse(line.as_bytes()), Err(message), "{line}");
    }
    assert_eq!(Command::parse(b"GET upstream \xff"), Err("command invalid"));
}

#[test]
fn words_in_any_case_and_blanks_in_any_number() {
    let command = Command::parse(b"  pUt   UPSTREAM  Name\r").unwrap();
    assert_eq!(
        command,
        Command {
            method: Method::Put,
            topic: Topic::Upstream,
            name: "Name".to_owned()
        }
    );
    assert!(command.has_body());
    assert!(!Command::parse(b"PUT code x").unwrap().has_body());
    assert!(Command::parse(b"load code x").unwrap().has_body());
}

#[test]
fn replies_are_framed() {
    assert_eq!(Reply::Done.encode(), b"\0\0\0\x06\0\0\0\0OK");
    assert_eq!(
        Reply::Error("no".into()).encode(),
        b"\0\0\0\x06\0\0\0\x02no"
    );
    assert_eq!(Reply::Data("{}".into()).encode(), b"\0\0\0\x06\0\0\0\x01{}");
}

fn next(bytes: &[u8]) -> Option<(Item, usize)> {
    Decoder::default().next(bytes)
}

#[test]
fn lines_end_with_a_line_feed() {
    assert_eq!(next(b"a b\nc"), Some((Item::Refused("command invalid"), 4)));
    assert_eq!(next(b"\n"), Some((Item::Refused("command invalid"), 1)));
    assert_eq!(next(b""), None);
    let command = Command::parse(b"GET code x").unwrap();
    assert_eq!(
        next(b"GET code x\nGET"),
        Some((Item::Command(command, Vec::new()), 11))
    );
    let mut long = vec![b'x'; MAX_LINE];
    assert_eq!(next(&long), None);
    long.push(b'\n');
    assert_eq!(
        next(&long),
        Some((Item::Refused("command invalid"), MAX_LINE + 1))
    );
    long.insert(0, b'x');
    let last = Some((Item::Last("command invalid"), MAX_LINE + 2));
    assert_eq!(next(&long), last);
}

#[test]
fn bodies_have_a_length() {
    let behind = |body: &[u8]| next(&[b"PUT upstream x\n", body].concat());
    let whole = behind(b"\0\0\0\x02abc").unwrap();
    assert!(matches!(whole, (Item::Command(_, body), 21) if body == b"ab"));
    for wrong in [&b"\0\0\0\0"[..], b"\x80\0\0\x01a"] {
        assert_eq!(behind(wrong), Some((Item::Close, 15 + wrong.len())));
    }
    assert!(matches!(
        behind(b"\0\x10\0\x01"),
        Some((Item::Last("body too big"), 19))
    ));
    assert_eq!(behind(b"\0\0\0\x02a"), None);
    assert_eq!(behind(b"\0\0"), None);
}

#[test]
fn commands_may_come_byte_by_byte() {
    let sent = b"PUT upstream x\n\0\0\0\x02{}GET code info\n";
    let (mut decoder, mut arrived, mut items) = (Decoder::default(), Vec::new(), Vec::new());
    for byte in sent {
        arrived.push(*byte);
        if let Some((item, taken)) = decoder.next(&arrived) {
            arrived.drain(..taken);
            items.push(item);
        }
    }
    assert!(arrived.is_empty() && !decoder.awaits_body());
    assert!(
        matches!(&items[..], [Item::Command(_, body), Item::Command(_, none)]
        if body == b"{}" && none.is_empty())
    );
}
