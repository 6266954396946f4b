//! Lines and bodies as they come over the wire.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt};

use super::Body;

/// Longest line.
const MAX_LINE: usize = 8 << 10;
/// Largest body.
const MAX_BODY: u32 = 1 << 20;

pub(super) enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    TooLong,
}

/// The next line. None: the client is done, or hung up within a line.
pub(super) async fn line(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Line>> {
    let mut line = Vec::new();
    let limit = MAX_LINE as u64 + 1;
    read.take(limit).read_until(b'\n', &mut line).await?;
    Ok(match line.pop() {
        Some(b'\n') => Some(Line::Whole(line)),
        Some(_) if line.len() >= MAX_LINE => Some(Line::TooLong),
        _ => None,
    })
}

/// A length and as many bytes.
pub(super) async fn body(read: &mut (impl AsyncRead + Unpin)) -> io::Result<Body> {
    let length = read.read_u32().await?;
    if length == 0 || length >> 31 == 1 {
        return Ok(Body::Closed);
    }
    if length > MAX_BODY {
        return Ok(Body::TooBig);
    }
    // Grows with what arrives, not with what was announced.
    let mut body = Vec::new();
    read.take(length.into()).read_to_end(&mut body).await?;
    if body.len() < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Body::Whole(body))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn lines_end_with_a_line_feed() {
        let long = vec![b'x'; MAX_LINE + 5];
        for (input, whole) in [
            (&b"a b\nc"[..], Some(&b"a b"[..])),
            (b"\n", Some(b"")),
            (b"a", None),
            (b"", None),
        ] {
            let got = line(&mut &input[..]).await.unwrap();
            assert_eq!(
                matches!(&got, Some(Line::Whole(l)) if Some(&l[..]) == whole),
                whole.is_some()
            );
            assert_eq!(got.is_none(), whole.is_none());
        }
        assert!(matches!(
            line(&mut &long[..]).await.unwrap(),
            Some(Line::TooLong)
        ));
    }

    #[tokio::test]
    async fn bodies_have_a_length() {
        let read = async |bytes: &[u8]| body(&mut &bytes[..]).await;
        assert!(matches!(read(b"\0\0\0\x02abc").await.unwrap(), Body::Whole(b) if b == b"ab"));
        assert!(matches!(read(b"\0\0\0\0").await.unwrap(), Body::Closed));
        assert!(matches!(
            read(b"\x80\0\0\x01a").await.unwrap(),
            Body::Closed
        ));
        assert!(matches!(
            read(b"\0\x10\0\x01a").await.unwrap(),
            Body::TooBig
        ));
        assert!(read(b"\0\0\0\x02a").await.is_err());
        assert!(read(b"\0\0").await.is_err());
    }
}
