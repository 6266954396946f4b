//! Everything `hancock dev` runs, started in the order an edge node needs: sockets, balancer (serves the last known good), master, agent.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hancock_agent::link::grpc::GrpcLink;
use hancock_agent::runtime::ContainerRuntime;
use hancock_agent::runtime::docker::DockerRuntime;
use hancock_agent::{Agent, Hygiene, LIST_INTERVAL, ORPHAN_GRACE, Options as AgentOptions, detect};
use hancock_balancer::{Balancer, Options as BalancerOptions, TcpOptions};
use hancock_master::{Master, Options as MasterOptions};
use hancock_proto::ids::{BootId, NodeId};
use hancock_registry::Opener;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, Rules};
use super::{Runtime, pipe};
use crate::boot::{self, DataDir};

/// Time open requests have to end when everything stops.
const REQUEST_GRACE: Duration = Duration::from_secs(5);

/// Time the master has to write down what the next start would otherwise replay.
const MASTER_DEADLINE: Duration = Duration::from_secs(10);

/// Time between an agent's offers, which renew the node's lease.
const OFFER_INTERVAL: Duration = Duration::from_secs(3);

/// Time between a balancer's probes of documents that do not say.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Time the runtime has to say what runs when everything ends.
const COUNTING: Duration = Duration::from_secs(3);

/// Most data-plane threads of a laptop's balancer.
const MAX_THREADS: usize = 4;

/// Listeners, bound before anything starts.
pub struct Sockets {
    /// End users' requests.
    pub http: TcpListener,
    /// The balancer's status.
    pub admin: TcpListener,
    /// The master's API.
    pub api: TcpListener,
}

/// Addresses the listeners got.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// End users' requests.
    pub http: SocketAddr,
    /// The balancer's status.
    pub admin: SocketAddr,
    /// The master's API.
    pub api: SocketAddr,
}

impl Sockets {
    fn addresses(&self) -> anyhow::Result<Addresses> {
        let of = |listener: &TcpListener| {
            listener
                .local_addr()
                .context("cannot read a socket's address")
        };
        Ok(Addresses {
            http: of(&self.http)?,
            admin: of(&self.admin)?,
            api: of(&self.api)?,
        })
    }
}

/// Running instances before and after everything ended; None: the runtime did not say.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// When the end began.
    pub before: Option<usize>,
    /// When it was over.
    pub after: Option<usize>,
}

/// The running parts.
pub struct System {
    balancer: Balancer,
    master: Master,
    agent: Agent,
    hub: CancellationToken,
    engine: Engine,
    addresses: Addresses,
}

impl System {
    /// Starts every part; returns when all answer.
    ///
    /// # Errors
    /// A part cannot start; the parts already started end with the process.
    pub async fn start(
        data: &DataDir,
        sockets: Sockets,
        wanted: Runtime,
        labels: BTreeMap<String, String>,
        registries: Opener,
    ) -> anyhow::Result<Self> {
        let addresses = sockets.addresses()?;
        let node: NodeId = data
            .keep("node", boot::host_name)?
            .parse()
            .context("the name in the data directory's file \"node\" cannot be used")?;
        let boot: BootId = boot::unique()?.parse()?;
        // A laptop's instances are reached through the balancer: their ports are published on this machine only.
        let rules = Rules {
            publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
            allow_privileged: false,
            registries: Default::default(),
        };
        let engine = Engine::choose(data, wanted, &node, &rules).await?;
        let options = BalancerOptions {
            node: node.clone(),
            http: sockets.http,
            admin: Some(sockets.admin),
            data_dir: data.join("balancer"),
            threads: std::thread::available_parallelism()
                .map_or(1, usize::from)
                .min(MAX_THREADS),
            engine: Default::default(),
            check_interval: CHECK_INTERVAL,
            tcp: Some(tcp(addresses)),
            stream_admin: None,
            token: None,
            access: Default::default(),
            inherited: Default::default(),
        };
        let balancer = Balancer::start(options)
            .await
            .context("cannot start the balancer")?;
        let master = Master::start(MasterOptions {
            name: node.to_string(),
            data_dir: data.join("master"),
            api: sockets.api,
            proxy: Some(addresses.http.to_string()),
            registries: registries.clone(),
        })
        .await
        .context("cannot start the master")?;
        let hub = CancellationToken::new();
        let channel = pipe::serve(master.hub(), hub.clone());
        let overrides = detect::Overrides {
            node: Some(node),
            labels,
            ..detect::Overrides::default()
        };
        let link = GrpcLink::new(channel);
        let agent =
            start_agent(data, overrides, boot, &engine, link, &balancer, registries).await?;
        Ok(Self {
            balancer,
            master,
            agent,
            hub,
            engine,
            addresses,
        })
    }

    /// Ends every part, requests first; instances too when `stop_instances`.
    pub async fn shutdown(self, stop_instances: bool, deadline: Duration) -> Counts {
        let (before, ()) = tokio::join!(
            self.engine.running(COUNTING),
            self.balancer.shutdown(REQUEST_GRACE)
        );
        self.agent.shutdown(stop_instances, deadline).await;
        self.hub.cancel();
        self.master.shutdown(MASTER_DEADLINE).await;
        let after = match stop_instances {
            true => self.engine.running(COUNTING).await,
            false => before,
        };
        Counts { before, after }
    }

    /// Returns when a part can no longer do its work.
    pub async fn failed(&self) -> anyhow::Error {
        self.master.failed().await;
        anyhow::anyhow!(
            "the master cannot write its log any more (the line above says why); make room or mend the disk, then start again: \
             nothing acknowledged is lost, and instances go on running"
        )
    }

    /// What runs where, for a person.
    pub fn banner(&self) -> String {
        let Addresses { http, admin, api } = self.addresses;
        format!(
            "hancock {}, instances run {}\n  proxy http://{}   status http://{}/status   API http://{}\n",
            env!("CARGO_PKG_VERSION"),
            self.engine.phrase(),
            reachable(http),
            reachable(admin),
            reachable(api),
        )
    }

    /// Where the API is.
    pub fn api_url(&self) -> String {
        format!("http://{}", reachable(self.addresses.api))
    }

    /// Where everything listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The Docker engine, when instances run there.
    pub fn docker(&self) -> Option<&DockerRuntime> {
        self.engine.docker()
    }
}

/// TCP services are served where HTTP is.
fn tcp(addresses: Addresses) -> TcpOptions {
    TcpOptions {
        bind: addresses.http.ip(),
        reserved: [addresses.api.port()].into(),
        ..TcpOptions::default()
    }
}

async fn start_agent(
    data: &DataDir,
    overrides: detect::Overrides,
    boot: BootId,
    engine: &Engine,
    link: GrpcLink,
    balancer: &Balancer,
    registries: Opener,
) -> anyhow::Result<Agent> {
    let runtime: Arc<dyn ContainerRuntime> = engine.runtime();
    let dir = data.join("agent");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let info = detect::node_info(overrides, engine.describe(), &dir)?;
    let options = AgentOptions {
        masters: Vec::new(),
        info,
        boot,
        data_dir: dir,
        offer_interval: OFFER_INTERVAL,
        list_interval: LIST_INTERVAL,
        hygiene: Hygiene::default(),
        orphan_grace: ORPHAN_GRACE,
        registries,
    };
    Agent::start(options, runtime, Arc::new(link), balancer.handle())
        .await
        .context("cannot start the agent")
}

/// An address a client on this machine can use: "any address" is no destination.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port()),
        false => address,
    }
}
