//! From the member `proxy` to settings: every check, and every default.

use std::sync::Arc;
use std::time::Duration;

use hancock_proto::upstream::{ForwardedFor, NoPeer, Proxy, SameSite, Seconds, Sticky};

use super::{
    Answer, BodyLimits, ClientTimes, Cookie, Forwarding, MAX_ANSWER, Net, PeerTimes, Route,
    Settings,
};
use crate::head::MAX_BODY;
use crate::retry::{MOST_ATTEMPTS, Rules};
use crate::upstream::{InvalidUpstream, PeerSpec, wrong};

/// Longest time a document may ask for, in seconds.
const MAX_SECONDS: f64 = 86_400.0;
/// Most trusted networks.
const MAX_NETS: usize = 256;
/// Longest name, path, secret and content type.
const MAX_TEXT: usize = 256;

type Read<T> = Result<T, InvalidUpstream>;

/// The settings of the document called `name`.
pub(crate) fn read(
    name: &str,
    proxy: Option<&Proxy>,
    peers: &[Vec<PeerSpec>],
    plain: bool,
) -> Read<Arc<Settings>> {
    let unsaid = Settings::unsaid(plain);
    let nothing = Proxy::default();
    let proxy = match proxy {
        None if !name.contains('/') => return Ok(unsaid),
        None => &nothing,
        Some(proxy) => proxy,
    };
    let route = route(name, proxy)?;
    let prefix = route.as_ref().map_or("/", |r| &r.prefix).to_owned();
    Ok(Arc::new(Settings {
        route,
        peer: peer_times(proxy, unsaid.peer)?,
        client: client_times(proxy, unsaid.client)?,
        body: body_limits(proxy, unsaid.body)?,
        retry: retry(proxy, unsaid.retry)?,
        sticky: match &proxy.sticky {
            Some(sticky) => Some(cookie(sticky, &prefix, peers)?),
            None => None,
        },
        forwarding: forwarding(proxy)?,
        no_peer: match &proxy.no_peer {
            Some(answer) => Some(Arc::new(no_peer(answer)?)),
            None => None,
        },
    }))
}

/// The document's own word, or a name that is a route itself.
fn route(name: &str, proxy: &Proxy) -> Read<Option<Route>> {
    let strip = proxy.strip_prefix.unwrap_or(false);
    let (field, text) = match &proxy.route {
        Some(route) => ("proxy.route", route.as_str()),
        None if name.contains('/') => ("name", name),
        None if strip => {
            return wrong(
                "proxy.strip_prefix",
                "there is no prefix, give one in proxy.route",
            );
        }
        None => return Ok(None),
    };
    match Route::read(text, strip) {
        Ok(route) => Ok(Some(route)),
        Err(problem) => wrong(field, problem),
    }
}

fn peer_times(proxy: &Proxy, unsaid: PeerTimes) -> Read<PeerTimes> {
    Ok(PeerTimes {
        connect: time("connect_timeout", proxy.connect_timeout, unsaid.connect)?,
        send: time("send_timeout", proxy.send_timeout, unsaid.send)?,
        read: time("read_timeout", proxy.read_timeout, unsaid.read)?,
        session: time("session_timeout", proxy.session_timeout, unsaid.session)?,
        pool: time("pool_timeout", proxy.pool_timeout, unsaid.pool)?,
    })
}

fn client_times(proxy: &Proxy, unsaid: ClientTimes) -> Read<ClientTimes> {
    let keepalive = match proxy.keepalive_timeout {
        Some(Seconds(0.0)) => Duration::ZERO,
        other => time("keepalive_timeout", other, unsaid.keepalive)?,
    };
    Ok(ClientTimes {
        send: time("client_timeout", proxy.client_timeout, unsaid.send)?,
        keepalive,
    })
}

fn body_limits(proxy: &Proxy, unsaid: BodyLimits) -> Read<BodyLimits> {
    let most = match proxy.max_body {
        None | Some(0) => MAX_BODY,
        Some(most) if most <= MAX_BODY => most,
        Some(most) => {
            let problem = format!("{most} is more than the {MAX_BODY} bytes a body may have");
            return wrong("proxy.max_body", problem);
        }
    };
    Ok(BodyLimits {
        most,
        patience: time("body_timeout", proxy.body_timeout, unsaid.patience)?,
        least_rate: proxy.body_min_rate.unwrap_or(unsaid.least_rate),
    })
}

fn retry(proxy: &Proxy, unsaid: Rules) -> Read<Rules> {
    let budget = time("retry_timeout", proxy.retry_timeout, unsaid.budget)?;
    match proxy.attempts {
        None => Ok(Rules { budget, ..unsaid }),
        Some(attempts) if (1..=MOST_ATTEMPTS).contains(&attempts) => Ok(Rules {
            attempts,
            refused: attempts,
            budget,
        }),
        Some(attempts) => {
            let problem =
                format!("{attempts} attempts are not from 1 (never repeated) to {MOST_ATTEMPTS}");
            wrong("proxy.attempts", problem)
        }
    }
}

