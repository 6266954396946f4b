//! Who is not of the cluster is turned away at each of the three ports, and is told why where that helps.

use std::sync::Arc;
use std::time::Duration;

use hancock_proto::hub::AgentMessage;
use hancock_proto::ids::{ClusterId, NodeId};
use hancock_proto::time::{Clock, SystemClock};
use hancock_testkit::http;
use hancock_testkit::node::hello;
use hancock_tls::{Authority, Connector, EnrollError, GRPC, HTTP, Identity, Party, Role, enroll};
use hancock_wire::AgentFrame;
use hancock_wire::hub_client::HubClient;
use hancock_wire::peers::PeerFrame;
use hancock_wire::peers::peers_client::PeersClient;
use rustls::ClientConfig;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::cluster::{Cluster, LATE, encrypted};

const STATUS: &str = "GET /v1/status HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n";

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn channel(address: &str, tls: Option<Arc<ClientConfig>>) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect_with_connector_lazy(Connector::new(tls, LATE))
}

/// A node's certificate.
fn enrolled(cluster: &Cluster, master: usize, name: &str) -> Party {
    let masters = [cluster.agents(master).to_string()];
    let identity = runtime().block_on(enroll(&masters, &cluster.join, &node(name)));
    Party::new(identity.unwrap()).unwrap()
}

/// Opens a session as `party` and says that it is node `hello`, or nothing.
fn hub(
    cluster: &Cluster,
    master: usize,
    party: Option<&Party>,
    hello: Option<&str>,
) -> Result<(), Status> {
    let frames: Vec<AgentFrame> = hello.map(frame).into_iter().collect();
    let said = tokio_stream::StreamExt::chain(
        tokio_stream::iter(frames),
        tokio_stream::pending::<AgentFrame>(),
    );
    let tls = party.map(|party| party.client(GRPC));
    let address = cluster.agents(master).to_string();
    runtime().block_on(async {
        let mut client = HubClient::new(channel(&address, tls));
        let opened = tokio::time::timeout(LATE, client.session(said)).await;
        let mut answers = opened.unwrap()?.into_inner();
        match hello {
            Some(_) => answers.message().await.map(drop),
            None => Ok(()),
        }
    })
}

fn frame(name: &str) -> AgentFrame {
    let hello = AgentMessage::Hello(hello(name, "b1"));
    AgentFrame {
        fence: None,
        body: serde_json::to_vec(&hello).unwrap(),
    }
}

/// Asks for a vote as `party`.
fn vote(cluster: &Cluster, master: usize, party: &Party) -> Status {
    let address = cluster.peers(master).to_string();
    runtime().block_on(async {
        let mut client = PeersClient::new(channel(&address, Some(party.client(GRPC))));
        let asked = client.vote(Request::new(PeerFrame::default()));
        tokio::time::timeout(LATE, asked)
            .await
            .unwrap()
            .unwrap_err()
    })
}

/// Looks at the API as `party`.
fn api(cluster: &Cluster, master: usize, party: &Party) -> Result<http::Response, String> {
    encrypted(cluster.api(master), party.client(HTTP), STATUS)
}

/// Somebody with the cluster's name and an authority of his own, who knows which one the cluster has.
fn forger(ours: &Party, role: Role) -> Party {
    let cluster: ClusterId = ours.name().cluster.clone();
    let now = SystemClock.now();
    let authority = Authority::found(&cluster, now).unwrap();
    let forged = authority.issue(role, &[], now, Duration::from_secs(60));
    let mut forged = serde_json::to_value(forged.unwrap()).unwrap();
    forged["authority"] = ours.identity().authority().into();
    let forged: Identity = serde_json::from_value(forged).unwrap();
    Party::new(forged).unwrap()
}

#[test]
fn nodes_enter_with_the_certificate_of_their_name() {
    let cluster = Cluster::start(3);
    let leader = cluster.leader();
    let follower = (leader + 1) % 3;
    // Any master signs.
    let party = enrolled(&cluster, follower, "n1");
    let elsewhere = hub(&cluster, follower, Some(&party), None).unwrap_err();
    assert_eq!(elsewhere.code(), Code::Unavailable, "{elsewhere}");
    let agents = elsewhere.metadata().get("x-hancock-leader").unwrap();
    assert_eq!(agents.to_str().unwrap(), cluster.agents(leader).to_string());
    hub(&cluster, leader, Some(&party), Some("n1")).unwrap();
    let refused = hub(&cluster, leader, Some(&party), Some("n2")).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    // It goes on with what it has, without the token.
    let before = party.identity();
    let masters = [cluster.agents(leader).to_string()];
    let renewed = runtime().block_on(hancock_tls::renew(&masters, &party));
    assert_ne!(renewed.unwrap(), before);
    hub(&cluster, leader, Some(&party), None).unwrap();
}

