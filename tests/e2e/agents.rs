//! Agents as processes of their own, under several masters.

mod keeping;
mod leaving;
pub(crate) mod node;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hancock_proto::api::{InstanceView, NodeView};
use hancock_testkit::proc::{self, Process};
use hancock_testkit::{Load, wait_for};
use nix::sys::signal::Signal;
use serde::de::DeserializeOwned;

use self::node::Node;
use crate::masters::cluster::{Cluster, LATE};
use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::{address, finish};

/// Longest the agents may take to be with a new leader.
const FOUND: Duration = Duration::from_secs(10);

/// Asks the first master that answers.
pub fn ask<T: DeserializeOwned>(cluster: &Cluster, path: &str) -> Result<T, String> {
    let master = cluster.leader();
    let answer = cluster.get(master, path)?;
    if answer.status != 200 {
        return Err(format!("{path}: {} {}", answer.status, answer.body));
    }
    serde_json::from_str(&answer.body).map_err(|e| format!("{path}: {e} in {}", answer.body))
}

/// Waits until `count` nodes have been heard by the leader of now; gives them.
#[track_caller]
pub fn wait_nodes(cluster: &Cluster, count: usize) -> Vec<NodeView> {
    wait_for("nodes with the leader", LATE, || {
        let nodes: Vec<NodeView> = ask(cluster, "/v1/nodes")?;
        let heard = |n: &&NodeView| n.state == "alive" && n.heard_ms.is_some();
        if nodes.iter().filter(heard).count() == count {
            Ok(nodes)
        } else {
            Err(format!("{nodes:?}"))
        }
    })
}

/// Waits until `count` instances of `app` serve; gives each with its process.
#[track_caller]
pub fn wait_serving(cluster: &Cluster, app: &str, count: usize) -> Vec<(InstanceView, Process)> {
    wait_for("serving instances", LATE, || {
        let all: Vec<InstanceView> = ask(cluster, &format!("/v1/instances?app={app}"))?;
        let mut there: Vec<_> = all.into_iter().filter(|i| !i.life.is_over()).collect();
        there.sort_by(|a, b| a.id.cmp(&b.id));
        let serving = |i: &InstanceView| i.routed && i.ready.as_ref().is_some_and(|r| r.value);
        if there.len() != count || !there.iter().all(serving) {
            return Err(format!("{there:#?}"));
        }
        let with_process = |i: InstanceView| Some((proc::listener(address(&i).port())?, i));
        let found: Option<Vec<_>> = there.into_iter().map(with_process).collect();
        let found = found.ok_or("an instance without a process")?;
        Ok(found.into_iter().map(|(process, i)| (i, process)).collect())
    })
}

/// What must not change: ids, restarts, processes.
pub fn lives(instances: &[(InstanceView, Process)]) -> Vec<(String, u32, Process)> {
    let life = |(i, process): &(InstanceView, Process)| (i.id.to_string(), i.restarts, *process);
    instances.iter().map(life).collect()
}

fn apply(cluster: &Cluster, node: &Node, version: &str) {
    let spec = Spec::web(Runtime::Process)
        .version(version)
        .replicas(2)
        .more("placement: {max_per_node: 1}");
    let file = node.write(&format!("web-{version}.yaml"), &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
}

#[test]
fn they_follow_the_leader() {
    let mut cluster = Cluster::start(3);
    // One address is enough, and it need not be the leader's.
    let nodes = [0, 1].map(|n| {
        let mut node = Node::new(&format!("n{}", n + 1), &cluster.join, cluster.agents(n));
        node.spawn();
        node
    });
    wait_nodes(&cluster, 2);
    apply(&cluster, &nodes[0], "v1");
    let before = lives(&wait_serving(&cluster, "web", 2));
    let loads = nodes
        .each_ref()
        .map(|node| Load::to(node.http, "web.localhost").rate(100).start());
    let took = move_lead(&cluster);
    println!("handed over: both agents with the new leader after {took:.2?}");
    assert!(took <= FOUND, "{took:?}");
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        let took = lose_leader(&mut cluster, signal);
        println!("{signal}: both agents with the new leader after {took:.2?}");
        assert!(took <= FOUND, "{signal}: {took:?}");
        assert_eq!(
            lives(&wait_serving(&cluster, "web", 2)),
            before,
            "nothing was restarted"
        );
    }
    for load in &loads {
        let so_far = load.so_far();
        assert!(so_far.causes.is_empty(), "{so_far}");
    }
    apply(&cluster, &nodes[0], "v2");
    for load in loads {
        load.wait_until("answers of the new version", LATE, |t| {
            t.answered("v2") > 50
        });
        let tally = load.stop();
        assert!(
            tally.causes.is_empty() && tally.answered("v1") > 0,
            "{tally}"
        );
    }
}

