//! The part behind the question mark, and waiting for news.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use hancock_proto::ids::LogIndex;
use hancock_proto::time::Timestamp;
use hancock_proto::units::Span;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::Api;
use super::error::Failure;
use crate::deps::Deps;

/// Longest a request waits for news.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A query as a type, refused with JSON.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for Query<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, api).await;
        query
            .map(|query| Self(query.0))
            .map_err(|e| Failure::malformed(e.body_text()))
    }
}

/// `?after=N&wait=10s`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    /// What the reader has already.
    #[serde(default)]
    pub(super) after: u64,
    /// How long to wait for more; at most a minute.
    #[serde(default)]
    pub(super) wait: Span,
}

/// `?stale=true` of reads. The door takes it out, so no handler sees it; here it is only described.
pub(super) struct Stale;

impl IntoParams for Stale {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let only_true = ObjectBuilder::new().schema_type(Type::Boolean);
        let stale = ParameterBuilder::new()
            .name("stale")
            .parameter_in(ParameterIn::Query)
            .description(Some("Answer with what this master has, however old."))
            .schema(Some(only_true.enum_values(Some([true]))));
        vec![stale.build()]
    }
}

/// Waits for changes of the state, for a while.
pub(super) struct Patience<'a> {
    deps: &'a Deps,
    applied: watch::Receiver<LogIndex>,
    deadline: Instant,
}

impl<'a> Patience<'a> {
    /// From now on for `wait`, at most a minute. Changes from now on are not missed.
    pub(super) fn new(deps: &'a Deps, wait: Span) -> Self {
        Self {
            deps,
            applied: deps.raft.applied(),
            deadline: Instant::now() + wait.duration().min(LONGEST_WAIT),
        }
    }

    /// True: the state has changed since the last call. False: the time is up, or the master ends.
    pub(super) async fn changed(&mut self) -> bool {
        tokio::select! {
            changed = self.applied.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(self.deadline) => false,
            () = self.deps.stop.cancelled() => false,
        }
    }
}

/// A point in time: milliseconds since 1970, or how long ago, as "10m".
pub(super) fn since(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(millis) = text.parse() {
        return Ok(Timestamp(millis));
    }
    let ago: Span = text.parse().map_err(|_| {
        Failure::malformed(format!(
            "since={text} is neither a duration like \"10m\" nor milliseconds since 1970"
        ))
    })?;
    Ok(now - ago.duration())
}
