//! A machine that has left its cluster, cleaned without a master.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use hancock_proto::api::StatusView;
use hancock_testkit::docker;
use serde_json::Value;

use super::keeping::plant;
use super::node::Node;
use super::{ask, wait_nodes, wait_serving};
use crate::masters::cluster::Cluster;
use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{BINARY, Ran, finish};

in_both_runtimes!(a_machine_that_left_is_cleaned);

/// `hancock node …` on the node's machine, with no master in reach.
#[track_caller]
fn here(node: &Node, args: &[&str]) -> Ran {
    let mut command = Command::new(BINARY);
    command
        .args(["--master", "http://127.0.0.1:1", "node"])
        .args(args)
        .env_remove("HANCOCK_TOKEN");
    finish(&mut command, node.dir())
}

/// What `orphans --local` tells of the cluster.
#[track_caller]
fn left(node: &Node, config: &str, cluster: &str) -> Vec<Value> {
    let told = here(
        node,
        &["orphans", "--local", "--config", config, "--output", "json"],
    )
    .ok();
    let all: Vec<Value> = serde_json::from_str(&told).unwrap();
    let of = |one: &Value| one["cluster"] == cluster;
    all.into_iter().filter(of).collect()
}

/// Another instance on the machine, which is nobody's to end but its own cluster's.
fn stranger(node: &Node, cluster: &str) -> String {
    let ours = docker::containers(&format!("hancock.node={}", node.name)).unwrap();
    let name = docker::inspect(&ours[0], "{{.Name}}").unwrap();
    let name = format!("{}-of-{cluster}", name.trim_start_matches('/'));
    plant(
        Runtime::Docker.image().unwrap(),
        cluster,
        &node.name,
        "web-1",
        &name,
    )
}

/// Folders of instances that the agent keeps in its data directory.
fn folders(node: &Node, runtime: Runtime) -> Vec<PathBuf> {
    let of = match runtime {
        Runtime::Docker => "data/files",
        Runtime::Process => "data/processes/instances",
    };
    let all = fs::read_dir(node.dir().join(of)).unwrap().flatten();
    all.map(|entry| entry.path()).collect()
}

fn a_machine_that_left_is_cleaned(runtime: Runtime) {
    let mut cluster = Cluster::start(1);
    let mut node = Node::alone(runtime, &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let spec = Spec::web(runtime)
        .replicas(2)
        .more("files: [{target: /etc/word, content: hello}]");
    let file = node.write("web.yaml", &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let serving = wait_serving(&cluster, "web", 2);
    let status: StatusView = ask(&cluster, "/v1/status").unwrap();
    let (id, config) = (status.cluster.to_string(), node.dir().join("agent.toml"));
    let config = config.display().to_string();
    let purge = ["purge", "--local", "--config", &config, "--cluster", &id];
    let elsewhere = node.dir().join("elsewhere").display().to_string();
    let guessed = [
        "purge",
        "--local",
        "--data-dir",
        &elsewhere,
        "--cluster",
        &id,
    ];

    // Its agent would start them again.
    let told = left(&node, &config, &id);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told.iter().all(|one| one["agent"] == node.serves()),
        "{told:?}"
    );
    let refused = here(&node, &purge).fails(1);
    assert!(
        refused.contains("runs on this machine") && refused.contains("stop it"),
        "{refused}"
    );
    if runtime == Runtime::Docker {
        let refused = here(&node, &guessed).fails(1);
        assert!(
            refused.contains(&config.replace("agent.toml", "data")),
            "{refused}"
        );
    }
    assert!(serving.iter().all(|(_, process)| process.is_alive()));

    cluster.crash(0);
    node.terminate();
    let strangers = match runtime {
        Runtime::Docker => vec![stranger(&node, "another")],
        Runtime::Process => Vec::new(),
    };
    assert_eq!(
        folders(&node, runtime)
            .iter()
            .filter(|f| f.is_dir())
            .count(),
        2
    );
    let told = left(&node, &config, &id);
    let runs = |one: &Value| one["running"] == true && one.get("agent").is_none();
    assert!(told.len() == 2 && told.iter().all(runs), "{told:?}");

    let removed = here(&node, &purge).ok();
    assert_eq!(removed.matches("   removed   ").count(), 2, "{removed}");
    assert!(removed.contains("data remembers what cluster"), "{removed}");
    assert!(!serving.iter().any(|(_, process)| process.is_alive()));
    assert_eq!(left(&node, &config, &id), Vec::<Value>::new());
    assert!(folders(&node, runtime).iter().all(|f| !f.is_dir()));
    let again = here(&node, &purge).ok();
    assert!(again.starts_with("nothing of cluster"), "{again}");
    for id in strangers {
        assert!(
            docker::pid(&id).is_some(),
            "a container of another cluster was touched"
        );
    }
}
