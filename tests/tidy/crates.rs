//! Rules on crates, read from `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::none;

/// Which members of the workspace each member may use. The shape of the whole system; change it only together with the design.
const MAY_USE: [(&str, &[&str]); 14] = [
    ("hancock-proto", &[]),
    ("hancock-wire", &[]),
    ("hancock-tls", &["hancock-wire", "hancock-proto"]),
    ("hancock-balancer-core", &["hancock-proto"]),
    ("hancock-agent-core", &["hancock-proto"]),
    ("hancock-master-core", &["hancock-proto"]),
    ("hancock-runner", &[]),
    ("hancock-registry", &["hancock-proto"]),
    (
        "hancock-balancer",
        &["hancock-balancer-core", "hancock-registry", "hancock-proto"],
    ),
    (
        "hancock-agent",
        &[
            "hancock-agent-core",
            "hancock-runner",
            "hancock-balancer",
            "hancock-registry",
            "hancock-wire",
            "hancock-tls",
            "hancock-proto",
        ],
    ),
    (
        "hancock-master",
        &[
            "hancock-master-core",
            "hancock-registry",
            "hancock-wire",
            "hancock-tls",
            "hancock-proto",
        ],
    ),
    (
        "hancock",
        &[
            "hancock-agent",
            "hancock-master",
            "hancock-balancer",
            "hancock-registry",
            "hancock-wire",
            "hancock-tls",
            "hancock-proto",
        ],
    ),
    ("hancock-testkit", &["hancock-proto"]),
    (
        "hancock-sim",
        &[
            "hancock-balancer-core",
            "hancock-agent-core",
            "hancock-master-core",
            "hancock-registry",
            "hancock-proto",
        ],
    ),
];

/// Crates that are pure: no runtime, no sockets, no entropy, not even through others.
const CORES: [&str; 3] = [
    "hancock-balancer-core",
    "hancock-agent-core",
    "hancock-master-core",
];

/// What a core must not have anywhere below it.
const IMPURE: [&str; 14] = [
    "async-std",
    "bollard",
    "getrandom",
    "hyper",
    "mio",
    "nix",
    "openraft",
    "pingora-core",
    "rand",
    "reqwest",
    "rustix",
    "socket2",
    "tokio",
    "tonic",
];

/// One HTTP stack and one TLS stack: these must be there once at most.
const ONCE: [&str; 8] = [
    "h2",
    "http",
    "http-body",
    "hyper",
    "hyper-rustls",
    "reqwest",
    "rustls",
    "tokio-rustls",
];

/// These must not be there at all: TLS is rustls on ring.
const NEVER: [&str; 5] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .exec()
        .unwrap()
}

fn may_use(name: &str) -> Option<&'static [&'static str]> {
    MAY_USE
        .iter()
        .find(|(member, _)| *member == name)
        .map(|(_, others)| *others)
}

#[test]
fn dependencies_point_in_the_allowed_directions() {
    let metadata = metadata();
    let members: BTreeMap<String, &Package> = metadata
        .workspace_packages()
        .into_iter()
        .map(|p| (p.name.to_string(), p))
        .collect();
    let mut findings = Vec::new();
    for (name, package) in &members {
        let Some(allowed) = may_use(name) else {
            findings.push(format!("{name} is a new member: give it a line in MAY_USE"));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| members.contains_key(&d.name))
        {
            // The kit may help every test but those of the cores, which have neither network nor files.
            let kit = dependency.kind == DependencyKind::Development
                && dependency.name == "hancock-testkit"
                && !CORES.contains(&name.as_str());
            // A crate may switch its own features on for its tests.
            let own = dependency.kind == DependencyKind::Development && dependency.name == *name;
            if !kit && !own && !allowed.contains(&dependency.name.as_str()) {
                findings.push(format!(
                    "{name} must not use {} ({:?})",
                    dependency.name, dependency.kind
                ));
            }
        }
    }
    none(
        "dependency direction: move the type to hancock-proto, or turn the call around with a trait",
        findings,
    );
}

#[test]
fn cores_are_pure_all_the_way_down() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for core in CORES {
        let below = below(&metadata, core);
        let impure = IMPURE.iter().filter(|name| below.contains(**name));
        findings.extend(impure.map(|name| format!("{core} pulls in {name}")));
    }
    none("a core is a function of its inputs", findings);
}

/// Names of all crates below `member`, through normal and build dependencies.
fn below(metadata: &Metadata, member: &str) -> BTreeSet<String> {
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|p| (&p.id, p.name.as_str()))
        .collect();
    let nodes: BTreeMap<&PackageId, &cargo_metadata::Node> = metadata
        .resolve
        .as_ref()
        .unwrap()
        .nodes
        .iter()
        .map(|node| (&node.id, node))
        .collect();
    let root = metadata
        .packages
        .iter()
        .find(|p| p.name.as_str() == member)
        .unwrap();
    let (mut seen, mut open) = (BTreeSet::new(), vec![&root.id]);
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let shipped = dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind != DependencyKind::Development);
            if shipped && seen.insert(names[&dependency.pkg].to_owned()) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen
}

#[test]
fn one_http_stack_and_one_tls_stack() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in &metadata.packages {
        versions
            .entry(package.name.as_str())
            .or_default()
            .insert(package.version.to_string());
    }
    let twice = ONCE
        .iter()
        .filter(|name| versions.get(**name).is_some_and(|v| v.len() > 1));
    let mut findings: Vec<String> = twice
        .map(|name| format!("{name} is there as {:?}", versions[name]))
        .collect();
    findings.extend(
        NEVER
            .iter()
            .filter(|name| versions.contains_key(**name))
            .map(|name| format!("{name} must not be there")),
    );
    none(
        "duplicate or forbidden crates: choose the features of what pulls them in (`cargo tree -i NAME`)",
        findings,
    );
}

#[test]
fn members_inherit_lints_and_dependencies() {
    let metadata = metadata();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        let (mut section, mut lints) = ("", false);
        for line in manifest.lines().map(str::trim) {
            if line.starts_with('[') {
                section = line;
            } else if section == "[lints]" && line == "workspace = true" {
                lints = true;
            } else if is_dependencies(section)
                && line.contains('=')
                && !line.contains("workspace = true")
            {
                findings.push(format!("{}: {line}", package.name));
            }
        }
        if !lints {
            findings.push(format!("{} has no [lints] workspace = true", package.name));
        }
    }
    none(
        "versions and lints stand once, in the workspace's Cargo.toml",
        findings,
    );
}

/// A member's own table; the workspace's table is where versions belong.
fn is_dependencies(section: &str) -> bool {
    section.ends_with("dependencies]") && section != "[workspace.dependencies]"
}
