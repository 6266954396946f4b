//! Many nodes in one process that run nothing: each with a session, a search and a heartbeat of its own, over the real link. Run by
//! `tests/bench/agents`.
//!
//! `nodes PREFIX COUNT JOIN-TOKEN MASTER...` prints how many have a session whenever that changes, until it is ended.

use std::collections::BTreeMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hancock_agent::link::dial::Dial;
use hancock_agent::link::grpc::GrpcLink;
use hancock_agent::link::{MasterLink, Session};
use hancock_agent_core::search::{Outcome, Search};
use hancock_proto::app::Resources;
use hancock_proto::hub::{AgentMessage, Hello, HubMessage};
use hancock_proto::ids::Generation;
use hancock_proto::ports::PortRange;
use hancock_proto::report::Report;
use hancock_proto::resources::{NodeInfo, Offer};
use hancock_proto::units::{Cpu, Size};

/// Time between heartbeats, as real agents have it.
const BEAT: Duration = Duration::from_secs(3);
/// Time between two looks at how many have a session.
const LOOK: Duration = Duration::from_millis(50);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [prefix, count, token, masters @ ..] = words.as_slice() else {
        return Err("nodes PREFIX COUNT JOIN-TOKEN MASTER...".into());
    };
    let connected = Arc::new(AtomicUsize::new(0));
    for number in 0..count.parse::<usize>()? {
        let name = format!("{prefix}{number}");
        // A folder that is not made: a certificate lives as long as this process.
        let folder = std::env::temp_dir().join("hancock-nodes").join(&name);
        let dial = Dial::new(token, name.parse()?, &folder);
        let node = Node {
            hello: hello(&name)?,
            link: GrpcLink::to_masters(dial),
            search: Search::new(masters.to_vec(), Vec::new()),
            connected: connected.clone(),
            sequence: 0,
        };
        tokio::spawn(node.run());
    }
    tell(&connected).await
}

async fn tell(connected: &AtomicUsize) -> ! {
    let (begun, mut told) = (Instant::now(), 0);
    loop {
        let now = connected.load(Ordering::Relaxed);
        if now != told {
            println!("{:.2} {now}", begun.elapsed().as_secs_f64());
            told = now;
        }
        tokio::time::sleep(LOOK).await;
    }
}

struct Node {
    hello: Hello,
    link: GrpcLink,
    search: Search,
    connected: Arc<AtomicUsize>,
    sequence: u64,
}

impl Node {
    async fn run(mut self) {
        loop {
            let next = self.search.next(random());
            tokio::time::sleep(next.wait).await;
            let outcome = match self.link.open(&next.at, self.hello.clone()).await {
                Ok(session) => self.serve(session).await,
                Err(error) => Outcome::from(&error),
            };
            self.search.ended(outcome);
        }
    }

    /// A session to its end.
    async fn serve(&mut self, mut session: Session) -> Outcome {
        // Not all at the same moment.
        let first = BEAT * u32::try_from(random() % 1000).unwrap_or(0) / 1000;
        let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + first, BEAT);
        let mut led = false;
        let outcome = loop {
            tokio::select! {
                item = session.inbox.recv() => match item {
                    Some(Ok((_, message))) => {
                        self.search.ended(Outcome::Led);
                        if !std::mem::replace(&mut led, true) {
                            self.connected.fetch_add(1, Ordering::Relaxed);
                        }
                        if !self.hear(message, &session).await {
                            break Outcome::Lost;
                        }
                    }
                    Some(Err(error)) => break Outcome::from(&error),
                    None => break Outcome::Lost,
                },
                _ = beat.tick() => {
                    if session.out.send(AgentMessage::Offer(offer())).await.is_err() {
                        break Outcome::Lost;
                    }
                }
            }
        };
        if led {
            self.connected.fetch_sub(1, Ordering::Relaxed);
        }
        outcome
    }

    /// False: the session is over.
    async fn hear(&mut self, message: HubMessage, session: &Session) -> bool {
        match message {
            HubMessage::Masters { agents } => {
                self.search.learn(agents);
                return true;
            }
            HubMessage::Assignment(assignment) => self.hello.generation = assignment.generation,
            HubMessage::RegistryList(listing) => self.hello.registry = Some(listing.revision),
            HubMessage::RegistryChanges { revision, .. } => self.hello.registry = Some(revision),
            HubMessage::Registry { .. }
            | HubMessage::Logs(_)
            | HubMessage::LogsEnd { .. }
            | HubMessage::Ask { .. }
            | HubMessage::Exec { .. } => return true,
        }
        self.sequence += 1;
        let report = Report {
            node: self.hello.info.node.clone(),
            boot: self.hello.boot.clone(),
            sequence: self.sequence,
            generation: self.hello.generation,
            instances: BTreeMap::new(),
            services: BTreeMap::new(),
            registry: self.hello.registry,
            follows: None,
        };
        session.out.send(AgentMessage::Report(report)).await.is_ok()
    }
}

fn offer() -> Offer {
    Offer {
        load: 0.5,
        memory_free: Size::mib(4096),
        disk_free: Size::mib(8192),
        ..Offer::default()
    }
}

fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

fn hello(name: &str) -> Result<Hello, Box<dyn Error>> {
    let info = NodeInfo {
        node: name.parse()?,
        hostname: name.to_owned(),
        address: "127.0.0.1".to_owned(),
        addresses: Vec::new(),
        labels: BTreeMap::from([("city".to_owned(), format!("city-{}", random() % 50))]),
        capacity: Resources {
            cpu: Cpu::millicores(8000),
            memory: Size::mib(8192),
            disk: Size::mib(8192),
        },
        ports: PortRange {
            first: 20_000,
            last: 29_999,
        }
        .into(),
        runtime: "process".to_owned(),
        arch: "x86_64".to_owned(),
        kernel: String::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Ok(Hello {
        boot: format!("boot-{:x}", random()).parse()?,
        info,
        generation: Generation(0),
        registry: None,
        surroundings: true,
    })
}
