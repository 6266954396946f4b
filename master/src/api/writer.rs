//! Writes that may be sent again: the same key means the same write.

use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::error::Failure;
use super::{Api, Entered};
use crate::audit::Who;

/// Header with the key.
pub(super) const KEY: &str = "idempotency-key";
/// Longest key, in bytes.
const LONGEST: usize = 128;

/// The API for one write. It carries out once what comes with the same key, method and path, and answers the same each time.
pub(super) struct Writer(pub(super) Api);

impl FromRequestParts<Api> for Writer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let key = parts.headers.get(KEY).map(|key| read(key.as_bytes()));
        let key = key.transpose()?;
        // A key that another deed had must not be answered with that one's answer.
        let of_deed = |key: &str| Arc::from(format!("{key} {} {}", parts.method, parts.uri.path()));
        Ok(Self(Api {
            key: key.map(of_deed),
            who: who(parts),
            ..api.clone()
        }))
    }
}

/// The API for whoever asks, where that is to be told.
pub(super) struct Asker(pub(super) Api);

impl FromRequestParts<Api> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let who = who(parts);
        Ok(Self(Api { who, ..api.clone() }))
    }
}

impl IntoParams for Writer {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let visible = text
            .min_length(Some(1))
            .max_length(Some(LONGEST))
            .pattern(Some("^[!-~]+$"));
        let key = ParameterBuilder::new()
            .name("Idempotency-Key")
            .parameter_in(ParameterIn::Header)
            .description(Some(
                "Drawn anew for every write. A write sent again with the same key is carried out once and answered the same.",
            ))
            .schema(Some(visible));
        vec![key.build()]
    }
}

/// Whom the door has let in; without a door everybody is of this machine.
fn who(parts: &Parts) -> Who {
    let let_in = parts.extensions.get::<Who>().cloned();
    let_in.unwrap_or_else(|| {
        let entered = parts.extensions.get::<ConnectInfo<Entered>>();
        Who::new("local", entered.and_then(|entered| entered.0.0.address))
    })
}

fn read(bytes: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(bytes).ok();
    let fits = |text: &&str| {
        (1..=LONGEST).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    };
    text.filter(fits).ok_or_else(|| {
        Failure::malformed(format!(
            "{KEY} must be 1 to {LONGEST} visible ASCII characters, drawn anew for every write"
        ))
    })
}
