//! Mistakes as JSON with the right status.

use std::fmt::Debug;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hancock_proto::api::ApiError;
use hancock_proto::app::Problem;

use super::BUSY;
use crate::raft::ProposeError;

/// The code of an answer that found no leader.
const NO_LEADER: &str = "no_leader";
/// Repeats the code of an answer that did nothing where it can be read without the body.
const CODE: HeaderName = HeaderName::from_static("x-hancock-error");

/// An answer that says why not.
#[derive(Debug)]
pub(super) struct Failure(ApiError);

impl Failure {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self(ApiError {
            code: code.to_owned(),
            message: message.into(),
            problems: Vec::new(),
        })
    }

    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new("malformed", message)
    }

    pub(super) fn invalid_spec(problems: Vec<Problem>) -> Self {
        let count = problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        Self(ApiError {
            code: "invalid_spec".to_owned(),
            message: format!("the app spec has {count} {noun}; nothing was changed"),
            problems,
        })
    }

    /// A command was answered with something that does not answer it: a mistake of ours.
    pub(super) fn unexpected(reply: &impl Debug) -> Self {
        tracing::error!(?reply, "unexpected reply of the state");
        Self::new("internal", format!("the state answered with {reply:?}"))
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<ProposeError> for Failure {
    fn from(error: ProposeError) -> Self {
        let code = match &error {
            ProposeError::NoLeader { .. } => NO_LEADER,
            ProposeError::Unknown => "outcome_unknown",
            ProposeError::Full(_) => "disk_full",
            ProposeError::Stopped { .. } => "stopped",
        };
        Self::new(code, error.to_string())
    }
}

/// The status of a code. Codes of the state name what is missing or in the way.
fn status(code: &str) -> StatusCode {
    match code {
        "malformed" | "name_mismatch" => StatusCode::BAD_REQUEST,
        "unauthorized" => StatusCode::UNAUTHORIZED,
        "invalid_spec" => StatusCode::UNPROCESSABLE_ENTITY,
        "method_not_allowed" => StatusCode::METHOD_NOT_ALLOWED,
        "body_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        "too_slow" => StatusCode::REQUEST_TIMEOUT,
        BUSY | NO_LEADER | "outcome_unknown" | "disk_full" | "stopped" => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        "internal" => StatusCode::INTERNAL_SERVER_ERROR,
        _ if code.ends_with("not_found") => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = status(&self.0.code);
        let passing = [NO_LEADER, BUSY]
            .into_iter()
            .find(|code| self.0.code == *code);
        let retry: Option<[(HeaderName, &str); 1]> =
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some([(header::RETRY_AFTER, "1")]);
        let body = Json(self.0);
        let mut response = match retry {
            Some(headers) => (status, headers, body).into_response(),
            None => (status, body).into_response(),
        };
        if let Some(code) = passing {
            let value = HeaderValue::from_static(code);
            response.headers_mut().insert(CODE, value);
        }
        response
    }
}

/// Why an answer, of this master or another one, says that nothing was done and may be another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// Nobody leads.
    NoLeader,
    /// Too much is in hand.
    Busy,
}

impl Passing {
    pub(super) fn of(response: &Response) -> Option<Self> {
        match response.headers().get(CODE)?.to_str() {
            Ok(NO_LEADER) => Some(Self::NoLeader),
            Ok(BUSY) => Some(Self::Busy),
            _ => None,
        }
    }
}
