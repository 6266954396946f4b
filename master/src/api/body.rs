//! Bodies and path parts, read into types or refused with JSON.

use std::error::Error;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use hancock_proto::app::AppSpec;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId, NodeId, ZoneName};
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use utoipa::openapi::Required as Presence;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::{IntoParams, PartialSchema};

use super::error::Failure;
use super::serve::Slow;
use super::{Api, BODY_LIMIT};

/// A body as JSON of a type; an empty one reads as the default.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let bytes = bytes(request, api).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        serde_json::from_slice(&bytes).map(Self).map_err(not_json)
    }
}

/// A body as JSON of a type, which must be there.
pub(super) struct Required<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Required<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let bytes = bytes(request, api).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(not_json)
    }
}

/// An app spec, checked.
pub(super) struct Spec(pub(super) AppSpec);

impl FromRequest<Api> for Spec {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let Required(value) = Required::<serde_json::Value>::from_request(request, api).await?;
        AppSpec::decode(&value)
            .map(Self)
            .map_err(Failure::invalid_spec)
    }
}

async fn bytes(request: Request, api: &Api) -> Result<Bytes, Failure> {
    let read = Bytes::from_request(request, api).await;
    read.map_err(|error| match error.status() {
        // Said in a type of its own.
        StatusCode::PAYLOAD_TOO_LARGE => too_large(),
        _ => unread(&error),
    })
}

/// Why a body was not read.
pub(super) fn unread(error: &(dyn Error + 'static)) -> Failure {
    if has_cause::<LengthLimitError>(error) {
        return too_large();
    }
    if has_cause::<Slow>(error) {
        return Failure::new("too_slow", format!("{Slow}; send it again"));
    }
    Failure::malformed(format!("the body could not be read: {error}"))
}

fn too_large() -> Failure {
    let message = format!("the body is larger than {BODY_LIMIT} bytes");
    Failure::new("body_too_large", message)
}

fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    error.is::<E>() || error.source().is_some_and(has_cause::<E>)
}

fn not_json(error: serde_json::Error) -> Failure {
    Failure::malformed(format!("the body is not the JSON wanted here: {error}"))
}

/// The app named in the path.
pub(super) struct App(pub(super) AppName);

impl FromRequestParts<Api> for App {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let text = path_part(parts, api).await?;
        let name = text.parse();
        name.map(Self)
            .map_err(|e: hancock_proto::ids::InvalidName| Failure::malformed(e.to_string()))
    }
}

/// The zone named in the path.
pub(super) struct Zone(pub(super) ZoneName);

impl FromRequestParts<Api> for Zone {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let text = path_part(parts, api).await?;
        let name = text.parse();
        name.map(Self)
            .map_err(|e: hancock_proto::ids::InvalidName| Failure::malformed(e.to_string()))
    }
}

/// The instance named in the path.
pub(super) struct Instance(pub(super) InstanceId);

impl FromRequestParts<Api> for Instance {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let text = path_part(parts, api).await?;
        let name = text.parse();
        name.map(Self)
            .map_err(|e: hancock_proto::ids::InvalidName| Failure::malformed(e.to_string()))
    }
}

/// The node named in the path.
pub(super) struct Node(pub(super) NodeId);

impl FromRequestParts<Api> for Node {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let text = path_part(parts, api).await?;
        let name = text.parse();
        name.map(Self)
            .map_err(|e: hancock_proto::ids::InvalidName| Failure::malformed(e.to_string()))
    }
}

/// The deployment named in the path.
pub(super) struct Deployment(pub(super) DeploymentId);

impl FromRequestParts<Api> for Deployment {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Failure> {
        let text = path_part(parts, api).await?;
        let number = text.parse();
        number
            .map(|n| Self(DeploymentId(n)))
            .map_err(|_| Failure::malformed(format!("{text:?} is not the number of a deployment")))
    }
}

impl IntoParams for App {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path::<AppName>("app", "The app.")]
    }
}

impl IntoParams for Zone {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path::<ZoneName>("zone", "The zone.")]
    }
}

impl IntoParams for Instance {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path::<InstanceId>("instance", "The instance.")]
    }
}

impl IntoParams for Node {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path::<NodeId>("node", "The node.")]
    }
}

impl IntoParams for Deployment {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![in_path::<DeploymentId>("id", "The deployment.")]
    }
}

fn in_path<T: PartialSchema>(name: &str, what: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Path)
        .required(Presence::True)
        .description(Some(what))
        .schema(Some(T::schema()))
        .build()
}

async fn path_part(parts: &mut Parts, api: &Api) -> Result<String, Failure> {
    let part = axum::extract::Path::<String>::from_request_parts(parts, api).await;
    part.map(|path| path.0)
        .map_err(|e| Failure::malformed(format!("the path is not valid: {e}")))
}
