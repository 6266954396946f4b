//! The API of one of several masters: who may enter, and who answers.
//!
//! What only the leader knows or may do is sent on to it. A follower answers by itself what the replicated state says, as of now or,
//! with `stale=true`, as it has it. What found no leader, or one with too much in
//! hand, wrote nothing and is tried again until [`PATIENCE`] is over; what was lost on its
//! way is tried again only when it cannot be carried out twice.

mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hancock_tls::{Caller, Connector, HTTP, Name, Party};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

use super::body::unread;
use super::error::{Failure, Passing};
use super::{Api, BODY_LIMIT, Entered, router, writer};
use crate::access::is_bearer;
use crate::audit::Who;
use crate::deps::Deps;
use crate::raft::{Leadership, Member};

/// Longest a request waits for a leader: as long as some elections take.
const PATIENCE: Duration = Duration::from_secs(4);
/// Time between two tries while nobody leads.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time between two tries while the leader has too much in hand; it doubles until then.
const LONGEST_PAUSE: Duration = Duration::from_millis(640);
/// An unused connection to the leader is closed before the leader does it, which a request would learn too late.
const UNUSED: Duration = Duration::from_secs(30);
/// Longest the leader may take to accept a connection, with the handshake.
const CONNECT: Duration = Duration::from_millis(500);
/// Longest the leader may take to begin an answer: more than a request may wait for news.
const ANSWER: Duration = Duration::from_secs(75);
/// Says who sent a request on: it must not be sent on again.
const FORWARDED: HeaderName = HeaderName::from_static("x-hancock-forwarded");
/// Says where a request that was sent on came from.
const FROM: HeaderName = HeaderName::from_static("x-hancock-from");
/// What belongs to one connection, not to the request.
const OF_CONNECTION: [HeaderName; 4] = [
    header::CONNECTION,
    header::HOST,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
];

/// What every master can answer by itself.
const ANYWHERE: [&str; 3] = ["/v1/apps", "/v1/events", "/v1/openapi.json"];

/// What the door knows.
#[derive(Clone)]
struct Door {
    deps: Arc<Deps>,
    token: Arc<str>,
    /// Only another master's certificate makes it believed that a request was sent on.
    encrypted: bool,
    fresh: Router,
    stale: Router,
    client: Client<Connector, Full<Bytes>>,
}

/// A request that can be asked again.
struct Asked {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    who: Who,
}

/// The API behind `token`. What is sent on goes out as `party`.
pub(crate) fn guarded(api: Api, token: &str, party: Option<&Party>) -> Router {
    let tls = party.map(|party| party.client(HTTP));
    let connector = Connector::new(tls, CONNECT);
    let door = Door {
        deps: api.deps.clone(),
        token: token.into(),
        encrypted: party.is_some(),
        fresh: router(api.clone()),
        stale: router(Api { stale: true, ..api }),
        client: Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(UNUSED)
            .build(connector),
    };
    Router::new().fallback(enter).with_state(door)
}

async fn enter(
    State(door): State<Door>,
    ConnectInfo(Entered(caller)): ConnectInfo<Entered>,
    mut request: Request,
) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION);
    if !shown.is_some_and(|shown| is_bearer(shown.as_bytes(), &door.token)) {
        return Failure::new(
            "unauthorized",
            "the request does not show the operator's token that `hancock master init` printed; give it with --token-file FILE or \
             HANCOCK_TOKEN",
        )
        .into_response();
    }
    let who = door.who(&caller, request.headers_mut());
    if upgrade::is_asked(&request) {
        return door.upgrade(request, who).await;
    }
    let (parts, body) = request.into_parts();
    let body = match to_bytes(body, BODY_LIMIT).await {
        Ok(body) => body,
        Err(error) => return unread(&error).into_response(),
    };
    match without_stale(&parts.uri) {
        Some(uri) => {
            door.here(&door.stale, &Asked::new(parts, uri, body, who))
                .await
        }
        None => {
            let uri = parts.uri.clone();
            door.answer(&Asked::new(parts, uri, body, who)).await
        }
    }
}

impl Door {
    /// Whose request it is. What another master says of a request that it sent on is believed; who is none cannot say it.
    fn who(&self, caller: &Caller, headers: &mut HeaderMap) -> Who {
        let master = caller.name.as_ref().and_then(Name::as_master);
        if self.encrypted && master.is_none() {
            headers.remove(FORWARDED);
        }
        let mut who = Who::new("operator", caller.address);
        if let Some(via) = headers.get(FORWARDED) {
            let via = String::from_utf8_lossy(via.as_bytes());
            who.via = Some(master.unwrap_or(&via).into());
            let from = headers.get(FROM).and_then(|from| from.to_str().ok());
            who.from = from.and_then(|from| from.parse().ok());
        }
        who
    }

