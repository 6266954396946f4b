//! What a container gets of its node: limits, network, ports, mounts, privileges.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{
    ContainerUpdateBody, HostConfig, HostConfigLogConfig, Mount, MountTmpfsOptions, MountType,
    MountVolumeOptions, PortBinding, PortMap, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};
use hancock_proto::app::{Limits, Log, Network, Resources, Ulimit, Volume, VolumeKind};
use hancock_proto::ids::AppName;

use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::Owner;

use super::create::{APP, CLUSTER, NODE};
use crate::detect;

pub(super) fn config(spec: &StartSpec, publish: IpAddr) -> HostConfig {
    let c = &spec.container;
    HostConfig {
        port_bindings: Some(bindings(spec, publish)),
        mounts: Some(spec.volumes.iter().map(|v| mount(spec, v)).collect()),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        log_config: Some(log(c.log.as_ref())),
        network_mode: Some(network(&c.network)),
        dns: strings(&c.dns),
        dns_search: strings(&c.dns_search),
        extra_hosts: Some(hosts(spec)),
        cap_add: strings(&c.cap_add),
        cap_drop: strings(&c.cap_drop),
        privileged: Some(c.privileged),
        readonly_rootfs: Some(c.read_only),
        // A container for jobs has a first process that reaps by itself.
        init: Some(c.init && !spec.reuse),
        sysctls: Some(c.sysctls.clone().into_iter().collect()),
        shm_size: c.shm_size.map(|size| bytes(size.as_bytes())),
        ..limits(spec)
    }
}

fn limits(spec: &StartSpec) -> HostConfig {
    let cores = i64::from(spec.resources.cpu.as_millicores());
    let reserved = bytes(spec.resources.memory.as_bytes());
    let memory = spec.limits.memory.map(|m| bytes(m.as_bytes()));
    let disk = spec.limits.disk.map(|d| d.as_bytes().to_string());
    let ulimits = spec.container.ulimits.iter();
    HostConfig {
        memory: Some(memory.unwrap_or(reserved)).filter(|m| *m > 0),
        // Below its limit, what is reserved is taken from it last.
        memory_reservation: memory.and(Some(reserved)).filter(|m| *m > 0),
        // A share, not a cap: the reservation holds when the node is busy, and idle cores may be used.
        cpu_shares: Some((cores * 1024 / 1000).max(2)),
        nano_cpus: spec.limits.cpu.map(nano_cpus),
        pids_limit: Some(i64::from(spec.limits.pids.unwrap_or(Limits::PIDS))),
        storage_opt: disk.map(|size| HashMap::from([("size".to_owned(), size)])),
        ulimits: Some(ulimits.map(ulimit).collect()),
        ..HostConfig::default()
    }
}

/// Limits for a container that runs. To the engine 0 means "as it was" here: what is not limited is limited to what there is.
pub(super) fn changed(reserved: &Resources, limits: &Limits) -> ContainerUpdateBody {
    let memory = limits.memory.unwrap_or(reserved.memory);
    let memory = match memory.as_bytes() {
        0 => detect::memory_there(),
        _ => memory,
    };
    let memory = bytes(memory.as_bytes());
    ContainerUpdateBody {
        memory: Some(memory),
        // What the engine chooses by itself when the container is created; it refuses memory above what was chosen then.
        memory_swap: Some(memory.saturating_mul(2)),
        memory_reservation: limits.memory.map(|_| bytes(reserved.memory.as_bytes())),
        nano_cpus: Some(nano_cpus(limits.cpu.unwrap_or_else(detect::cpus))),
        pids_limit: Some(i64::from(limits.pids.unwrap_or(Limits::PIDS))),
        ..ContainerUpdateBody::default()
    }
}

/// More than there is limits nothing, and the engine refuses to be told so.
fn nano_cpus(limit: hancock_proto::units::Cpu) -> i64 {
    let there = detect::cpus();
    i64::from(limit.min(there).as_millicores()) * 1_000_000
}

