//! `service[…].proxy`: how requests are carried. At least as strict as a balancer, so that no document is refused later.

use std::net::IpAddr;

use super::reader::{Field, Section};
use crate::app::{ServiceProxy, StickyCookie};
use crate::units::{Size, Span};
use crate::upstream::{ForwardedFor, NoPeer, SameSite};

const SHORTEST: Span = Span::millis(1);
const LONGEST: Span = Span::seconds(86_400);
/// Larger bodies no balancer takes.
const LARGEST_BODY: Size = Size::bytes(1 << 30);
/// More attempts than this would only spread a failure.
const MOST_ATTEMPTS: u64 = 8;
const MOST_NETS: usize = 256;
/// Longest answer for when no instance can be reached.
const LONGEST_ANSWER: usize = 16 * 1024;
const LONGEST_TEXT: usize = 256;

/// Reads `proxy`. `below`: some host of the service has a path.
pub fn proxy(field: &Field<'_>, below: bool) -> Option<ServiceProxy> {
    let mut section = field.section()?;
    let strip = section.field("strip_prefix");
    let strip_prefix = strip.flag();
    if strip_prefix == Some(true) && !below {
        strip.problem("no host of this service has a path, like web.example/api");
    }
    let proxy = ServiceProxy {
        strip_prefix,
        connect_timeout: time(&mut section, "connect_timeout"),
        send_timeout: time(&mut section, "send_timeout"),
        read_timeout: time(&mut section, "read_timeout"),
        session_timeout: time(&mut section, "session_timeout"),
        body_timeout: time(&mut section, "body_timeout"),
        keepalive_timeout: section
            .field("keepalive_timeout")
            .span(Span::seconds(0)..=LONGEST),
        max_body: max_body(&section.field("max_body")),
        attempts: attempts(&section.field("attempts")),
        retry_timeout: time(&mut section, "retry_timeout"),
        sticky: sticky(&section.field("sticky")),
        trusted_proxies: nets(&section.field("trusted_proxies")),
        forwarded_for: forwarded_for(&section.field("forwarded_for")),
        forwarded_proto: section.field("forwarded_proto").flag(),
        forwarded_host: section.field("forwarded_host").flag(),
        no_peer: no_peer(&section.field("no_peer")),
    };
    section.end();
    Some(proxy)
}

fn time(section: &mut Section<'_>, name: &'static str) -> Option<Span> {
    section.field(name).span(SHORTEST..=LONGEST)
}

fn max_body(field: &Field<'_>) -> Option<Size> {
    let size: Size = field.parsed()?;
    if size == Size::bytes(0) || size > LARGEST_BODY {
        field.problem(format!("{size} must be from 1B to {LARGEST_BODY}"));
    }
    Some(size)
}

fn attempts(field: &Field<'_>) -> Option<u32> {
    let attempts = field.whole(1..=MOST_ATTEMPTS)?;
    u32::try_from(attempts).ok()
}

fn forwarded_for(field: &Field<'_>) -> Option<ForwardedFor> {
    let words = [
        ("append", ForwardedFor::Append),
        ("replace", ForwardedFor::Replace),
    ];
    field.word(&words, &[])
}

fn sticky(field: &Field<'_>) -> Option<StickyCookie> {
    let mut section = field.section()?;
    let name_field = section.field("cookie").required("cookie: srv");
    let name = name_field.text();
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let fits = |n: &&str| !n.is_empty() && n.len() <= LONGEST_TEXT && n.bytes().all(token);
    if let Some(name) = name.filter(|name| !fits(name)) {
        name_field.problem(format!(
            "{name:?} is no name of a cookie; write it like srv"
        ));
    }
    let max_age = section
        .field("max_age")
        .span(Span::seconds(1)..=Span::seconds(400 * 86_400));
    let secure = section.field("secure").flag();
    let site_field = section.field("same_site");
    let words = [
        ("lax", SameSite::Lax),
        ("strict", SameSite::Strict),
        ("none", SameSite::None),
    ];
    let same_site = site_field.word(&words, &[]);
    if same_site == Some(SameSite::None) && secure != Some(true) {
        site_field.problem("browsers refuse none without `secure: true`");
    }
    section.end();
    Some(StickyCookie {
        cookie: name?.to_owned(),
        max_age,
        secure,
        same_site,
    })
}

fn nets(field: &Field<'_>) -> Option<Vec<String>> {
    let items = field.items("[10.0.0.0/8]");
    if items.len() > MOST_NETS {
        field.problem(format!(
            "{} networks are more than {MOST_NETS}",
            items.len()
        ));
    }
    let nets = items.iter().filter_map(|item| {
        let text = item.text()?;
        if !is_net(text) {
            item.problem(format!(
                "{text:?} is no address or network; write it like 10.0.0.0/8"
            ));
        }
        Some(text.to_owned())
    });
    let nets = nets.collect();
    field.is_present().then_some(nets)
}

fn is_net(text: &str) -> bool {
    let (address, length) = text.split_once('/').unwrap_or((text, "0"));
    let whole = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        // Read as IPv4 by balancers, so prefix lengths could be meant in two ways.
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => return false,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= whole)
}

fn no_peer(field: &Field<'_>) -> Option<NoPeer> {
    let mut section = field.section()?;
    let status_field = section.field("status");
    let status = status_field.whole(200..=599);
    if status.is_some_and(|s| matches!(s, 204 | 205 | 304)) {
        status_field.problem("answers of this status have no body; use one like 503");
    }
    let kind_field = section.field("content_type");
    let kind = kind_field.text();
    let fits = |k: &&str| {
        let printable = |b: u8| (b' '..=b'~').contains(&b);
        !k.is_empty() && k.len() <= LONGEST_TEXT && k.bytes().all(printable)
    };
    if let Some(kind) = kind.filter(|kind| !fits(kind)) {
        kind_field.problem(format!(
            "{kind:?} is no content type; write it like text/html"
        ));
    }
    let body_field = section.field("body");
    let body = body_field.text();
    if let Some(length) = body.map(str::len).filter(|l| *l > LONGEST_ANSWER) {
        body_field.problem(format!("{length} bytes are more than {LONGEST_ANSWER}"));
    }
    section.end();
    Some(NoPeer {
        status: status.and_then(|s| u16::try_from(s).ok()),
        content_type: kind.map(str::to_owned),
        body: body.map(str::to_owned),
        ..NoPeer::default()
    })
}

#[cfg(test)]
mod tests;
