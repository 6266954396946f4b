//! The engine's questions, answered from the live table by the core's rules.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::http::{StatusCode, Version, header};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorSource, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio_util::sync::CancellationToken;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::passive::Failure;
use hancock_balancer_core::retry;

use super::answer;
use super::conn::Conn;
use super::forwarded;
use super::host::{Name, NoName};
use super::page;
use super::request::{own_connection, restore_target};
use super::routing::{Repeatable, Routing};
use crate::access::{Access, Record};
use crate::live::Table;

/// Between two requests of a connection, if the service of the first does not say how long.
pub(super) const IDLE: Duration = Duration::from_secs(15);
/// Between two reads of a body, and for each write of an answer, where no service says how long.
const CLIENT: Duration = Duration::from_secs(60);

pub(super) struct Proxy {
    table: Arc<Table>,
    access: Arc<Access>,
}

impl Proxy {
    pub(super) fn new(table: Arc<Table>, access: Arc<Access>) -> Self {
        Self { table, access }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Routing;

    fn new_ctx(&self) -> Routing {
        Routing::new(self.access.is_wanted())
    }

    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// Finds the service; answers itself when there is none.
    async fn request_filter(&self, session: &mut Session, ctx: &mut Routing) -> Result<bool> {
        session.set_write_timeout(Some(CLIENT));
        if !session.is_upgrade_req() {
            session.set_read_timeout(Some(CLIENT));
        }
        // Answers before the answer are news to them.
        if session.req_header().version < Version::HTTP_11
            && let ServerSession::H1(old) = &mut *session.downstream_session
        {
            old.set_ignore_info_resp(true);
        }
        restore_target(session)?;
        let request = session.req_header();
        match Name::of(&request.uri, &request.headers, request.version) {
            Err(NoName::Bad) => tell(session, 400, "host").await,
            Err(NoName::Absent) => self.unknown(session).await,
            Ok(name) => match self.table.routed(name.as_str(), request.raw_path()) {
                None => self.unknown(session).await,
                Some(service) => {
                    ctx.begin(service);
                    match ctx.admit(session) {
                        Ok(()) => Ok(false),
                        Err(wrong) => tell(session, wrong.status(), wrong.word()).await,
                    }
                }
            },
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut Routing,
    ) -> Result<()> {
        let Some(piece) = body else { return Ok(()) };
        ctx.body.came(piece.len()).or_else(|wrong| {
            ctx.reason = wrong.word();
            Error::e_explain(ErrorType::HTTPStatus(wrong.status()), wrong.word())
                .map_err(|e: Box<Error>| e.into_down())
        })
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Routing,
    ) -> Result<Box<HttpPeer>> {
        let upgrade = session.is_upgrade_req();
        while let Some((dial, how)) = ctx.pick(&key(session, ctx), upgrade) {
            ctx.ending = upgrade.then(|| dial.ending());
            match dial.prepare(how) {
                Some(peer) => return Ok(peer),
                None => ctx.undialable(),
            }
        }
        ctx.end_phase();
        Error::e_explain(ErrorType::HTTPStatus(502), "no peer").map_err(|e: Box<Error>| e.into_up())
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Routing,
    ) -> Result<()> {
        if !reused {
            ctx.connected();
        }
        Ok(())
    }

    /// What origins are sent: the service's host as `Host`, the client appended to `X-Forwarded-For`, as far as the document says nothing
    /// else.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Routing,
    ) -> Result<()> {
        ctx.body.again();
        if let (Some(host), Some(settings)) = (ctx.host(), ctx.settings()) {
            request.insert_header(header::HOST, host)?;
            forwarded::tell(request, session, ctx.client, &settings.forwarding)?;
            let strips = settings.route.as_ref().filter(|r| r.strip);
            if let Some(rest) = strips.and_then(|r| r.without_prefix(request.raw_path())) {
                request.set_raw_path(&rest)?;
            }
        }
        if !retry::is_idempotent(request.method.as_str()) {
            // From here on the origin may have acted on it.
            ctx.end_phase();
        }
        own_connection(request, session.is_upgrade_req())
    }

    /// The answer is coming, so no retry; unless it is a 502 that somebody else may do better.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Routing,
    ) -> Result<()> {
        if let Err(error) = answer::strict(response, session.is_upgrade_req()) {
            ctx.end_phase();
            ctx.reason = answer::BAD;
            return Err(error);
        }
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            ctx.upgraded();
            end_by(session, ctx.ending.take());
        } else if response.status.is_informational() {
            return Ok(());
        }
        let status = response.status.as_u16();
        if ctx.came(status, &repeatable(session), &key(session, ctx)) {
            return Error::e_explain(ErrorType::HTTPStatus(502), "origin answered 502")
                .map_err(|e: Box<Error>| e.into_up());
        }
        if let Some(cookie) = ctx.cookie.take() {
            response.append_header(header::SET_COOKIE, cookie)?;
        }
        answer::own_headers(response)
    }

    /// A client that speaks HTTP/1.0 knows no chunks: it reads until the end.
    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        _ctx: &mut Routing,
    ) -> Result<()> {
        let old = session.req_header().version < Version::HTTP_11;
        if old && response.remove_header(&header::TRANSFER_ENCODING).is_some() {
            session.set_keepalive(None);
        }
        Ok(())
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Routing,
        mut e: Box<Error>,
    ) -> Box<Error> {
        let failure = match e.etype() {
            ErrorType::ConnectRefused => Failure::Refused,
            _ => Failure::Unreachable,
        };
        let again = ctx.failed(failure, false, &repeatable(session), &key(session, ctx));
        if *e.etype() == ErrorType::ConnectTimedout {
            ctx.reason = "timeout";
        }
        e.set_retry(again);
        e
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Routing,
        reused: bool,
    ) -> Box<Error> {
        let again = match (e.esource(), e.etype()) {
            // Decided when the 502 came.
            (ErrorSource::Upstream, ErrorType::HTTPStatus(_)) => ctx.goes_on(),
            (ErrorSource::Upstream, etype) => {
                let failure = match etype {
                    ErrorType::ReadTimedout | ErrorType::WriteTimedout => Failure::TimedOut,
                    _ => Failure::Lost,
                };
                ctx.failed(failure, reused, &repeatable(session), &key(session, ctx))
            }
            _ => false,
        };
        e.set_retry(again);
        e
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Routing,
    ) -> FailToProxy {
        ctx.end_phase();
        let status = final_status(e, ctx.reason);
        let written = session.response_written();
        let begun = written.is_some_and(|r| !r.status.is_informational());
        tracing::debug!(error = %e, status, begun, reason = ctx.reason, "request failed");
        if status != 0
            && !begun
            && let Err(error) = tell_failure(session, status, ctx).await
        {
            tracing::debug!(%error, "the client was gone before it could be told");
        }
        FailToProxy {
            error_code: status,
            can_reuse_downstream: false,
        }
    }

    async fn logging(&self, session: &mut Session, _e: Option<&Error>, ctx: &mut Routing) {
        let status = session.response_written().map_or(0, |r| r.status.as_u16());
        ctx.count(status);
        if let Some(trace) = &ctx.trace {
            let request = session.req_header();
            self.access.take(&Record {
                client: ctx.client.or_else(|| forwarded::sender(session)),
                method: request.method.as_str(),
                target: String::from_utf8_lossy(request.raw_path()).into_owned(),
                version: Some(request.version),
                headers: Some(&request.headers),
                status,
                sent: session.body_bytes_sent(),
                began: ctx.began,
                trace,
            });
        }
    }

    /// How long the connection waits for its next request, where that is not usual.
    fn persist_connection_context(
        &self,
        _session: &Session,
        ctx: &Routing,
    ) -> Option<Box<dyn Any + Send + Sync>> {
        let usual = ctx.keepalive.is_zero() || ctx.keepalive == IDLE;
        (!usual).then(|| Box::new(ctx.keepalive) as Box<dyn Any + Send + Sync>)
    }

    // Told by us, at debug: a dead origin must not fill the log.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Routing, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Routing,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