fn bytes(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn strings(list: &[impl ToString]) -> Option<Vec<String>> {
    Some(list.iter().map(ToString::to_string).collect())
}

fn hosts(spec: &StartSpec) -> Vec<String> {
    let hosts = spec.container.extra_hosts.iter();
    hosts.map(|(name, at)| format!("{name}:{at}")).collect()
}

fn ulimit((name, limit): (&String, &Ulimit)) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    }
}

fn network(network: &Network) -> String {
    match network {
        // The engine's name for the one it chooses by itself.
        Network::Bridge => "default".to_owned(),
        other => other.to_string(),
    }
}

/// Rotated where nobody says otherwise, or a chatty app fills the disk.
fn log(log: Option<&Log>) -> HostConfigLogConfig {
    let (driver, mut options) = match log {
        Some(log) => (log.driver.clone(), log.options.clone()),
        None => ("json-file".to_owned(), Default::default()),
    };
    if matches!(driver.as_str(), "json-file" | "local") {
        for (name, value) in [("max-size", "10m"), ("max-file", "3")] {
            let option = options.entry(name.to_owned());
            option.or_insert_with(|| value.to_owned());
        }
    }
    HostConfigLogConfig {
        typ: Some(driver),
        config: Some(options.into_iter().collect()),
    }
}

/// Which port of the node leads to which port of the container. In the node's own network there is nothing to lead.
pub(super) fn bindings(spec: &StartSpec, publish: IpAddr) -> PortMap {
    let mut map = PortMap::new();
    if spec.container.network == Network::Host {
        return map;
    }
    let each = |port: &hancock_proto::assignment::PortBinding| {
        let protocol = port.protocol.as_str();
        port.pairs()
            .map(move |(host, inside)| (host, format!("{inside}/{protocol}")))
    };
    for (host, inside) in spec.ports.iter().flat_map(each) {
        let binding = PortBinding {
            host_ip: Some(publish.to_string()),
            host_port: Some(host.to_string()),
        };
        if let Some(all) = map.entry(inside).or_insert_with(|| Some(Vec::new())) {
            all.push(binding);
        }
    }
    map
}

/// The engine's name of a volume: of one app on one node, as two nodes may share an engine.
pub(super) fn volume_name(owner: &Owner, app: &AppName, name: &str) -> String {
    let whole = format!("{}/{}", owner.cluster, owner.node);
    format!(
        "hancock-{app}-{name}-{:08x}",
        crc32fast::hash(whole.as_bytes())
    )
}

fn mount(spec: &StartSpec, volume: &Volume) -> Mount {
    let mount = Mount {
        target: Some(volume.target.clone()),
        read_only: Some(volume.read_only),
        ..Mount::default()
    };
    match volume.kind {
        VolumeKind::Bind => Mount {
            typ: Some(MountType::BIND),
            source: Some(volume.source.clone()),
            ..mount
        },
        VolumeKind::Volume => Mount {
            typ: Some(MountType::VOLUME),
            source: Some(volume_name(&spec.owner, &spec.app, &volume.source)),
            volume_options: Some(MountVolumeOptions {
                labels: Some(whose(spec)),
                ..MountVolumeOptions::default()
            }),
            ..mount
        },
        VolumeKind::Tmpfs => Mount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: volume.size.map(|size| MountTmpfsOptions {
                size_bytes: Some(bytes(size.as_bytes())),
                ..MountTmpfsOptions::default()
            }),
            ..mount
        },
    }
}

fn whose(spec: &StartSpec) -> HashMap<String, String> {
    let labels = [
        (CLUSTER, spec.owner.cluster.to_string()),
        (NODE, spec.owner.node.to_string()),
        (APP, spec.app.to_string()),
    ];
    labels.map(|(name, value)| (name.to_owned(), value)).into()
}