#[test]
fn strangers_are_turned_away_at_every_port() {
    let mut cluster = Cluster::start(1);
    let party = enrolled(&cluster, 0, "n1");
    let told = cluster.bare(0, "/v1/status").unwrap();
    assert_eq!(told.status, 401, "{told:?}");
    assert!(told.body.contains("HANCOCK_TOKEN"), "{told:?}");
    let refused = hub(&cluster, 0, None, None).unwrap_err();
    assert!(refused.message().contains("speaks TLS"), "{refused}");
    for role in [Role::Master("m1".into()), Role::Node(node("n1"))] {
        let forger = forger(&party, role);
        assert!(api(&cluster, 0, &forger).is_err());
        let refused = hub(&cluster, 0, Some(&forger), None).unwrap_err();
        assert_ne!(refused.code(), Code::Unauthenticated, "no handshake");
        assert_ne!(vote(&cluster, 0, &forger).code(), Code::Unauthenticated);
    }
    // A node is of the cluster, but no master.
    assert_eq!(vote(&cluster, 0, &party).code(), Code::Unauthenticated);
    assert_eq!(api(&cluster, 0, &party).unwrap().status, 401);
    let masters = [cluster.agents(0).to_string()];
    let ask = |token: &str| {
        let asked = enroll(&masters, token, party.name().as_node().unwrap());
        runtime().block_on(asked).unwrap_err()
    };
    let (secret, pin) = cluster.join.split_once('.').unwrap();
    let wrong = ask(&format!("join-wrong.{pin}"));
    assert!(matches!(wrong, EnrollError::Refused { .. }), "{wrong}");
    let other = ask(&format!("{secret}.{}", "0".repeat(pin.len())));
    assert!(matches!(other, EnrollError::Refused { .. }), "{other}");
    assert!(other.to_string().contains("another fingerprint"), "{other}");
    assert_eq!(ask(secret), EnrollError::NoFingerprint);
    newcomers(&mut cluster);
}

/// A master that may not, or would be open, or is none.
fn newcomers(cluster: &mut Cluster) {
    let newcomer = cluster.prepare("m9");
    let contact = cluster.peers(0).to_string();
    let join = ["master", "join", &contact];
    let (_, pin) = cluster.token.split_once('.').unwrap();
    let wrong = format!("operator-wrong.{pin}");
    let refused = cluster.run_with(newcomer, &join, &wrong);
    assert!(refused.fails(1).contains("refuses"));
    let (secret, _) = cluster.token.split_once('.').unwrap();
    let other = format!("{secret}.{}", "0".repeat(pin.len()));
    let refused = cluster.run_with(newcomer, &join, &other);
    assert!(refused.fails(1).contains("fingerprint"));
    let refused = cluster.run_with(newcomer, &join, secret);
    assert!(refused.fails(1).contains("with its fingerprint"));
    let nowhere = cluster.run(newcomer, &["master", "run"]);
    assert!(nowhere.fails(1).contains("hancock master init"));
}

#[test]
fn plain_speech_is_answered_with_the_way_out() {
    let cluster = Cluster::start(1);
    let plain = format!("http://{}", cluster.api(0));
    let said = cluster.ask_with(&["status", "--master", &plain], "");
    assert!(
        said.fails(4)
            .contains("the master speaks TLS: use https://")
    );
    let said = cluster.ask(&["status", "--master", &plain]);
    assert!(
        said.fails(3)
            .contains("the master speaks TLS: use https://")
    );
    let encrypted = format!("https://{}", cluster.api(0));
    let ask = ["status", "--master", &encrypted];
    let (secret, pin) = cluster.token.split_once('.').unwrap();
    let other = format!("{secret}.{}", "0".repeat(pin.len()));
    let said = cluster.ask_with(&ask, &other);
    assert!(said.fails(3).contains("another fingerprint"));
    for none in ["", secret] {
        let said = cluster.ask_with(&ask, none);
        assert!(said.fails(3).contains("token that carries the fingerprint"));
    }
}

#[test]
fn a_cluster_without_certificates_stays_on_its_machine() {
    let mut cluster = Cluster::start_plain(1);
    assert!(cluster.told(0).contains("begun without certificates"));
    let listed = cluster.ask(&["master", "list"]).ok();
    assert!(listed.contains("m1"), "{listed}");
    let open = ["master", "run", "--api", "0.0.0.0:7400", "--advertise", "m"];
    cluster.signal(0, nix::sys::signal::Signal::SIGTERM);
    assert!(cluster.wait_exit(0).success());
    assert!(cluster.run(0, &open).fails(1).contains("--insecure"));
}
