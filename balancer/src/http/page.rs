//! The proxy's own answers.

use bytes::Bytes;
use hyper::http::{Method, StatusCode, header};
use pingora_core::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

/// Says why the proxy answered itself.
pub(super) const REASON: &str = "X-Hancock-Reason";

/// Answers with a page of the proxy's own; the connection goes on only when `keep` is set.
pub(super) async fn send(
    session: &mut Session,
    status: u16,
    reason: &'static str,
    keep: bool,
) -> Result<()> {
    let body = page(status, reason);
    let mut head = ResponseHeader::build(status, Some(4))?;
    head.insert_header(header::CONTENT_TYPE, "text/html; charset=utf-8")?;
    head.insert_header(header::CONTENT_LENGTH, body.len())?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(REASON, reason)?;
    let bare = session.req_header().method == Method::HEAD;
    let down = &mut session.downstream_session;
    if !keep {
        down.set_keepalive(None);
    }
    down.write_response_header(Box::new(head)).await?;
    if bare {
        down.finish_body().await
    } else {
        down.write_response_body(body, true).await
    }
}

fn page(status: u16, reason: &str) -> Bytes {
    let words = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason());
    let title = format!("{status} {}", words.unwrap_or("Error"));
    Bytes::from(format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<h1>{title}</h1>\r\n<p>{reason}</p>\r\n</body>\r\n</html>\r\n"
    ))
}