impl Proxy {
    async fn unknown(&self, session: &mut Session) -> Result<bool> {
        self.table.unknown.fetch_add(1, Ordering::Relaxed);
        tell(session, 502, "unknown_host").await
    }
}

/// The session that becomes of the connection ends when its peer's sessions are told to.
fn end_by(session: &Session, teller: Option<CancellationToken>) {
    if let (ServerSession::H1(http), Some(teller)) = (&*session.downstream_session, teller)
        && let Some(conn) = (**http.stream()).as_any().downcast_ref::<Conn>()
    {
        conn.told_by(teller);
    }
}

/// Answers before any origin was involved; the connection may go on after a 502.
async fn tell(session: &mut Session, status: u16, reason: &'static str) -> Result<bool> {
    page::send(session, status, reason, status == 502).await?;
    Ok(true)
}

/// The document's own word when nobody could be reached, else a page of ours.
async fn tell_failure(session: &mut Session, status: u16, ctx: &Routing) -> Result<()> {
    match &ctx.apology {
        Some(apology) if status == 502 || status == 504 => {
            page::send_answer(session, apology, ctx.reason).await
        }
        _ => page::send(session, status, reason(status, ctx), false).await,
    }
}

fn key<'a>(session: &'a Session, ctx: &Routing) -> RequestKey<'a> {
    let request = session.req_header();
    RequestKey {
        target: request.raw_path(),
        client: ctx.client,
        header: request.headers.get("x-hash-key").map(|v| v.as_bytes()),
    }
}

fn repeatable(session: &Session) -> Repeatable {
    Repeatable {
        idempotent: retry::is_idempotent(session.req_header().method.as_str()),
        replayable: !session.as_ref().retry_buffer_truncated(),
        answered: session.response_written().is_some(),
    }
}

/// A client's own fault is no peer's.
fn reason(status: u16, ctx: &Routing) -> &'static str {
    match status {
        400 => "bad_request",
        408 => "slow_body",
        _ => ctx.reason,
    }
}

/// 0: the client is gone.
fn final_status(e: &Error, reason: &str) -> u16 {
    match (e.esource(), e.etype()) {
        (_, ErrorType::HTTPStatus(status)) if *status < 500 => *status,
        // A body that breaks its framing; to a client that is gone the answer goes nowhere.
        (ErrorSource::Downstream, ErrorType::ReadError) => 400,
        (ErrorSource::Downstream, ErrorType::WriteError | ErrorType::ConnectionClosed) => 0,
        (ErrorSource::Downstream, ErrorType::ReadTimedout | ErrorType::WriteTimedout) => 408,
        (ErrorSource::Downstream, _) => 400,
        (ErrorSource::Upstream, _) if reason == "timeout" => 504,
        (_, ErrorType::HTTPStatus(status)) => *status,
        (ErrorSource::Upstream, _) => 502,
        _ => 500,
    }
}
