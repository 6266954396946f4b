//! Upstreams kept by hand: servers are added, upstreams deleted.

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;
use hancock_proto::ids::{AppName, DocIndex, Revision, ZoneName};
use hancock_proto::service::{ServiceKind, ServiceName};
use hancock_proto::upstream::Server;

use super::claims::{self, spoken};
use super::step::{About, Step};
use crate::command::Reply;
use crate::refuse;
use crate::state::{KeptUpstream, State};

/// Most upstreams kept by hand, and most servers of one.
const MAX_UPSTREAMS: usize = 4096;
const MAX_SERVERS: usize = 1000;

/// Adds a server, and the upstream with its first one. One that is there stays as it is.
pub(super) fn add_server(
    step: &mut Step<'_>,
    zone: &ZoneName,
    name: &ServiceName,
    server: &Server,
) -> Result<Reply, ApiError> {
    if step.state.zone(zone).is_none() {
        return Err(refuse::zone_not_found(zone));
    }
    if let Some(owner) = claims::owner(step.state, name) {
        return Err(refuse::name_taken(name, &owner, Vec::new()));
    }
    if let ServiceKind::Tcp(port) = name.kind()
        && let Some(by) = claims::used(step.state, port)
    {
        return Err(refuse::port_taken(port, &by, "name"));
    }
    let kept = living(step.state, name);
    if let Some(other) = kept.as_ref().filter(|kept| kept.zone != *zone) {
        return Err(elsewhere(name, &other.zone));
    }
    let mut servers = kept.map(|kept| kept.servers).unwrap_or_default();
    let same = |have: &Server| have.host == server.host && have.port == server.port;
    if servers.iter().any(same) {
        return Ok(Reply::Done);
    }
    room(step.state, &servers)?;
    servers.push(server.clone());
    let what = format!(
        "{} is served by {}:{} too",
        spoken(name),
        server.host,
        server.port
    );
    put(step, name, zone, servers, what);
    Ok(Reply::Done)
}

/// Deletes an upstream with all its servers.
pub(super) fn delete(
    step: &mut Step<'_>,
    zone: &ZoneName,
    name: &ServiceName,
) -> Result<Reply, ApiError> {
    if let Some(owner) = claims::owner(step.state, name) {
        return Err(refuse::conflict(format!(
            "{} belongs to app {owner}; `hancock app delete {owner}` takes it away",
            spoken(name)
        )));
    }
    match living(step.state, name) {
        Some(kept) if kept.zone == *zone => {}
        Some(kept) => return Err(elsewhere(name, &kept.zone)),
        None => return Err(refuse::upstream_not_found(zone, name)),
    }
    let what = format!("{} is served no more", spoken(name));
    put(step, name, zone, Vec::new(), what);
    Ok(Reply::Done)
}

fn living(state: &State, name: &ServiceName) -> Option<KeptUpstream> {
    let known = state.kept.upstreams.get(name);
    known.filter(|kept| !kept.servers.is_empty()).cloned()
}

fn elsewhere(name: &ServiceName, zone: &ZoneName) -> ApiError {
    refuse::conflict(format!("{} is kept in zone {zone}", spoken(name)))
}

fn room(state: &State, servers: &[Server]) -> Result<(), ApiError> {
    let full = servers.is_empty() && state.kept.upstreams.len() >= MAX_UPSTREAMS;
    match full || servers.len() >= MAX_SERVERS {
        false => Ok(()),
        true => Err(refuse::conflict(format!(
            "at most {MAX_UPSTREAMS} upstreams of {MAX_SERVERS} servers are kept by hand"
        ))),
    }
}

fn put(
    step: &mut Step<'_>,
    name: &ServiceName,
    zone: &ZoneName,
    servers: Vec<Server>,
    what: String,
) {
    let kept = KeptUpstream {
        zone: zone.clone(),
        servers,
        index: step.doc(),
    };
    let all = &mut step.state.kept;
    all.upstreams.insert(name.clone(), kept);
    step.event(Level::Info, "upstream_changed", About::default(), what);
}

/// The registry holds every change up to `index`.
pub(super) fn published(
    step: &mut Step<'_>,
    index: DocIndex,
    revision: Revision,
) -> Result<Reply, ApiError> {
    let kept = &mut step.state.kept;
    if index > kept.published {
        kept.published = index;
        kept.revision = revision;
    }
    let published = kept.published;
    let needed = |kept: &KeptUpstream| !kept.servers.is_empty() || kept.index > published;
    kept.upstreams.retain(|_, kept| needed(kept));
    Ok(Reply::Done)
}

/// What stands for upstreams kept by hand is no app.
pub(super) fn reserved(app: &AppName) -> bool {
    *app == AppName::by_hand()
}
