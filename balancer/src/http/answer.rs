//! An origin's answer, read strictly before a client sees it: what a client could understand in two ways is a bad answer.

use hyper::http::{HeaderMap, StatusCode, Version, header};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;

use super::page;

/// What reasons and records call it.
pub(super) const BAD: &str = "bad_answer";

/// Refuses a head that leaves open where its body ends, or that nobody asked for; mends what can be understood in one way only.
pub(super) fn strict(response: &mut ResponseHeader, asked_to_switch: bool) -> Result<()> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS && !asked_to_switch {
        return bad("origin switched protocols unasked");
    }
    let chunked = match is_chunked(&response.headers, response.version) {
        Ok(chunked) => chunked,
        Err(why) => return bad(why),
    };
    match lengths(&response.headers) {
        Err(why) => return bad(why),
        // Chunks are what the engine reads by.
        Ok(1..) if chunked => drop(response.remove_header(&header::CONTENT_LENGTH)),
        Ok(0 | 1) => {}
        Ok(_) => {
            if let Some(length) = response.headers.get(header::CONTENT_LENGTH).cloned() {
                response.insert_header(header::CONTENT_LENGTH, length)?;
            }
        }
    }
    // Clients are told what this proxy speaks.
    response.set_version(Version::HTTP_11);
    Ok(())
}

fn is_chunked(headers: &HeaderMap, version: Version) -> Result<bool, &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(_), _) if version < Version::HTTP_11 => {
            Err("origin sent chunks before there were any")
        }
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err("origin sent a foreign transfer coding"),
    }
}

/// How many lengths there are, all of them alike.
fn lengths(headers: &HeaderMap) -> Result<usize, &'static str> {
    let all = headers.get_all(header::CONTENT_LENGTH);
    let mut count = 0;
    for length in &all {
        let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || Some(length) != all.iter().next() {
            return Err("origin sent lengths that differ or are none");
        }
        count += 1;
    }
    Ok(count)
}

fn bad(why: &'static str) -> Result<()> {
    Error::e_explain(ErrorType::HTTPStatus(502), why).map_err(|e: Box<Error>| e.into_up())
}

/// The proxy's own `Server`, and nothing that was meant for a proxy.
pub(super) fn own_headers(response: &mut ResponseHeader) -> Result<()> {
    let internal = |name: &&header::HeaderName| name.as_str().starts_with("x-accel-");
    let internal: Vec<_> = response.headers.keys().filter(internal).cloned().collect();
    for name in internal {
        response.remove_header(&name);
    }
    response.remove_header("keep-alive");
    response.insert_header(header::SERVER, page::SERVER)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(status: u16, lines: &[(&'static str, &'static str)]) -> Option<ResponseHeader> {
        let mut head = ResponseHeader::build(status, None).unwrap();
        for (name, value) in lines {
            head.append_header(*name, *value).unwrap();
        }
        strict(&mut head, false).ok().map(|()| head)
    }

    #[test]
    fn one_framing_is_left_or_none_at_all() {
        const LENGTH: &str = "content-length";
        const CODING: &str = "transfer-encoding";
        for bad in [
            &[(LENGTH, "1"), (LENGTH, "2")][..],
            &[(LENGTH, "1, 1")],
            &[(LENGTH, "+1")],
            &[(LENGTH, "")],
            &[(CODING, "xchunked")],
            &[(CODING, "chunked, identity")],
            &[(CODING, "chunked"), (CODING, "chunked")],
        ] {
            assert!(read(200, bad).is_none(), "{bad:?}");
        }
        for (fine, left) in [
            (&[(LENGTH, "1"), (LENGTH, "1")][..], (1, 0)),
            (&[(LENGTH, "1"), (CODING, "Chunked")], (0, 1)),
            (&[], (0, 0)),
        ] {
            let head = read(200, fine).unwrap();
            let count = |name| head.headers.get_all(name).iter().count();
            assert_eq!((count(LENGTH), count(CODING)), left, "{fine:?}");
        }
        assert!(read(101, &[]).is_none());
        let mut old = ResponseHeader::build(200, None).unwrap();
        old.set_version(Version::HTTP_10);
        strict(&mut old, false).unwrap();
        assert_eq!(old.version, Version::HTTP_11);
        old.set_version(Version::HTTP_10);
        old.insert_header(CODING, "chunked").unwrap();
        assert!(strict(&mut old, false).is_err());
    }
}
