//! A Docker engine whose socket goes away and comes back, played by a relay in front of the real one.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use hancock_agent::runtime::docker::{DockerOptions, DockerRuntime};
use hancock_agent::runtime::{ContainerRuntime, RuntimeError};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// Relays connections until dropped; then every one is cut and the socket is gone.
async fn relay(listener: UnixListener, engine: std::path::PathBuf) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let engine = engine.clone();
        connections.spawn(async move {
            if let Ok(mut server) = UnixStream::connect(engine).await {
                // A cut connection is what the test is about.
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}

fn open(socket: &Path, engine: &Path) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(relay(listener, engine.to_owned()))
}

#[tokio::test]
async fn the_socket_goes_away_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let real = DockerOptions::from_environment(folder.path()).unwrap();
    if let Err(error) = UnixStream::connect(&real.socket).await {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "{}: {error}",
            real.socket.display()
        );
        eprintln!("SKIPPED: docker outage: {}: {error}", real.socket.display());
        return;
    }
    let options = DockerOptions {
        socket: folder.path().join("docker.sock"),
        ..real.clone()
    };
    let docker = DockerRuntime::new("outage".parse().unwrap(), options.clone());
    let mut changes = docker.changes();
    let away = docker.list().await.unwrap_err();
    assert!(matches!(away, RuntimeError::Unavailable { .. }), "{away:?}");

    for _ in 0..2 {
        let front = open(&options.socket, &real.socket);
        let answers = async {
            while docker.list().await.is_err() {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), answers)
            .await
            .expect("notice of its return");
        front.abort();
        std::fs::remove_file(&options.socket).unwrap();
        let silent = async {
            while docker.list().await.is_ok() {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), silent)
            .await
            .expect("notice of its loss");
        let away = docker.list().await.unwrap_err();
        assert!(matches!(away, RuntimeError::Unavailable { .. }), "{away:?}");
    }
}
