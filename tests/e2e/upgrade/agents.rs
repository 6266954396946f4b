//! Agents are upgraded while deployments go on: nothing is restarted, and nothing is stopped that a former process still uses.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hancock_testkit::Load;
use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::proc::Process;
use hancock_testkit::wait_for;
use nix::sys::signal::Signal;

use crate::agents::node::Node;
use crate::agents::{lives, wait_nodes, wait_serving};
use crate::masters::cluster::{Cluster, LATE};
use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::streams::{Session, echo, wait_greeting};

fn apply(cluster: &Cluster, node: &Node, spec: &Spec) {
    let name = format!("{}-{}.yaml", spec.app, spec.version);
    let file = node.write(&name, &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
}

fn web(version: &str, port: u16) -> Spec {
    echo(version, port, "{drain_timeout: 1s, grace_period: 5s}").replicas(1)
}

/// A node that serves the first version of the app, over TCP at that port.
fn serving() -> (Cluster, Node, u16) {
    let cluster = Cluster::start(1);
    let mut node = Node::new("n1", &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let port = quiet_port();
    apply(&cluster, &node, &web("v1", port));
    wait_greeting(local(port), "v1");
    (cluster, node, port)
}

fn wait_ended(process: Process) {
    wait_for("the end of an instance", LATE, || {
        match process.is_alive() {
            true => Err("still there"),
            false => Ok(()),
        }
    });
}

#[test]
fn the_three_zeros_hold_over_all_processes() {
    let (cluster, mut node, port) = serving();
    let web = |version: &str| web(version, port);
    let load = Load::to(node.http, "web.localhost").rate(100).start();
    let before = wait_serving(&cluster, "web", 1);
    let mut first = Session::open(local(port)).unwrap();
    first.talk("before the first upgrade");

    // A session of the former process begins to hold an instance after the upgrade.
    let one = node.serves();
    node.upgrade();
    assert_ne!(node.serves(), one);
    assert_eq!(
        lives(&wait_serving(&cluster, "web", 1)),
        lives(&before),
        "nothing was restarted"
    );
    apply(&cluster, &node, &web("v2"));
    assert_eq!(Session::open(local(port)).unwrap().version, "v2");
    first.talk("its instance is not listed any more");
    let mut second = Session::open(local(port)).unwrap();

    // And one before: the drain is open when the next process takes over. That the other app is deployed says that the master has
    // heard the new process out.
    node.upgrade();
    apply(
        &cluster,
        &node,
        &Spec::web(Runtime::Process).app("other").replicas(1),
    );
    for session in [&mut first, &mut second] {
        session.talk("over two upgrades");
    }
    let (_, old) = &before[0];
    assert!(old.is_alive());
    drop(first);
    wait_ended(*old);
    second.talk("on the version of now");
    let tally = load.stop();
    assert!(
        tally.causes.is_empty() && tally.answered("v2") > 0,
        "{tally}"
    );
    node.terminate_upgraded();
}

/// SIGKILL of the process that serves.
fn kill(node: &Node) {
    let serves = Process::find(node.serves()).unwrap();
    serves.signal(Signal::SIGKILL);
    wait_ended(serves);
}

/// Who may connect to former processes.
fn doorsteps(node: &Node) -> Vec<u32> {
    let entries = fs::read_dir(node.dir().join("data")).unwrap().flatten();
    let former = entries.filter(|e| e.file_name().to_string_lossy().starts_with("former-"));
    let mode = |e: fs::DirEntry| e.metadata().unwrap().permissions().mode() & 0o777;
    former.map(mode).collect()
}

#[test]
fn a_former_process_is_found_when_its_next_one_dies() {
    const FOUND: &str = "a former process still has something open";
    let (cluster, mut node, port) = serving();
    let web = |version: &str| web(version, port);
    let before = wait_serving(&cluster, "web", 1);
    let (_, old) = &before[0];
    let mut first = Session::open(local(port)).unwrap();
    first.talk("in the first process");

    // The one that follows it dies, and is itself a former process by then.
    node.upgrade();
    let middle = Process::find(node.serves()).unwrap();
    wait_for("a socket for this user alone", LATE, || {
        match doorsteps(&node) {
            modes if modes == [0o600] => Ok(()),
            modes => Err(format!("{modes:?}")),
        }
    });
    let second = Session::open(local(port)).unwrap();
    node.upgrade();
    middle.signal(Signal::SIGKILL);
    node.wait_told(FOUND);
    apply(&cluster, &node, &web("v2"));
    assert_eq!(Session::open(local(port)).unwrap().version, "v2");
    first.talk("its instance is not listed any more");
    assert!(old.is_alive());
    drop(second);

    // The one that serves dies, and another one is started.
    kill(&node);
    let mut beside = node.spawn_beside();
    beside.wait_line(FOUND, LATE);
    // That this deployment goes well says that the master has heard the new process out.
    apply(&cluster, &node, &web("v3"));
    assert_eq!(Session::open(local(port)).unwrap().version, "v3");
    first.talk("and follows the one after it");
    assert!(old.is_alive());
    drop(first);
    wait_ended(*old);
    node.terminate_upgraded();
}
