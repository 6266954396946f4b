//! Requests whose connection becomes something else. The leader answers them; another master passes the bytes on both ways.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tower::ServiceExt;

use super::{ANSWER, Asked, Door, FORWARDED, PATIENCE, PAUSE, nobody};
use crate::audit::Who;

/// Whether a request asks for that.
pub(super) fn is_asked(request: &Request) -> bool {
    request.method() == Method::GET && request.headers().contains_key(header::UPGRADE)
}

impl Door {
    /// Asks whoever leads, as soon as somebody does.
    pub(super) async fn upgrade(&self, mut request: Request, who: Who) -> Response {
        let begun = Instant::now();
        let forwarded = request.headers().contains_key(FORWARDED);
        loop {
            let now = self.deps.raft.leadership().borrow().clone();
            match now.place {
                _ if now.leading => {
                    request.extensions_mut().insert(who);
                    return match self.fresh.clone().oneshot(request).await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    };
                }
                Some(leader) if !forwarded => {
                    return self.pass_on(request, who, &leader.api).await;
                }
                _ if forwarded || begun.elapsed() >= PATIENCE => return nobody(begun.elapsed()),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    async fn pass_on(&self, mut request: Request, who: Who, leader: &str) -> Response {
        let near = hyper::upgrade::on(&mut request);
        let (parts, _) = request.into_parts();
        let uri = parts.uri.clone();
        let asked = Asked::new(parts, uri, Bytes::new(), who);
        let Some(mut request) = asked.to(leader, &self.deps.name) else {
            return nobody(Duration::ZERO);
        };
        let upgrade = HeaderValue::from_static("upgrade");
        request.headers_mut().insert(header::CONNECTION, upgrade);
        let asking = tokio::time::timeout(ANSWER, self.client.request(request));
        let Ok(Ok(mut answer)) = asking.await else {
            return nobody(Duration::ZERO);
        };
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let mut answer = answer.map(Body::new);
            answer.headers_mut().remove(header::CONNECTION);
            return answer;
        }
        let far = hyper::upgrade::on(&mut answer);
        let stop = self.deps.stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = join(near, far) => {}
                () = stop.cancelled() => {}
            }
        });
        switched(answer.headers().clone())
    }
}

fn switched(headers: HeaderMap) -> Response {
    let mut response = (StatusCode::SWITCHING_PROTOCOLS, Body::empty()).into_response();
    *response.headers_mut() = headers;
    response
}

/// Carries bytes both ways until either end has gone.
async fn join(near: OnUpgrade, far: OnUpgrade) {
    if let (Ok(near), Ok(far)) = tokio::join!(near, far) {
        let (mut near, mut far) = (TokioIo::new(near), TokioIo::new(far));
        // An end that breaks off is an end.
        drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
    }
}
