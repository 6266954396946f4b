//! Whole masters in this process, over real sockets and TLS.

use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use bytes::Bytes;
use hancock_proto::hub::AgentMessage;
use hancock_proto::ids::NodeId;
use hancock_testkit::node::hello;
use hancock_testkit::wait::{stays_async, wait_for_async};
use hancock_tls::{Conn, Connector, HTTP, Pin, enroll, pinned};
use hancock_wire::AgentFrame;
use hancock_wire::hub_client::HubClient;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Endpoint;
use tower::ServiceExt;

use super::*;

/// Far more than an election takes on a loaded machine.
const LATE: Duration = Duration::from_secs(30);

/// Masters of one cluster.
struct Masters {
    running: Vec<Running>,
    credentials: Credentials,
}

struct Running {
    master: Master,
    api: SocketAddr,
    agents: SocketAddr,
    peers: SocketAddr,
    _dir: tempfile::TempDir,
}

/// An answer: status, Retry-After, body.
type Answer = (u16, Option<String>, String);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn start(dir: tempfile::TempDir, name: &str, limits: Limits) -> Running {
    let ((api_door, api), (agents_door, agents), (peers_door, peers)) =
        (listener(), listener(), listener());
    let options = ClusterOptions {
        data_dir: dir.path().to_owned(),
        member: Member {
            name: name.to_owned(),
            api: api.to_string(),
            agents: agents.to_string(),
            peers: peers.to_string(),
            ..Member::of_this_version()
        },
        api: api_door,
        agents: agents_door,
        peers: peers_door,
        registries: Opener::default(),
    };
    Running {
        master: Master::take_part_within(options, limits).await.unwrap(),
        api,
        agents,
        peers,
        _dir: dir,
    }
}

impl Masters {
    /// So many, all of which vote.
    async fn start(many: usize, limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (_, credentials) = found_cluster(dir.path(), true).unwrap();
        let first = start(dir, "m1", limits).await;
        let mut masters = Self {
            running: vec![first],
            credentials,
        };
        masters.settled(1).await;
        for number in 2..=many {
            let (dir, name) = (tempfile::tempdir().unwrap(), format!("m{number}"));
            let contact = masters.running[0].peers.to_string();
            let operator = &masters.credentials.operator;
            join_cluster(dir.path(), &name, &contact, operator)
                .await
                .unwrap();
            let next = start(dir, &name, limits).await;
            masters.running.push(next);
        }
        masters.settled(many).await;
        masters
    }

    /// Waits until so many vote.
    async fn settled(&self, many: usize) {
        wait_for_async("voters", LATE, || async {
            let (status, _, text) = self.ask(0, "GET", "/v1/masters", "").await;
            let told: Value = serde_json::from_str(&text).unwrap();
            let told = told.as_array().cloned().unwrap_or_default();
            let voters = told.iter().filter(|m| m["voter"] == true).count();
            let led = told.iter().any(|m| m["leader"] == true);
            if (voters, led) == (many, true) {
                Ok(())
            } else {
                Err(format!("{status} {text}"))
            }
        })
        .await;
    }

    /// Number of the one that leads.
    async fn leader(&self) -> usize {
        let (_, _, text) = self.ask(0, "GET", "/v1/masters", "").await;
        let told: Value = serde_json::from_str(&text).unwrap();
        let led = |m: &Value| m["leader"] == true;
        let leader = told.as_array().unwrap().iter().find(|m| led(m)).unwrap();
        let of = |running: &Running| leader["api"] == running.api.to_string();
        self.running.iter().position(of).unwrap()
    }

    fn connector(&self) -> Connector {
        let pin = Pin::of_token(&self.credentials.operator).unwrap();
        Connector::new(Some(Arc::new(pinned(pin, HTTP).unwrap())), LATE)
    }

    /// One request over a connection of its own.
    async fn ask(&self, master: usize, method: &str, path: &str, body: &str) -> Answer {
        let client = Client::builder(TokioExecutor::new()).build(self.connector());
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.running[master].api))
            .header("authorization", self.bearer())
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let answered = async {
            let response = client.request(request).await.unwrap();
            let after = response.headers().get("retry-after").cloned();
            let after = after.map(|after| after.to_str().unwrap().to_owned());
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, after, String::from_utf8(body.to_vec()).unwrap())
        };
        tokio::time::timeout(LATE, answered).await.unwrap()
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.credentials.operator)
    }

    /// A write whose body is not complete.
    async fn begin(&self, master: usize, path: &str, missing: usize) -> Conn {
        let api = self.running[master].api;
        let uri = format!("http://{api}").parse().unwrap();
        let mut conn = self.connector().oneshot(uri).await.unwrap().into_inner();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: a\r\nauthorization: {}\r\nconnection: close\r\ncontent-length: {missing}\r\n\r\n",
            self.bearer()
        );
        conn.write_all(head.as_bytes()).await.unwrap();
        conn
    }

    async fn stop(self) {
        for running in self.running {
            running.master.shutdown(LATE).await;
        }
    }
}

