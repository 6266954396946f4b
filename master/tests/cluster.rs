//! A whole master over real sockets, with agents that speak the hub's protocol over a pipe in memory.
#![allow(clippy::unwrap_used)]

#[path = "cluster/agent.rs"]
mod agent;
#[path = "cluster/deploy.rs"]
mod deploy;
#[path = "cluster/described.rs"]
mod described;
#[path = "cluster/http.rs"]
mod http;
#[path = "cluster/logs.rs"]
mod logs;
#[path = "cluster/operate.rs"]
mod operate;
#[path = "cluster/registry.rs"]
mod registry;
#[path = "cluster/requests.rs"]
mod requests;
#[path = "cluster/restart.rs"]
mod restart;

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use hancock_master::{Master, Options};
use hancock_proto::api::ApplyReply;
use hancock_registry::Opener;
use hancock_wire::hub_server::HubServer;
use serde_json::{Value, json};

/// Far more than anything here takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A master in a folder of its own.
struct Cluster {
    master: Master,
    api: SocketAddr,
    dir: tempfile::TempDir,
    registries: Opener,
}

impl Cluster {
    async fn start() -> Self {
        Self::start_with(Opener::default()).await
    }

    /// One that can choose what `registries` opens.
    async fn start_with(registries: Opener) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (master, api) = start_in(dir.path(), registries.clone()).await;
        Self {
            master,
            api,
            dir,
            registries,
        }
    }

    /// Ends the master and starts it again on the same folder.
    async fn restart(self) -> Self {
        self.master.shutdown(DEADLINE).await;
        let (master, api) = start_in(self.dir.path(), self.registries.clone()).await;
        Self {
            master,
            api,
            dir: self.dir,
            registries: self.registries,
        }
    }

    fn hub(&self) -> HubServer<hancock_master::HubService> {
        self.master.hub()
    }

    async fn apply(&self, spec: &Value) -> ApplyReply {
        let app = spec["app"].as_str().unwrap();
        let reply = http::send(self.api, "PUT", &format!("/v1/apps/{app}"), Some(spec)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    async fn stop(self) {
        self.master.shutdown(DEADLINE).await;
    }
}

async fn start_in(dir: &Path, registries: Opener) -> (Master, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let api = listener.local_addr().unwrap();
    let options = Options {
        name: "m1".into(),
        data_dir: dir.to_owned(),
        api: listener,
        proxy: Some("127.0.0.1:8080".into()),
        registries,
    };
    (Master::start(options).await.unwrap(), api)
}

/// A small app with one HTTP port.
fn web(replicas: u32, mark: &str) -> Value {
    json!({
        "app": "web",
        "kind": "service",
        "command": ["/bin/web", "--port", "{{ port.http }}"],
        "environment": {"MARK": mark},
        "replicas": replicas,
        "resources": {"cpu": 0.1, "memory": "32MiB"},
        "ports": [{"name": "http"}],
        "service": [{"port": "http", "protocol": "http", "hosts": ["web.test"]}],
    })
}
