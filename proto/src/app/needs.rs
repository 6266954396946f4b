//! Which parts of a spec only a container engine can give: where nodes run plain processes they are refused, never passed over.

use super::{Container, Limits, Volume, VolumeKind};

/// The first thing asked for that plain processes do not have, as the spec writes it.
pub fn engine(container: &Container, limits: &Limits, volumes: &[Volume]) -> Option<&'static str> {
    let c = container;
    let has = |kind| volumes.iter().any(|v| v.kind == kind);
    let all = [
        (has(VolumeKind::Volume), "volumes of type volume"),
        (has(VolumeKind::Tmpfs), "volumes of type tmpfs"),
        (limits.disk.is_some(), "limits.disk"),
        (c.network != Default::default(), "container.network"),
        (c.hostname.is_some(), "container.hostname"),
        (!c.dns.is_empty(), "container.dns"),
        (!c.dns_search.is_empty(), "container.dns_search"),
        (!c.extra_hosts.is_empty(), "container.extra_hosts"),
        (!c.cap_add.is_empty(), "container.cap_add"),
        (!c.cap_drop.is_empty(), "container.cap_drop"),
        (c.privileged, "container.privileged"),
        (c.read_only, "container.read_only"),
        (c.init, "container.init"),
        (!c.sysctls.is_empty(), "container.sysctls"),
        (!c.ulimits.is_empty(), "container.ulimits"),
        (c.shm_size.is_some(), "container.shm_size"),
        (c.log.is_some(), "container.log"),
    ];
    let wanted = all.into_iter().find(|(wanted, _)| *wanted);
    wanted.map(|(_, name)| name)
}
