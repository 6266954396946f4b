//! Which registry is in force.

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, view};
use hancock_proto::api::{RegistryRequest, RegistryView};

use super::Api;
use super::body::Required;
use super::error::Failure;
use super::query::Stale;
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

/// Which registry is in force, and the switch under way.
#[utoipa::path(
    get,
    path = "/v1/registry",
    operation_id = "show_registry",
    tag = "cluster",
    params(Stale),
    responses((status = 200, body = RegistryView))
)]
pub(super) async fn show(State(api): State<Api>) -> Answer<RegistryView> {
    Ok(Json(api.read(view::registry).await?))
}

/// Chooses the registry outsiders read. One that cannot be opened here is not chosen.
#[utoipa::path(
    put,
    path = "/v1/registry",
    operation_id = "choose_registry",
    tag = "cluster",
    params(Writer),
    request_body = RegistryRequest,
    responses((status = 200, body = RegistryView), (status = 409))
)]
pub(super) async fn choose(
    Writer(api): Writer,
    Required(request): Required<RegistryRequest>,
) -> Answer<RegistryView> {
    let url = request.url;
    if !url.is_embedded() {
        let opened = api.registries.open(&url);
        opened.map_err(|error| Failure::new("registry_unsupported", error.to_string()))?;
    }
    let at = api.deps.now();
    api.order(Command::ChooseRegistry { url, at }).await?;
    show(State(api)).await
}