fn time(field: &str, given: Option<Seconds>, unsaid: Duration) -> Read<Duration> {
    match given {
        None => Ok(unsaid),
        Some(Seconds(s)) if s.is_finite() && (0.001..=MAX_SECONDS).contains(&s) => {
            Ok(Duration::from_secs_f64(s))
        }
        Some(Seconds(s)) => {
            let problem = format!("{s} is not a time, use 0.001 to {MAX_SECONDS} seconds");
            wrong(format!("proxy.{field}"), problem)
        }
    }
}

fn cookie(sticky: &Sticky, prefix: &str, peers: &[Vec<PeerSpec>]) -> Read<Cookie> {
    let name = &sticky.cookie;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || name.len() > MAX_TEXT || !name.bytes().all(token) {
        let problem = format!("{name:?} is no name of a cookie, use letters, digits, - and _");
        return wrong("proxy.sticky.cookie", problem);
    }
    let secret = sticky.secret.as_deref().unwrap_or_default();
    if secret.len() > MAX_TEXT {
        let problem = format!("more than {MAX_TEXT} bytes say nothing more, use fewer");
        return wrong("proxy.sticky.secret", problem);
    }
    let nameless = peers.iter().flatten().any(|p| p.key.instance.is_none());
    if secret.is_empty() && nameless {
        return wrong(
            "proxy.sticky.secret",
            "is missing; without one the addresses of servers could be guessed from the cookie, give any text that is hard to guess",
        );
    }
    Ok(Cookie {
        name: name.as_str().into(),
        attributes: attributes(sticky, prefix)?.into(),
        secret: secret.into(),
    })
}

fn attributes(sticky: &Sticky, prefix: &str) -> Read<String> {
    let path = sticky.path.as_deref().unwrap_or(prefix);
    let fit = |b: u8| (b'!'..=b'~').contains(&b) && b != b';';
    if !path.starts_with('/') || path.len() > 4 * MAX_TEXT || !path.bytes().all(fit) {
        let problem = format!("{path:?} is no path of a cookie, write it like /app");
        return wrong("proxy.sticky.path", problem);
    }
    let secure = sticky.secure.unwrap_or(false);
    let same_site = match sticky.same_site.unwrap_or(SameSite::Lax) {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None if secure => "None",
        SameSite::None => {
            let problem = "browsers refuse \"none\" without secure, set proxy.sticky.secure too";
            return wrong("proxy.sticky.same_site", problem);
        }
    };
    let age = sticky.max_age.map(|s| format!("; Max-Age={s}"));
    let secure = if secure { "; Secure" } else { "" };
    let age = age.unwrap_or_default();
    Ok(format!(
        "; Path={path}{age}; HttpOnly{secure}; SameSite={same_site}"
    ))
}

fn forwarding(proxy: &Proxy) -> Read<Forwarding> {
    Ok(Forwarding {
        trusted: match &proxy.trusted_proxies {
            Some(given) => Some(nets(given)?),
            None => None,
        },
        replace: proxy.forwarded_for == Some(ForwardedFor::Replace),
        proto: proxy.forwarded_proto.unwrap_or(false),
        host: proxy.forwarded_host.unwrap_or(false),
    })
}

fn nets(given: &[String]) -> Read<Box<[Net]>> {
    if given.len() > MAX_NETS {
        let problem = format!(
            "{} networks are more than {MAX_NETS}, join some",
            given.len()
        );
        return wrong("proxy.trusted_proxies", problem);
    }
    let read = |(at, text): (usize, &String)| match Net::read(text) {
        Some(net) => Ok(net),
        None => {
            let problem = format!("{text:?} is no address or network, write it like 10.0.0.0/8");
            wrong(format!("proxy.trusted_proxies[{at}]"), problem)
        }
    };
    given.iter().enumerate().map(read).collect()
}

fn no_peer(given: &NoPeer) -> Read<Answer> {
    let status = given.status.unwrap_or(502);
    let body = given.body.as_deref().unwrap_or_default();
    if !(200..=599).contains(&status) || matches!(status, 204 | 205 | 304) {
        let problem = format!("{status} is no status of an answer with a body, use one like 503");
        return wrong("proxy.no_peer.status", problem);
    }
    if body.len() > MAX_ANSWER {
        let problem = format!(
            "{} bytes are more than {MAX_ANSWER}, use a shorter one",
            body.len()
        );
        return wrong("proxy.no_peer.body", problem);
    }
    let kind = given.content_type.as_deref();
    let kind = kind.unwrap_or("text/plain; charset=utf-8");
    let fit = |b: u8| (b' '..=b'~').contains(&b);
    if kind.is_empty() || kind.len() > MAX_TEXT || !kind.bytes().all(fit) {
        let problem = format!("{kind:?} is no content type, write it like text/html");
        return wrong("proxy.no_peer.content_type", problem);
    }
    Ok(Answer {
        status,
        content_type: kind.into(),
        body: body.into(),
    })
}

#[cfg(test)]
mod tests;
