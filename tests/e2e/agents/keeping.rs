//! What an agent keeps, brings back, and lets go of.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use hancock_proto::api::InstanceView;
use hancock_proto::event::Event;
use hancock_testkit::http;
use hancock_testkit::proc::{self, Process};
use hancock_testkit::{docker, wait, wait_for};
use nix::sys::signal::Signal;

use super::node::Node;
use super::{ask, wait_nodes, wait_serving};
use crate::masters::cluster::{Cluster, LATE};
use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::address;

/// After the last container is up its balancer serves within that time.
const SERVES: Duration = Duration::from_secs(2);

in_both_runtimes!(a_node_that_lost_its_power_serves_without_a_master);

/// Processes that listen at the ports of the instances, as far as they do.
fn listeners(ports: &[u16]) -> Vec<Process> {
    ports.iter().filter_map(|p| proc::listener(*p)).collect()
}

fn accepts(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
}

fn a_node_that_lost_its_power_serves_without_a_master(runtime: Runtime) {
    let mut cluster = Cluster::start(1);
    let mut node = Node::alone(runtime, &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let file = node.write("web.yaml", &Spec::web(runtime).replicas(2).text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let before = wait_serving(&cluster, "web", 2);
    let addresses: Vec<SocketAddr> = before.iter().map(|(i, _)| address(i)).collect();
    let ports: Vec<u16> = addresses.iter().map(SocketAddr::port).collect();
    cluster.crash(0);
    node.lose_power();
    assert!(!addresses.iter().any(|a| accepts(*a)));

    let begun = Instant::now();
    node.spawn();
    let one_up = wait_for("a container", LATE, || {
        let up = addresses.iter().any(|a| accepts(*a));
        if up {
            Ok(begun.elapsed())
        } else {
            Err("none accepts")
        }
    });
    let served = wait_for("an answer of the balancer", LATE, || {
        let answer = http::get(node.http, "web.localhost", "/")?;
        match answer.status {
            200 => Ok(begun.elapsed()),
            status => Err(format!("{status}")),
        }
    });
    println!(
        "{runtime:?}: a container is up {one_up:.2?} after the start, the node serves after {served:.2?}"
    );
    assert!(served <= one_up + SERVES, "{served:?} after {one_up:?}");
    // Every one of them is back, before any master is.
    let came = wait_for("both instances", LATE, || {
        let found = listeners(&ports);
        if found.len() == 2 {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    });
    cluster.spawn(0);
    wait_nodes(&cluster, 1);
    let after = wait_serving(&cluster, "web", 2);
    let ids = |all: &[(InstanceView, Process)]| -> Vec<String> {
        all.iter().map(|(i, _)| i.id.to_string()).collect()
    };
    assert_eq!(ids(&after), ids(&before), "the same instances");
    wait::stays("nothing is restarted", Duration::from_secs(3), || {
        let now = listeners(&ports);
        if now == came {
            Ok(())
        } else {
            Err(format!("{came:?} {now:?}"))
        }
    });
}

/// A container with our labels that no agent started.
pub fn plant(image: &str, cluster: &str, node: &str, instance: &str, name: &str) -> String {
    let labels = [
        format!("hancock.cluster={cluster}"),
        format!("hancock.node={node}"),
        format!("hancock.instance={instance}"),
        "hancock.app=web".to_owned(),
        "hancock.version=1".to_owned(),
        "hancock.stop-signal=SIGTERM".to_owned(),
        "hancock.grace-period=1s".to_owned(),
        "hancock.ports=".to_owned(),
    ];
    let mut args = vec!["run", "--detach", "--network", "none", "--name", name];
    for label in &labels {
        args.extend(["--label", label]);
    }
    args.extend([image, "demo-app", "--port", "8080"]);
    docker::run(&args).unwrap()
}

/// Orphans go, but only when a master was heard, and only after their time; what is not ours stays.
#[test]
fn orphans_go_after_their_time_and_strangers_stay() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    let image = runtime.image().unwrap();
    let mut cluster = Cluster::start(1);
    let mut node = Node::alone(runtime, &cluster.join, cluster.agents(0));
    node.add("orphan-grace = \"3s\"\nkeep-dead = 0\n");
    node.spawn();
    wait_nodes(&cluster, 1);
    let file = node.write("web.yaml", &Spec::web(runtime).replicas(1).text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let before = wait_serving(&cluster, "web", 1);
    let status: hancock_proto::api::StatusView = ask(&cluster, "/v1/status").unwrap();
    cluster.crash(0);
    node.crash();
    let ours = docker::containers(&format!("hancock.node={}", node.name)).unwrap();
    let name = docker::inspect(&ours[0], "{{.Name}}").unwrap();
    let id = before[0].0.id.as_str();
    let plant = |cluster: &str, instance: &str| {
        let named = name.trim_start_matches('/').replace(id, instance);
        plant(image, cluster, &node.name, instance, &named)
    };
    let orphan = plant(status.cluster.as_str(), "web-777");
    let stranger = plant("another", "web-778");
    let runs = |id: &str| docker::pid(id).is_some();
    // A stored assignment that lacks it is no reason: the masters may know better.
    node.spawn();
    wait::stays("an orphan without a master", Duration::from_secs(6), || {
        if runs(&orphan) {
            Ok(())
        } else {
            Err("it is gone")
        }
    });
    cluster.spawn(0);
    wait_nodes(&cluster, 1);
    let heard = Instant::now();
    wait_for("the end of the orphan", LATE, || {
        match docker::inspect(&orphan, "{{.State.Status}}") {
            Ok(state) => Err(state),
            Err(_) => Ok(()),
        }
    });
    println!(
        "the orphan is gone {:.1?} after a master was heard",
        heard.elapsed()
    );
    assert!(
        runs(&stranger),
        "a container of another cluster was touched"
    );
    let after = wait_serving(&cluster, "web", 1);
    assert_eq!((after[0].1, after[0].0.restarts), (before[0].1, 0));
}

/// Images of `name` that are there, by tag.
fn tags(name: &str) -> Vec<String> {
    let all = docker::run(&["images", "--format", "{{.Tag}}", name]).unwrap();
    let mut tags: Vec<_> = all.lines().map(str::to_owned).collect();
    tags.sort();
    tags
}

/// Another image of the demo app.
fn image(of: &str, name: &str) {
    let container = docker::run(&["create", of]).unwrap();
    let label = format!("LABEL name={name}");
    docker::run(&["commit", "--change", &label, &container, name]).unwrap();
    docker::run(&["rm", &container]).unwrap();
}

/// Removes the images named so, on drop.
struct Images(String);

impl Drop for Images {
    fn drop(&mut self) {
        for tag in tags(&self.0) {
            if let Err(error) = docker::run(&["image", "rm", &format!("{}:{tag}", self.0)]) {
                eprintln!("{error}");
            }
        }
    }
}

/// The images of the newest versions stay; what no app of the node was made of is not its business.
#[test]
fn images_of_old_versions_go() {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    let demo = runtime.image().unwrap();
    let cluster = Cluster::start(1);
    let name = format!("hancock-test-tidy-{}", std::process::id());
    let _images = Images(name.clone());
    for tag in ["1", "2", "3", "4", "stranger"] {
        image(demo, &format!("{name}:{tag}"));
    }
    let mut node = Node::alone(runtime, &cluster.join, cluster.agents(0));
    node.add("keep-dead = 0\n");
    node.spawn();
    wait_nodes(&cluster, 1);
    for version in 1..=4 {
        let mut spec = Spec::web(runtime)
            .replicas(1)
            .version(&format!("v{version}"));
        spec.image = Some(format!("{name}:{version}"));
        let file = node.write("web.yaml", &spec.text());
        cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    }
    wait_for("old images to be gone", LATE, || match tags(&name) {
        left if left == ["3", "4", "stranger"] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    cluster.ask(&["app", "rollback", "web", "--wait"]).ok();
    wait_serving(&cluster, "web", 1);
    assert_eq!(tags(&name), ["3", "4", "stranger"]);
}

#[test]
fn a_full_disk_is_told_and_takes_nothing_new() {
    let cluster = Cluster::start(1);
    let mut node = Node::alone(Runtime::Process, &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let file = node.write("web.yaml", &Spec::web(Runtime::Process).replicas(1).text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let before = wait_serving(&cluster, "web", 1);
    node.terminate();
    // Every disk is fuller than that.
    node.add("disk-watermark = 1\n");
    node.spawn();
    wait_nodes(&cluster, 1);
    let other = Spec::web(Runtime::Process).app("other").replicas(1);
    let file = node.write("other.yaml", &other.text());
    let told = cluster.ask(&["app", "apply", &file, "--wait"]).fails(1);
    assert!(
        told.contains("disk full:") && told.contains("disk-watermark"),
        "{told}"
    );
    // What is there stays, and comes back when it falls.
    assert_eq!(wait_serving(&cluster, "web", 1)[0].1, before[0].1);
    before[0].1.signal(Signal::SIGKILL);
    wait_for("it to be back", LATE, || {
        let now = wait_serving(&cluster, "web", 1);
        if now[0].1 != before[0].1 {
            Ok(())
        } else {
            Err("the old one")
        }
    });
}

/// The master gives out a port of which it cannot know that another program has it: the node says no, and the next turn finds a place.
#[test]
fn what_a_node_rejects_is_placed_elsewhere_at_once() {
    let cluster = Cluster::start(1);
    let [mut first, mut second] =
        ["n1", "n2"].map(|name| Node::new(name, &cluster.join, cluster.agents(0)));
    first.spawn();
    second.spawn();
    wait_nodes(&cluster, 2);
    // Its offers stop for a moment, so that the master does not hear of the ports that are taken meanwhile.
    first.signal(Signal::SIGSTOP);
    let held: Vec<TcpListener> = first
        .ports()
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .collect();
    assert_eq!(held.len(), first.ports().len());
    let file = first.write("web.yaml", &Spec::web(Runtime::Process).replicas(1).text());
    cluster.ask(&["app", "apply", &file]).ok();
    let instances = || ask::<Vec<InstanceView>>(&cluster, "/v1/instances?app=web");
    let placed = wait_for("a placement", LATE, || {
        instances()?.into_iter().next().ok_or("none".to_owned())
    });
    assert_eq!(placed.node.as_ref().map(|n| n.as_str()), Some("n1"));
    first.signal(Signal::SIGCONT);
    let serving = wait_serving(&cluster, "web", 1);
    assert_eq!(serving[0].0.node.as_ref().map(|n| n.as_str()), Some("n2"));
    let events: Vec<Event> = ask(&cluster, "/v1/events").unwrap();
    let of = |kind: &str, instance: &str| {
        let found = events.iter().find(|e| {
            e.kind == kind && e.instance.as_ref().is_some_and(|i| i.as_str() == instance)
        });
        found
            .unwrap_or_else(|| panic!("no {kind} of {instance}: {events:#?}"))
            .clone()
    };
    let rejected = of("instance_failed", placed.id.as_str());
    assert!(
        rejected
            .message
            .contains("another program on the node listens on port"),
        "{rejected:?}"
    );
    let again = of("instance_placed", serving[0].0.id.as_str());
    let took = again.at.since(rejected.at);
    println!("placed elsewhere {took:.2?} after the rejection");
    assert!(took < Duration::from_secs(1), "{took:?}");
    let ids: BTreeSet<_> = events
        .iter()
        .filter(|e| e.kind == "instance_placed")
        .map(|e| e.instance.clone())
        .collect();
    assert_eq!(
        ids.len(),
        2,
        "one rejection, one more placement: {events:#?}"
    );
}
