//! Ports that come and go with documents.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use hancock_balancer::ApplyError;
use hancock_testkit::wait::wait_for_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::Peer;
use super::{TcpWorld, at, connect, name_behind, plainly, quiet_port, rest, started};
use crate::client::{PATIENCE, get};

/// What is promised of a machine that has time.
const PROMISED: Duration = Duration::from_millis(10);
/// One that is busy with other tests makes everybody wait for a processor.
const BUSY: Duration = Duration::from_millis(500);

#[tokio::test]
async fn a_port_opens_with_its_document_and_closes_with_it() {
    let world = TcpWorld::new().await;
    let (peer, port) = (Peer::named("a").await, quiet_port());
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        assert!(TcpStream::connect(at(port)).await.is_err());
        let began = Instant::now();
        world.put(port, &[peer.port]);
        assert_eq!(name_behind(port).await, "a");
        fastest = fastest.min(began.elapsed());
        let began = Instant::now();
        world.delete(port);
        assert!(TcpStream::connect(at(port)).await.is_err());
        fastest = fastest.min(began.elapsed());
    }
    assert!(fastest < PROMISED, "{fastest:?}");
    world.stop().await;
}

#[tokio::test]
async fn a_port_somebody_has_is_told_and_tried_again() {
    let world = TcpWorld::new().await;
    let (peer, port) = (Peer::named("a").await, quiet_port());
    let taken = TcpListener::bind(at(port)).unwrap();
    let told = world
        .handle
        .apply_tcp(&port.to_string(), Some(plainly(&[peer.port])));
    let error = told.unwrap_err();
    assert!(matches!(error, ApplyError::Closed { .. }));
    let text = error.to_string();
    assert!(
        text.contains(&format!("127.0.0.1:{port}")) && text.contains("in use"),
        "{text}"
    );
    let metrics = get(world.admin, "admin", "/metrics").await.body;
    assert!(
        metrics.contains(&format!("hancock_tcp_port_open{{port=\"{port}\"}} 0")),
        "{metrics}"
    );
    drop(taken);
    wait_for_async("the port", PATIENCE, || async {
        TcpStream::connect(at(port))
            .await
            .map_err(|e| e.to_string())
    })
    .await;
    assert_eq!(name_behind(port).await, "a");
    let metrics = get(world.admin, "admin", "/metrics").await.body;
    assert!(metrics.contains(&format!("hancock_tcp_port_open{{port=\"{port}\"}} 1")));
    world.stop().await;
}

#[tokio::test]
async fn forbidden_ports_are_refused_and_other_names_open_nothing() {
    let (min, own) = (quiet_port(), quiet_port());
    let world = TcpWorld::with(|tcp| {
        tcp.ports = min..=65535;
        tcp.reserved.insert(own);
    })
    .await;
    let put = |name: &str| world.handle.apply_tcp(name, Some(plainly(&[1])));
    for name in [
        "22",
        "1023",
        &(min - 1).to_string(),
        &own.to_string(),
        &world.admin.port().to_string(),
    ] {
        let refused = put(name).unwrap_err();
        assert!(
            matches!(refused, ApplyError::Invalid { .. }),
            "{name}: {refused}"
        );
    }
    for name in ["no-port", "0", "99999", "08080", "+3131"] {
        put(name).unwrap();
    }
    world.stop().await;
}

#[tokio::test]
async fn a_kept_port_is_open_without_a_document() {
    let port = quiet_port();
    let world = TcpWorld::with(|tcp| tcp.listen = [port].into()).await;
    let mut stream = connect(port).await;
    assert!(rest(&mut stream).await.unwrap_or_default().is_empty());
    let peer = Peer::named("a").await;
    world.put(port, &[peer.port]);
    assert_eq!(name_behind(port).await, "a");
    world.delete(port);
    assert_eq!(name_behind(port).await, "");
    world.stop().await;
    let taken = TcpListener::bind(at(port)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (start, ..) = started(folder.path(), |tcp| tcp.listen = [port].into()).await;
    let error = start.err().unwrap().to_string();
    assert!(
        error.contains("--tcp-listen") && error.contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    drop(taken);
}

#[tokio::test]
async fn ports_are_open_again_after_a_restart() {
    let world = TcpWorld::new().await;
    let (peer, port) = (Peer::named("a").await, quiet_port());
    world.put(port, &[peer.port]);
    let folder = world.stop().await;
    assert!(TcpStream::connect(at(port)).await.is_err());
    let world = TcpWorld::start(folder, |_| {}).await;
    assert_eq!(name_behind(port).await, "a");
    world.stop().await;
}

#[tokio::test]
async fn a_thousand_ports_come_and_go_while_another_serves() {
    more_files();
    let world = TcpWorld::new().await;
    let (peer, echo, busy) = (Peer::named("a").await, Peer::echo().await, quiet_port());
    world.put(busy, &[echo.port]);
    let traffic = tokio::spawn(async move {
        let mut lasting = connect(busy).await;
        let mut rounds = 0u32;
        loop {
            for stream in [&mut lasting, &mut connect(busy).await] {
                stream.write_all(b"ping").await.unwrap();
                let mut pong = [0; 4];
                stream.read_exact(&mut pong).await.unwrap();
                assert_eq!(&pong, b"ping");
            }
            rounds += 1;
            if rounds.is_multiple_of(16) {
                tokio::task::yield_now().await;
            }
        }
    });
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let (mut puts, mut taken, mut ports) = (Vec::new(), Vec::new(), Vec::new());
    let before = threads();
    for _ in 0..1000 {
        let port = quiet_port();
        let began = Instant::now();
        world.put(port, &[peer.port]);
        puts.push(began.elapsed());
        let stream = connect(port).await;
        taken.push(began.elapsed());
        drop(stream);
        ports.push(port);
    }
    for port in &ports {
        assert_eq!(name_behind(*port).await, "a");
        world.delete(*port);
        assert!(TcpStream::connect(at(*port)).await.is_err());
    }
    puts.sort();
    taken.sort();
    println!("put: median {:?}, p99 {:?}", puts[500], puts[990]);
    println!(
        "from put to accepted: median {:?}, p99 {:?}",
        taken[500], taken[990]
    );
    assert!(taken[500] < PROMISED, "median {:?}", taken[500]);
    assert!(taken[990] < BUSY, "p99 {:?}", taken[990]);
    assert!(threads() <= before + 2, "threads grew");
    assert!(!traffic.is_finished());
    traffic.abort();
    world.stop().await;
}

/// A thousand open ports are more files than a process usually may have.
pub fn more_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}
