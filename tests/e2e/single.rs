//! An app that must not run twice ends on a node that hears no master, and comes back with them.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use hancock_testkit::{wait, wait_for};
use nix::sys::signal::Signal;

use crate::agents::node::Node;
use crate::agents::{wait_nodes, wait_serving};
use crate::masters::cluster::{Cluster, LATE};
use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::address;

in_both_runtimes!(it_stops_without_masters_and_comes_back_with_them);

fn it_stops_without_masters_and_comes_back_with_them(runtime: Runtime) {
    let mut cluster = Cluster::start(1);
    let mut node = Node::alone(runtime, &cluster.join, cluster.agents(0));
    node.spawn();
    wait_nodes(&cluster, 1);
    let spec = Spec::web(runtime)
        .replicas(1)
        .more("disconnect: {stop_after: 6s}");
    let file = node.write("web.yaml", &spec.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    // One that may run twice is beside it.
    let other = Spec::web(runtime).app("other").replicas(1);
    let file = node.write("other.yaml", &other.text());
    cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    let (single, process) = wait_serving(&cluster, "web", 1).remove(0);
    let beside = wait_serving(&cluster, "other", 1).remove(0).1;
    let at: SocketAddr = address(&single);
    let silent = Instant::now();
    cluster.pause(0, Signal::SIGSTOP);
    wait_for("its end", LATE, || {
        if process.is_alive() {
            Err("it runs")
        } else {
            Ok(())
        }
    });
    let took = silent.elapsed();
    println!("{runtime:?}: stopped {took:.1?} after the masters fell silent, 6s allowed");
    assert!(took >= Duration::from_secs(3), "{took:?}");
    // The agent begins anew, and starts nothing it has not heard to be wanted.
    node.crash();
    node.spawn();
    wait::stays(
        "down without masters",
        Duration::from_secs(3),
        || match TcpStream::connect_timeout(&at, Duration::from_millis(100)) {
            Ok(_) => Err("something accepts"),
            Err(_) => Ok(()),
        },
    );
    assert!(beside.is_alive(), "what may run twice runs on");
    cluster.resume(0);
    let (again, _) = wait_serving(&cluster, "web", 1).remove(0);
    assert_eq!((again.id, again.restarts), (single.id, 0));
}
