//! Zones, and the upstreams kept by hand in them.

use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use hancock_master_core::{Command, Reply, view};
use hancock_proto::api::{
    AddServerRequest, DeleteUpstreamRequest, TopLine, UpstreamView, ZoneView,
};
use hancock_proto::app::host_problem;
use hancock_proto::ids::ZoneName;
use hancock_proto::service::{ServiceKind, ServiceName};
use hancock_proto::upstream::Server;
use hancock_proto::zone;
use serde::Deserialize;
use utoipa::IntoParams;

use super::Api;
use super::body::{Required, Zone};
use super::describe::Nothing;
use super::error::Failure;
use super::query::{Query, Stale};
use super::writer::Writer;

type Answer<T> = Result<Json<T>, Failure>;

/// `?zone=ZONE`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OfZone {
    /// Only this zone's.
    #[param(value_type = Option<ZoneName>)]
    zone: Option<String>,
}

/// All zones.
#[utoipa::path(
    get,
    path = "/v1/zones",
    operation_id = "list_zones",
    tag = "zones",
    params(Stale),
    responses((status = 200, body = Vec<ZoneView>))
)]
pub(super) async fn list(State(api): State<Api>) -> Answer<Vec<ZoneView>> {
    Ok(Json(api.read(view::zones).await?))
}

/// Makes a zone, or changes one that nothing uses.
#[utoipa::path(
    put,
    path = "/v1/zones/{zone}",
    operation_id = "put_zone",
    tag = "zones",
    params(Zone, Writer),
    request_body = zone::Zone,
    responses((status = 200, body = ZoneView), (status = 409))
)]
pub(super) async fn put(
    Writer(api): Writer,
    Zone(name): Zone,
    Required(zone): Required<zone::Zone>,
) -> Answer<ZoneView> {
    let at = api.deps.now();
    let wanted = name.clone();
    api.order(Command::PutZone { name, zone, at }).await?;
    Ok(Json(api.show(|ctx| view::zone(ctx, &wanted))?))
}

/// Deletes a zone that nothing uses.
#[utoipa::path(
    delete,
    path = "/v1/zones/{zone}",
    operation_id = "delete_zone",
    tag = "zones",
    params(Zone, Writer),
    responses((status = 200, body = Nothing), (status = 404), (status = 409))
)]
pub(super) async fn delete(Writer(api): Writer, Zone(name): Zone) -> Answer<()> {
    let at = api.deps.now();
    api.order(Command::DeleteZone { name, at }).await.map(Json)
}

/// Services as a zone's balancers carry them.
#[utoipa::path(
    get,
    path = "/v1/zones/{zone}/upstreams",
    operation_id = "list_upstreams",
    tag = "zones",
    params(Zone, Stale),
    responses((status = 200, body = Vec<UpstreamView>), (status = 404))
)]
pub(super) async fn upstreams(
    State(api): State<Api>,
    Zone(name): Zone,
) -> Answer<Vec<UpstreamView>> {
    let list = api.read(|ctx| view::upstreams(ctx, &name)).await?;
    Ok(Json(list?))
}

/// Adds a server to an upstream kept by hand, which begins with its first one.
#[utoipa::path(
    post,
    path = "/v1/zones/{zone}/upstreams",
    operation_id = "add_server",
    tag = "zones",
    params(Zone, Writer),
    request_body = AddServerRequest,
    responses((status = 200, body = Nothing), (status = 404), (status = 409))
)]
pub(super) async fn add(
    Writer(api): Writer,
    Zone(zone): Zone,
    Required(request): Required<AddServerRequest>,
) -> Answer<()> {
    let server = server(&request)?;
    let at = api.deps.now();
    let name = request.name;
    let command = Command::AddServer {
        zone,
        name,
        server,
        at,
    };
    api.order(command).await.map(Json)
}

/// Deletes an upstream kept by hand.
#[utoipa::path(
    delete,
    path = "/v1/zones/{zone}/upstreams",
    operation_id = "delete_upstream",
    tag = "zones",
    params(Zone, Writer),
    request_body = DeleteUpstreamRequest,
    responses((status = 200, body = Nothing), (status = 404), (status = 409))
)]
pub(super) async fn delete_upstream(
    Writer(api): Writer,
    Zone(zone): Zone,
    Required(request): Required<DeleteUpstreamRequest>,
) -> Answer<()> {
    let (name, at) = (request.name, api.deps.now());
    let command = Command::DeleteUpstream { zone, name, at };
    api.order(command).await.map(Json)
}

/// What goes on in services, of one zone or of all.
#[utoipa::path(
    get,
    path = "/v1/top",
    operation_id = "top",
    tag = "zones",
    params(OfZone, Stale),
    responses((status = 200, body = Vec<TopLine>), (status = 404))
)]
pub(super) async fn top(
    State(api): State<Api>,
    Query(query): Query<OfZone>,
) -> Answer<Vec<TopLine>> {
    let zone = query.zone.as_deref().map(ZoneName::from_str).transpose();
    let zone = zone.map_err(|e| Failure::malformed(e.to_string()))?;
    let lines = api.read(|ctx| view::top(ctx, zone.as_ref())).await?;
    Ok(Json(lines?))
}

/// Ports below belong to the system, as in an app's spec.
const FIRST_LISTEN: u16 = 1024;
/// Weights beyond say nothing more.
const MOST_WEIGHT: u32 = 1000;

/// What balancers would not take is refused here.
fn server(request: &AddServerRequest) -> Result<Server, Failure> {
    let AddServerRequest {
        name,
        host,
        port,
        weight,
    } = request;
    if let Some(problem) = name_problem(name) {
        return Err(Failure::malformed(problem));
    }
    let plain = host.parse::<std::net::IpAddr>().is_ok();
    if let Some(problem) = host_problem(host).filter(|_| !plain) {
        return Err(Failure::malformed(problem));
    }
    if *port == 0 || host.contains('/') {
        return Err(Failure::malformed(format!(
            "{host}:{port} is not an address; write it like 10.0.0.1:8001"
        )));
    }
    if weight.is_some_and(|w| w == 0 || w > MOST_WEIGHT) {
        return Err(Failure::malformed(format!(
            "a weight is from 1 to {MOST_WEIGHT}"
        )));
    }
    Ok(Server {
        host: host.clone(),
        port: *port,
        weight: weight.map(f64::from),
        ..Server::default()
    })
}

fn name_problem(name: &ServiceName) -> Option<String> {
    match name.kind() {
        ServiceKind::Http(host) => host_problem(host),
        ServiceKind::Tcp(port) if port < FIRST_LISTEN => Some(format!(
            "port {port} belongs to the system; listen on one from {FIRST_LISTEN} on"
        )),
        ServiceKind::Tcp(_) => None,
    }
}

impl Api {
    /// Writes what an operator orders.
    pub(super) async fn order(&self, command: Command) -> Result<(), Failure> {
        match self.propose(command).await? {
            Reply::Done => Ok(()),
            Reply::Refused(error) => Err(error.into()),
            other => Err(Failure::unexpected(&other)),
        }
    }
}
