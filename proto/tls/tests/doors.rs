//! Doors over real sockets: who gets in, who does not, and what a new certificate changes.
#![allow(clippy::unwrap_used)]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use hancock_proto::ids::ClusterId;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_testkit::http;
use hancock_tls::{
    Authority, Caller, Conn, Connector, Door, HTTP, Name, Party, Role, is_distrust, pinned,
};
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

const LATE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    SystemClock.now()
}

fn cluster(name: &str) -> ClusterId {
    name.parse().unwrap()
}

fn authority() -> Authority {
    Authority::found(&cluster("c1"), now() - HOUR * 48).unwrap()
}

fn party(authority: &Authority, role: Role) -> Party {
    Party::new(authority.issue(role, &[], now(), HOUR).unwrap()).unwrap()
}

fn m1() -> Role {
    Role::Master("m1".into())
}

fn n1() -> Role {
    Role::Node("n1".parse().unwrap())
}

/// A door that answers each caller with who it takes it for.
fn open(party: Option<&Party>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut door = Door::open(listener, party, HTTP).unwrap();
    let address = door.address();
    tokio::spawn(async move {
        loop {
            let mut conn = door.accept().await;
            let caller = Caller::of(&conn);
            let name = caller.name.map_or("nobody".to_owned(), |n| n.to_string());
            conn.write_all(name.as_bytes()).await.unwrap();
            conn.shutdown().await.unwrap();
        }
    });
    address
}

/// What the door says; and what it has shown.
async fn call(
    door: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
) -> std::io::Result<(String, Option<CertificateDer<'static>>)> {
    let uri = format!("http://{door}").parse().unwrap();
    let mut conn = Connector::new(tls, LATE).oneshot(uri).await?.into_inner();
    let shown = match &conn {
        Conn::Plain(_) => None,
        Conn::Tls(tls) => tls
            .get_ref()
            .1
            .peer_certificates()
            .map(|shown| shown[0].clone()),
    };
    let mut said = String::new();
    let read = conn.read_to_string(&mut said);
    tokio::time::timeout(LATE, read).await.unwrap()?;
    Ok((said, shown))
}

async fn said(door: SocketAddr, party: &Party) -> std::io::Result<String> {
    Ok(call(door, Some(party.client(HTTP))).await?.0)
}

#[tokio::test]
async fn callers_are_known_by_their_certificates() {
    let authority = authority();
    let master = party(&authority, m1());
    let door = open(Some(&master));
    let node = party(&authority, n1());
    let name = Name::node(&cluster("c1"), &"n1".parse().unwrap());
    assert_eq!(said(door, &node).await.unwrap(), name.to_string());
    let with_pin = pinned(authority.pin().unwrap(), HTTP).unwrap();
    let (nobody, _) = call(door, Some(Arc::new(with_pin))).await.unwrap();
    assert_eq!(nobody, "nobody");
}

#[tokio::test]
async fn certificates_that_ended_or_are_anothers_do_not_get_in() {
    let authority = authority();
    let master = party(&authority, m1());
    let door = open(Some(&master));
    let past = authority.issue(n1(), &[], now() - HOUR * 2, HOUR).unwrap();
    let past = Party::new(past).unwrap();
    assert!(said(door, &past).await.is_err());
    // Signed by a stranger who knows which authority the cluster has.
    let stranger = Authority::found(&cluster("c1"), now()).unwrap();
    let forged = stranger.issue(n1(), &[], now(), HOUR).unwrap();
    let mut forged = serde_json::to_value(forged).unwrap();
    forged["authority"] = authority.certificate().into();
    let forged = Party::new(serde_json::from_value(forged).unwrap()).unwrap();
    assert!(said(door, &forged).await.is_err());
}

#[tokio::test]
async fn a_node_that_poses_as_a_master_is_not_believed() {
    let authority = authority();
    let door = open(Some(&party(&authority, n1())));
    let error = said(door, &party(&authority, m1())).await.unwrap_err();
    assert!(is_distrust(&error), "{error}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_from_then_on() {
    let authority = authority();
    let master = party(&authority, m1());
    let door = open(Some(&master));
    let node = party(&authority, n1());
    let (_, first) = call(door, Some(node.client(HTTP))).await.unwrap();
    let renewed = authority.issue(m1(), &[], now(), HOUR).unwrap();
    master.renew(renewed).unwrap();
    let (_, second) = call(door, Some(node.client(HTTP))).await.unwrap();
    assert_ne!(first.unwrap(), second.unwrap());
    let other = authority.issue(n1(), &[], now(), HOUR).unwrap();
    assert!(master.renew(other).is_err(), "it is another party's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_speaks_plain_or_nothing_keeps_nobody_out() {
    let authority = authority();
    let door = open(Some(&party(&authority, m1())));
    let silent = TcpStream::connect(door).unwrap();
    let get = move || http::get(door, "master", "/v1/status");
    let told = tokio::task::spawn_blocking(get).await.unwrap().unwrap();
    assert_eq!(told.status, 400);
    assert!(told.body.contains("use https://"), "{told:?}");
    let node = party(&authority, n1());
    assert!(said(door, &node).await.unwrap().ends_with("/node/n1"));
    drop(silent);
}

#[tokio::test]
async fn a_plain_door_is_named_as_such() {
    let door = open(None);
    let (nobody, _) = call(door, None).await.unwrap();
    assert_eq!(nobody, "nobody");
    let node = party(&authority(), n1());
    let error = said(door, &node).await.unwrap_err();
    assert!(error.to_string().contains("no TLS is spoken"), "{error}");
    assert!(!is_distrust(&error));
}
