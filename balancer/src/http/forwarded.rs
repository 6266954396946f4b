//! What origins are told of a request's way: `X-Forwarded-For`, `-Proto` and `-Host`.

use std::fmt::Write;
use std::net::IpAddr;

use hyper::http::{HeaderValue, header};
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use hancock_balancer_core::settings::Forwarding;

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";

/// The address at the other end of the connection.
pub(super) fn sender(session: &Session) -> Option<IpAddr> {
    Some(session.client_addr()?.as_inet()?.ip())
}

/// Who asks, as far as the service believes what it is told.
pub(super) fn client(session: &Session, forwarding: &Forwarding) -> Option<IpAddr> {
    let sender = sender(session)?;
    if forwarding.trusted.is_none() {
        return Some(sender);
    }
    let lists: Vec<&[u8]> = lists(session.req_header()).collect();
    Some(forwarding.client(sender, lists.into_iter()))
}

/// Tells the origin. `client`: who asks.
pub(super) fn tell(
    request: &mut RequestHeader,
    session: &Session,
    client: Option<IpAddr>,
    forwarding: &Forwarding,
) -> Result<()> {
    let sender = sender(session);
    let hands_on = sender.is_none_or(|s| forwarding.hands_on(s));
    let list = match forwarding.replace {
        true => text(client),
        false => appended(request, sender, hands_on),
    };
    request.insert_header(FOR, list)?;
    let trusted = sender.is_some_and(|s| forwarding.trusts(s));
    if !hands_on {
        request.remove_header(PROTO);
        request.remove_header(HOST);
    }
    let known = |request: &RequestHeader, name| trusted && request.headers.contains_key(name);
    if forwarding.proto && !known(request, PROTO) {
        request.insert_header(PROTO, HeaderValue::from_static("http"))?;
    }
    if forwarding.host
        && !known(request, HOST)
        && let Some(host) = session.req_header().headers.get(header::HOST)
    {
        request.insert_header(HOST, host.clone())?;
    }
    Ok(())
}

fn lists(request: &RequestHeader) -> impl Iterator<Item = &[u8]> {
    request.headers.get_all(FOR).iter().map(|v| v.as_bytes())
}

/// What came, if that is handed on, and who sent it.
fn appended(request: &RequestHeader, sender: Option<IpAddr>, hands_on: bool) -> String {
    let mut list = String::new();
    for value in lists(request).filter(|_| hands_on) {
        list.push_str(&String::from_utf8_lossy(value));
        list.push_str(", ");
    }
    // Writing to a string cannot fail.
    let _ = match sender {
        Some(ip) => write!(list, "{ip}"),
        None => write!(list, "unknown"),
    };
    list
}

fn text(client: Option<IpAddr>) -> String {
    client.map_or_else(|| "unknown".to_owned(), |ip| ip.to_string())
}