/// A small app.
fn web(name: &str) -> String {
    json!({
        "app": name,
        "command": ["/bin/web", "--port", "{{ port.http }}"],
        "ports": [{"name": "http"}],
        "service": [{"port": "http", "hosts": [format!("{name}.test")]}],
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_repeats_what_its_leader_is_too_busy_for() {
    let limits = Limits {
        writes: 1,
        ..Limits::default()
    };
    let masters = Masters::start(3, limits).await;
    let leader = masters.leader().await;
    let follower = (leader + 1) % 3;
    let body = web("first");
    // The write in hand is the one whose body is missing.
    let (mut first, busy) = wait_for_async("the limit", LATE, || async {
        let first = masters.begin(leader, "/v1/apps/first", body.len()).await;
        let other = masters
            .ask(leader, "PUT", "/v1/apps/other", &web("other"))
            .await;
        if other.0 == 503 {
            Ok((first, other))
        } else {
            Err(format!("{other:?}"))
        }
    })
    .await;
    assert!(busy.2.contains(r#""code":"busy""#), "{busy:?}");
    assert_eq!(busy.1.as_deref(), Some("1"), "{busy:?}");
    for read in ["/v1/apps", "/v1/apps?stale=true", "/v1/status", "/v1/nodes"] {
        let answer = masters.ask(leader, "GET", read, "").await;
        assert_eq!(answer.0, 200, "{read}: {answer:?}");
    }
    let spec = web("second");
    let mut second = Box::pin(masters.ask(follower, "PUT", "/v1/apps/second", &spec));
    let patient = stays_async("nothing", Duration::from_millis(500), async || {
        Ok::<_, String>(())
    });
    tokio::select! {
        early = &mut second => panic!("not repeated: {early:?}"),
        () = patient => {}
    }
    first.write_all(body.as_bytes()).await.unwrap();
    let mut told = String::new();
    let answered = first.read_to_string(&mut told);
    let read = tokio::time::timeout(LATE, answered).await.unwrap();
    assert!(read.is_ok() || !told.is_empty(), "{read:?}");
    let (first, second) = (told, second.await);
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    assert_eq!(second.0, 200, "{second:?}");
    masters.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_leader_what_needs_one_is_503_and_the_rest_is_answered() {
    let mut masters = Masters::start(3, Limits::default()).await;
    let put = masters.ask(0, "PUT", "/v1/apps/web", &web("web")).await;
    assert_eq!(put.0, 200, "{put:?}");
    let seen = "/v1/apps?stale=true";
    wait_for_async("the app at the one that stays", LATE, || async {
        let answer = masters.ask(0, "GET", seen, "").await;
        if answer.2.contains("web") {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    for running in masters.running.split_off(1) {
        running.master.shutdown(LATE).await;
    }
    let (again, other) = (web("web"), web("other"));
    for (method, path, body) in [
        ("PUT", "/v1/apps/web", again.as_str()),
        ("PUT", "/v1/apps/other", other.as_str()),
        ("GET", "/v1/apps", ""),
        ("GET", "/v1/nodes", ""),
    ] {
        let (status, after, text) = wait_for_async("the end of the lease", LATE, || async {
            let answer = masters.ask(0, method, path, body).await;
            if answer.0 == 200 {
                Err(format!("{answer:?}"))
            } else {
                Ok(answer)
            }
        })
        .await;
        assert_eq!(
            (status, after.as_deref()),
            (503, Some("1")),
            "{path}: {text}"
        );
        // A write that was under way when the last of the others went may be there or not.
        let told = ["no_leader", "outcome_unknown"]
            .iter()
            .any(|code| text.contains(code));
        assert!(told, "{path}: {text}");
    }
    let told = masters.ask(0, "GET", "/v1/nodes", "").await;
    assert!(told.2.contains(r#""code":"no_leader""#), "{told:?}");
    for path in [seen, "/v1/nodes?stale=true", "/v1/status"] {
        let answer = masters.ask(0, "GET", path, "").await;
        assert_eq!(answer.0, 200, "{path}: {answer:?}");
    }
    masters.stop().await;
}

/// Opens a session of a node over a connection of its own, whose streams have less room than a single frame: what comes after the first one
/// is not even asked for.
async fn session(masters: &Masters, node: &str) -> tonic::Streaming<hancock_wire::HubFrame> {
    let agents = masters.running[0].agents.to_string();
    let id: NodeId = node.parse().unwrap();
    let identity = enroll(
        std::slice::from_ref(&agents),
        &masters.credentials.join,
        &id,
    );
    let party = Party::new(identity.await.unwrap()).unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{agents}")).unwrap();
    let connector = Connector::new(Some(party.client(GRPC)), LATE);
    let channel = endpoint
        .initial_stream_window_size(16)
        .connect_with_connector(connector)
        .await
        .unwrap();
    let said = tokio_stream::iter([frame(node)]).chain(tokio_stream::pending());
    let mut client = HubClient::new(channel);
    client.session(said).await.unwrap().into_inner()
}

fn frame(node: &str) -> AgentFrame {
    let hello = AgentMessage::Hello(hello(node, "b1"));
    AgentFrame {
        fence: None,
        body: serde_json::to_vec(&hello).unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_read_its_session_is_cut_off() {
    let limits = Limits {
        node: Duration::from_millis(500),
        ..Limits::default()
    };
    let masters = Masters::start(1, limits).await;
    let mut unread = session(&masters, "n1").await;
    wait_for_async("the node", LATE, || async {
        let answer = masters.ask(0, "GET", "/v1/nodes", "").await;
        if answer.2.contains("alive") {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
    // More questions than there is room for on their way to it.
    let begun = Instant::now();
    let asked = (0..30).map(|_| masters.ask(0, "GET", "/v1/nodes/n1/orphans", ""));
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer.0, 409, "{answer:?}");
        assert!(
            answer.2.contains("was lost") || answer.2.contains("not connected"),
            "{answer:?}"
        );
    }
    assert!(begun.elapsed() >= limits.node);
    // Its connection is gone with what waited there; a session that merely ended would say so.
    let ended = async {
        loop {
            match unread.message().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    };
    let ended = tokio::time::timeout(LATE, ended).await.unwrap();
    assert!(ended.is_err(), "{ended:?}");
    masters.stop().await;
}
