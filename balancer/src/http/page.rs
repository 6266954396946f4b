//! The proxy's own answers.

use bytes::Bytes;
use hyper::http::{Method, StatusCode, header};
use pingora_core::Result;
use pingora_core::protocols::http::date;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use hancock_balancer_core::settings::Answer;

/// Says why the proxy answered itself.
pub(super) const REASON: &str = "X-Hancock-Reason";
/// What answers call their server: clients of the original look for it.
pub(crate) const SERVER: &str = "slardar/1.1";

const KIND: &str = "text/html; charset=utf-8";

/// Answers with a page of the proxy's own; the connection goes on only when `keep` is set.
pub(super) async fn send(
    session: &mut Session,
    status: u16,
    reason: &'static str,
    keep: bool,
) -> Result<()> {
    send_page(session, Page::ours(status, reason), reason, keep).await
}

/// Answers with a document's own words.
pub(super) async fn send_answer(
    session: &mut Session,
    answer: &Answer,
    reason: &'static str,
) -> Result<()> {
    send_page(session, Page::own(answer), reason, false).await
}

struct Page<'a> {
    status: u16,
    kind: &'a str,
    body: Bytes,
}

async fn send_page(
    session: &mut Session,
    page: Page<'_>,
    reason: &'static str,
    keep: bool,
) -> Result<()> {
    let body = page.body;
    let mut head = ResponseHeader::build(page.status, Some(5))?;
    head.insert_header(header::SERVER, SERVER)?;
    head.insert_header(header::CONTENT_TYPE, page.kind)?;
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
        down.finish_body().await?;
    } else {
        down.write_response_body(body, true).await?;
    }
    if !keep {
        // While the client still sends, so that the answer is not lost to a reset.
        down.shutdown().await;
    }
    Ok(())
}

/// A whole answer that ends its connection, where the engine has no say.
pub(super) fn whole(status: u16, reason: &str) -> Vec<u8> {
    whole_or_own(status, reason, None, false)
}

/// The same with a document's own words, if it has any. `bare`: without the body, for HEAD.
pub(super) fn whole_or_own(status: u16, reason: &str, own: Option<&Answer>, bare: bool) -> Vec<u8> {
    let page = match own {
        Some(own) => Page::own(own),
        None => Page::ours(status, reason),
    };
    page.whole(reason, bare)
}

impl<'a> Page<'a> {
    fn ours(status: u16, reason: &str) -> Self {
        Self {
            status,
            kind: KIND,
            body: page(status, reason),
        }
    }

    fn own(answer: &'a Answer) -> Self {
        Self {
            status: answer.status,
            kind: &answer.content_type,
            body: Bytes::copy_from_slice(answer.body.as_bytes()),
        }
    }

    fn whole(&self, reason: &str, bare: bool) -> Vec<u8> {
        let date = date::get_cached_date();
        let date = date.to_str().unwrap_or_default();
        let head = format!(
            "HTTP/1.1 {}\r\nServer: {SERVER}\r\nDate: {date}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{REASON}: {reason}\r\nConnection: close\r\n\r\n",
            title(self.status),
            self.kind,
            self.body.len()
        );
        let body = if bare { &[][..] } else { &self.body };
        [head.as_bytes(), body].concat()
    }
}

fn title(status: u16) -> String {
    let words = StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason());
    format!("{status} {}", words.unwrap_or("Error"))
}

/// A page as the original shows it, with the reason below.
pub(crate) fn page(status: u16, reason: &str) -> Bytes {
    let title = title(status);
    let reason = match reason {
        "" => String::new(),
        reason => format!("<p>{reason}</p>\r\n"),
    };
    Bytes::from(format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n{reason}<hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    ))
}