/// The leader hands over; how long until both agents are with the next one.
fn move_lead(cluster: &Cluster) -> Duration {
    let leader = cluster.leader();
    let next = (leader + 1) % 3;
    let begun = Instant::now();
    cluster
        .ask(&["master", "transfer", &cluster.names()[next]])
        .ok();
    wait_nodes(cluster, 2);
    assert_ne!(cluster.leader(), leader);
    begun.elapsed()
}

/// The leader dies or stands still; how long until both agents are with another one. Then it comes back.
fn lose_leader(cluster: &mut Cluster, signal: Signal) -> Duration {
    let leader = cluster.leader();
    let begun = Instant::now();
    match signal {
        Signal::SIGKILL => cluster.crash(leader),
        signal => cluster.pause(leader, signal),
    }
    wait_nodes(cluster, 2);
    let took = begun.elapsed();
    match signal {
        Signal::SIGKILL => cluster.spawn(leader),
        _ => cluster.resume(leader),
    }
    cluster.wait_voters(3);
    took
}

#[test]
fn a_node_serves_while_its_agent_and_all_masters_were_away() {
    let mut cluster = Cluster::start(3);
    let mut node = Node::new("n1", &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let spec = Spec::web(Runtime::Process).replicas(2);
    let file = node.write("web.yaml", &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let before = wait_serving(&cluster, "web", 2);
    node.wait_told("masters learnt");
    for master in 0..3 {
        cluster.crash(master);
    }
    node.crash();
    assert!(before.iter().all(|(_, process)| process.is_alive()));
    node.spawn();
    let load = Load::to(node.http, "web.localhost").start();
    load.wait_until("answers without any master", LATE, |t| {
        t.answered("v1") > 200
    });
    // The one that is configured stays away: the others are remembered.
    cluster.spawn(1);
    cluster.spawn(2);
    wait_nodes(&cluster, 1);
    let after = wait_serving(&cluster, "web", 2);
    assert_eq!(lives(&after), lives(&before), "nothing was restarted");
    let tally = load.stop();
    assert!(tally.causes.is_empty(), "{tally}");
}

#[test]
fn commands_run_through_any_master_and_end_with_the_leader() {
    let mut cluster = Cluster::start(3);
    let mut node = Node::new("n1", &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let spec = Spec::web(Runtime::Process).replicas(1);
    let file = node.write("web.yaml", &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    wait_serving(&cluster, "web", 1);
    let leader = cluster.leader();
    for master in 0..3 {
        let word = format!("by-way-of-{master}");
        let mut command = cluster.client(master, &["exec", "web", "echo", &word]);
        let ran = finish(&mut command, node.dir());
        assert_eq!(ran.ok(), format!("{word}\n"));
        let line = format!("run [\"echo\", \"{word}\"] in instance web-");
        let told = wait_for("the line of the audit", LATE, || {
            let told = cluster.told(leader);
            let line = told.lines().find(|l| l.contains(&line)).map(str::to_owned);
            line.ok_or(told)
        });
        assert!(told.contains("operator from 127.0.0.1:"), "{told}");
        let via = told.contains(&format!(" via {}", cluster.names()[master]));
        assert_eq!(via, master != leader, "{told}");
    }
    // Its first line tells that it runs, its errors that the leader was lost.
    let follower = (leader + 1) % 3;
    let script = "echo $$; sleep 1000";
    let mut command = cluster.client(follower, &["exec", "web", "/bin/sh", "-c", script]);
    let [out, err] = ["out", "err"].map(|name| node.dir().join(name));
    command.stdout(std::fs::File::create(&out).unwrap());
    command.stderr(std::fs::File::create(&err).unwrap());
    let mut running = command.spawn().unwrap();
    let process = wait_for("the command", LATE, || {
        let text = std::fs::read_to_string(&out).unwrap();
        let pid = text.trim().parse().map_err(|_| text)?;
        Process::find(pid).ok_or_else(|| "gone".to_owned())
    });
    cluster.crash(leader);
    let ended = wait_for("the end of exec", LATE, || {
        running.try_wait().unwrap().ok_or("it goes on")
    });
    let told = std::fs::read_to_string(&err).unwrap();
    assert_eq!(ended.code(), Some(125), "{told}");
    assert!(told.starts_with("error: "), "{told}");
    wait_for("the end of the command", LATE, || {
        match process.is_alive() {
            true => Err("it runs"),
            false => Ok(()),
        }
    });
}

#[test]
fn a_changed_configuration_is_taken_at_the_next_start() {
    let cluster = Cluster::start(1);
    let mut node = Node::new("n1", &cluster.join, cluster.agents(0));
    let first = node.first_port;
    let single = [first + 5, first + 3];
    let ports = format!("[{}, \"{first}-{}\", {}]", single[0], first + 1, single[1]);
    node.put("instance-ports", &ports);
    node.spawn();
    let info = &wait_nodes(&cluster, 1)[0].info;
    let all = BTreeSet::from([first, first + 1, first + 3, first + 5]);
    assert_eq!(info.ports, all.iter().copied().collect());
    let spec = Spec::web(Runtime::Process).replicas(4);
    let file = node.write("web.yaml", &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let before = wait_serving(&cluster, "web", 4);
    let given = before.iter().map(|(i, _)| address(i).port());
    assert_eq!(given.collect::<BTreeSet<_>>(), all);
    let shown = format!("{first}-{},{},{}", first + 1, first + 3, first + 5);
    let file = node.write("more.yaml", &spec.app("more").text());
    let plan = cluster.ask(&["app", "plan", &file]).ok();
    assert!(
        plan.contains(&format!("no port of {shown} is free")),
        "{plan}"
    );
    node.terminate();
    assert!(before.iter().all(|(_, process)| process.is_alive()));
    node.add("label = [\"city=oslo\"]\nmemory = \"64MiB\"\nadvertise = [\"127.0.0.1,operator=telia,bandwidth=1gbps\"]\n");
    node.spawn();
    let told = wait_for("the new description", LATE, || {
        let nodes = wait_nodes(&cluster, 1);
        let labelled = nodes[0]
            .info
            .labels
            .get("city")
            .is_some_and(|city| city == "oslo");
        if labelled {
            Ok(cluster.ask(&["node", "show", "n1"]).ok())
        } else {
            Err(format!("{nodes:?}"))
        }
    });
    for word in ["city=oslo", "telia", "1gbps", "256 MiB of 64 MiB", &shown] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(lives(&wait_serving(&cluster, "web", 4)), lives(&before));
    let events = cluster.ask(&["events"]).ok();
    assert!(events.contains("nothing of it is stopped"), "{events}");
}

#[test]
fn mistakes_of_a_configuration_are_told_in_one_line() {
    let cluster = Cluster::start(1);
    let node = Node::new("n1", "join-wrong", cluster.agents(0));
    for (line, told) in [
        ("cpu = \"many\"", "cpu"),
        ("http = \"here\"", "http"),
        (
            "instance-ports = \"8080,9-1\"",
            "\"9-1\" is no port and no range",
        ),
        ("masters = \"nowhere\"", "nowhere"),
    ] {
        let mut command = node.command_with(line);
        let error = finish(&mut command, node.dir()).fails(1);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.contains(told), "{error}");
    }
    let (secret, pin) = cluster.join.split_once('.').unwrap();
    for (token, told) in [
        (format!("join-wrong.{pin}"), "this is not the join token"),
        (secret.to_owned(), "with its fingerprint"),
        (
            format!("{secret}.{}", "0".repeat(pin.len())),
            "another fingerprint",
        ),
    ] {
        let mut node = Node::new("n1", &token, cluster.agents(0));
        node.spawn();
        node.wait_told(told);
    }
}