    /// Asks whoever can answer, again while nobody can.
    async fn answer(&self, asked: &Asked) -> Response {
        let begun = Instant::now();
        let mut leadership = self.deps.raft.leadership();
        let mut backoff = PAUSE;
        loop {
            let now = leadership.borrow_and_update().clone();
            let response = match (&now.place, now.leading || asked.is_answered_anywhere()) {
                (_, true) => self.here(&self.fresh, asked).await,
                (Some(leader), false) if !asked.was_forwarded() => {
                    self.there(&now, leader, asked, &mut leadership).await
                }
                (None, false) if asked.is_about_this_master() => {
                    self.here(&self.fresh, asked).await
                }
                _ => nobody(begun.elapsed()),
            };
            let late = asked.was_forwarded() || begun.elapsed() >= PATIENCE;
            let pause = match Passing::of(&response) {
                Some(_) if late => return response,
                Some(Passing::NoLeader) => PAUSE,
                Some(Passing::Busy) => {
                    backoff = (backoff * 2).min(LONGEST_PAUSE);
                    backoff
                }
                None => return response,
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn here(&self, router: &Router, asked: &Asked) -> Response {
        let mut request = Request::new(Body::from(asked.body.clone()));
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = asked.uri.clone();
        *request.headers_mut() = asked.headers.clone();
        request.extensions_mut().insert(asked.who.clone());
        match router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Asks the leader, for as long as it leads.
    async fn there(
        &self,
        now: &Leadership,
        leader: &Member,
        asked: &Asked,
        leadership: &mut watch::Receiver<Leadership>,
    ) -> Response {
        let Some(request) = asked.to(&leader.api, &self.deps.name) else {
            let (name, api) = (&leader.name, &leader.api);
            let message = format!("the leader {name} has told the address {api:?}, which is none");
            return Failure::new("internal", message).into_response();
        };
        let id = now.id;
        tokio::select! {
            answer = self.client.request(request) => match answer {
                Ok(response) => {
                    let mut response = response.map(Body::new);
                    response.headers_mut().remove(header::CONNECTION);
                    response
                }
                Err(error) if error.is_connect() => nobody(Duration::ZERO),
                Err(_) => asked.lost(),
            },
            _ = leadership.wait_for(|now| now.id != id) => asked.lost(),
            () = tokio::time::sleep(ANSWER) => asked.lost(),
        }
    }
}

impl Asked {
    fn new(parts: Parts, uri: Uri, body: Bytes, who: Who) -> Self {
        Self {
            method: parts.method,
            uri,
            headers: parts.headers,
            body,
            who,
        }
    }

    /// The same request for another master.
    fn to(&self, address: &str, from: &str) -> Option<hyper::Request<Full<Bytes>>> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = hyper::Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = format!("http://{address}{path}").parse().ok()?;
        *request.headers_mut() = self.headers.clone();
        for name in OF_CONNECTION {
            request.headers_mut().remove(name);
        }
        let from = HeaderValue::from_str(from).unwrap_or(HeaderValue::from_static("master"));
        request.headers_mut().insert(FORWARDED, from);
        request.headers_mut().remove(FROM);
        let address = self.who.from.map(|from| from.to_string());
        if let Some(Ok(address)) = address.map(HeaderValue::try_from) {
            request.headers_mut().insert(FROM, address);
        }
        Some(request)
    }

    fn was_forwarded(&self) -> bool {
        self.headers.contains_key(FORWARDED)
    }

    /// The replicated state alone answers it; other answers need what agents told the leader.
    fn is_answered_anywhere(&self) -> bool {
        let path = self.uri.path();
        let history = path.starts_with("/v1/apps/") && path.ends_with("/history");
        self.method == Method::GET && (history || ANYWHERE.contains(&path))
    }

    /// Also worth an answer while nobody leads.
    fn is_about_this_master(&self) -> bool {
        self.method == Method::GET && ["/v1/status", "/v1/masters"].contains(&self.uri.path())
    }

    /// The answer when it is not known what became of the request.
    fn lost(&self) -> Response {
        if self.method == Method::GET || self.headers.contains_key(writer::KEY) {
            return nobody(Duration::ZERO);
        }
        Failure::new(
            "outcome_unknown",
            "the leader was lost while it answered, and whether it wrote is not known; look before trying again, or send writes with \
             an Idempotency-Key",
        )
        .into_response()
    }
}

fn nobody(waited: Duration) -> Response {
    let message = format!("no master leads just now (waited {waited:?}); try again in a second");
    Failure::new("no_leader", message).into_response()
}

/// The address without `stale=true`, when it has that.
fn without_stale(uri: &Uri) -> Option<Uri> {
    let query = uri.query()?;
    let (stale, rest): (Vec<&str>, Vec<&str>) =
        query.split('&').partition(|part| *part == "stale=true");
    if stale.is_empty() {
        return None;
    }
    let rest = rest.join("&");
    let path = uri.path();
    let whole = match rest.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{rest}"),
    };
    whole.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn stale_is_taken_out_of_the_query() {
        let without = |text: &str| without_stale(&text.parse().unwrap()).map(|u| u.to_string());
        assert_eq!(without("/v1/apps"), None);
        assert_eq!(without("/v1/apps?stale=false"), None);
        assert_eq!(without("/v1/apps?stale=true").unwrap(), "/v1/apps");
        let both = without("/v1/events?after=3&stale=true&wait=1s").unwrap();
        assert_eq!(both, "/v1/events?after=3&wait=1s");
    }
}
