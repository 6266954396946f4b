//! `hancock agent`: one node. It runs instances and is the load balancer in front of them; masters far away tell it what to run.

mod token;
pub(super) mod values;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use hancock_agent::link::MasterLink;
use hancock_agent::link::dial::Dial;
use hancock_agent::link::grpc::GrpcLink;
use hancock_agent::runtime::ContainerRuntime;
use hancock_agent::runtime::docker::Registries;
use hancock_agent::{Agent, Hygiene, LIST_INTERVAL, ORPHAN_GRACE, Options, Retention, detect};
use hancock_balancer::{Balancer, Handle};
use hancock_proto::ids::NodeId;
use hancock_proto::ports::{PortRange, PortSet};
use hancock_proto::resources::{NodeInfo, Uplink};
use hancock_proto::units::{Cpu, Size, Span};
use hancock_tls::Pin;

use super::balancer::{self, config};
use super::dev::Runtime;
use super::dev::engine::{Engine, Rules};
use crate::boot::{self, DataDir, Stop};
use crate::handover::{self, Daemon, Deeds, Origin, ask};

const COMMAND: &str = "agent";
/// Folder of its data, where none is named.
const FOLDER: &str = "node";
/// Time open requests have to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);
/// Time the agent has to end; instances stay.
const AGENT_DEADLINE: Duration = Duration::from_secs(5);
/// Time between offers, which renew the node's lease.
const OFFER_INTERVAL: Duration = Duration::from_secs(3);

/// Options of `hancock agent`; each is a key of the file given with --config as well.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// A master's address for agents, like 10.0.0.1:7401; may be given again, and one that answers is enough
    #[arg(long, value_name = "HOST:PORT", value_parser = values::contact)]
    masters: Vec<String>,
    /// The cluster's join token; better in a file, or in HANCOCK_JOIN_TOKEN
    #[arg(long, value_name = "TOKEN")]
    join_token: Option<String>,
    /// File with the cluster's join token
    #[arg(long, value_name = "FILE")]
    join_token_file: Option<PathBuf>,
    /// Speak to masters on other machines although their cluster was begun without certificates: who can read the network can read the
    /// token
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    insecure: Option<bool>,
    /// The node's name, for good [default: the host name]
    #[arg(long, value_name = "NAME")]
    node: Option<NodeId>,
    /// A label of this node, for the selectors of zones; may be given again
    #[arg(long, value_name = "LABEL=VALUE", value_parser = super::zone::label)]
    label: Vec<(String, String)>,
    /// An address of this node: `IP[,operator=NAME][,bandwidth=1gbps]`; may be given again. Other nodes reach instances at the first one
    /// [default: the address masters see]
    #[arg(long, value_name = "ADDRESS", value_parser = values::uplink)]
    advertise: Vec<Uplink>,
    /// Host ports that instances get: ranges and single ports, like 20000-24999,8080; may be given again [default: 20000-29999]
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    instance_ports: Vec<PortRange>,
    /// Cores there are [default: those of the machine]
    #[arg(long, value_name = "CORES", value_parser = values::cpu)]
    cpu: Option<Cpu>,
    /// Memory there is [default: that of the machine]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Size>,
    /// Disk there is [default: what is free in the data directory]
    #[arg(long, value_name = "SIZE")]
    disk: Option<Size>,
    /// Cores that instances do not get
    #[arg(long, value_name = "CORES", value_parser = values::cpu)]
    reserve_cpu: Option<Cpu>,
    /// Memory that instances do not get
    #[arg(long, value_name = "SIZE")]
    reserve_memory: Option<Size>,
    /// Disk that instances do not get
    #[arg(long, value_name = "SIZE")]
    reserve_disk: Option<Size>,
    /// How many times instances may reserve the cores there are; memory and disk are never promised twice [default: 1]
    #[arg(long, value_name = "RATIO", value_parser = values::ratio)]
    overcommit: Option<f64>,
    /// What runs the instances: docker, or process (plain ones) [default: docker]
    #[arg(long, value_name = "RUNTIME", value_parser = values::runtime)]
    runtime: Option<Runtime>,
    /// Time a container of this node that no master knows is left alone [default: 1m]
    #[arg(long, value_name = "TIME")]
    orphan_grace: Option<Span>,
    /// Versions of an app whose images stay on the node [default: 2]
    #[arg(long, value_name = "COUNT")]
    keep_images: Option<usize>,
    /// Percent of the disk that may be used before unused images go, and before nothing new is started [default: 95]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    disk_watermark: Option<u8>,
    /// Ended containers of an app that stay on the node with their logs [default: 2]
    #[arg(long, value_name = "COUNT")]
    keep_dead: Option<usize>,
    /// Time they stay, below the disk's watermark [default: 24h]
    #[arg(long, value_name = "TIME")]
    keep_dead_for: Option<Span>,
    /// Run containers that ask for every privilege over this node
    #[arg(long, value_name = "YES", num_args = 0..=1, default_missing_value = "true")]
    allow_privileged: Option<bool>,
    /// File with the passwords of image registries, as `docker login` writes ~/.docker/config.json; helpers it names are not called
    #[arg(long, value_name = "FILE")]
    docker_config: Option<PathBuf>,
    #[command(flatten)]
    balancer: balancer::Args,
}

/// What an agent takes of its machine.
pub(super) struct Needs {
    /// Whether instances run in Docker.
    pub(super) docker: bool,
    /// Host ports of instances.
    pub(super) ports: PortSet,
    /// What it listens on, by option.
    pub(super) listens: [(&'static str, SocketAddr); 3],
    /// Its data directory, which may not be there yet.
    pub(super) data_dir: PathBuf,
}

/// Runs until asked to stop; instances go on running.
///
/// # Errors
/// Something it needs is taken, missing or broken.
fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = match args.balancer.config() {
        Some(path) => {
            let file = config::read(path, COMMAND)?;
            args.over(file)
        }
        None => args,
    };
    args.check()?;
    boot::tracing("info");
    boot::run(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let token = args.token()?;
    args.must_be_encrypted(&token)?;
    let registries = args.balancer.registry().opener()?;
    args.balancer.check()?;
    let mut origin = Origin::find(COMMAND).await?;
    let sockets = args.balancer.bind(&mut origin.sockets)?;
    let (http, admin) = sockets.addresses()?;
    let data = origin.data(&args.balancer.data_dir(FOLDER)).await?;
    let node = args.name(&data)?;
    let folder = data.join("agent");
    let link = GrpcLink::to_masters(Dial::new(&token, node.clone(), &folder));
    let address = args.address()?;
    let runtime = args.runtime.unwrap_or(Runtime::Docker);
    let engine = Engine::choose(&data, runtime, &node, &args.rules(address)).await?;
    let (documents, inherited) = (data.join("balancer"), origin.inherited());
    let options = args
        .balancer
        .options(node.clone(), sockets, documents, inherited)?;
    let balancer = Balancer::start(options).await;
    let balancer = balancer.context("cannot start the balancer")?;
    let looking = args.balancer.looking_up();
    let info = args.info(&data, node.clone(), address, engine.describe())?;
    let options = Options {
        info,
        boot: boot::unique()?.parse()?,
        masters: args.masters.clone(),
        data_dir: folder,
        offer_interval: OFFER_INTERVAL,
        list_interval: LIST_INTERVAL,
        hygiene: args.hygiene(),
        registries,
        orphan_grace: args.orphan_grace.map_or(ORPHAN_GRACE, Span::duration),
    };
    let runtime = engine.runtime();
    let agent = LooksAfter::start(options, runtime, Arc::new(link), balancer.handle()).await?;
    println!(
        "hancock agent {}, node {node}, instances run {}\n  proxy http://{http}   management http://{admin}/status   masters {}",
        env!("CARGO_PKG_VERSION"),
        engine.phrase(),
        args.masters.join(" "),
    );
    let daemon = Daemon {
        data,
        balancer,
        deeds: Box::new(agent),
        command: COMMAND,
    };
    handover::serve(daemon, origin, &mut stop, GRACE).await?;
    looking.abort();
    Ok(ExitCode::SUCCESS)
}

/// An agent, and what it takes to start it again.
struct LooksAfter {
    /// None: another process may be looking after the instances.
    agent: Option<Agent>,
    options: Options,
    runtime: Arc<dyn ContainerRuntime>,
    link: Arc<dyn MasterLink>,
}

impl LooksAfter {
    async fn start(
        options: Options,
        runtime: Arc<dyn ContainerRuntime>,
        link: Arc<dyn MasterLink>,
        balancer: Handle,
    ) -> anyhow::Result<Self> {
        let mut looks_after = Self {
            agent: None,
            options,
            runtime,
            link,
        };
        looks_after.begin(balancer).await?;
        Ok(looks_after)
    }

    async fn begin(&mut self, balancer: Handle) -> anyhow::Result<()> {
        let (runtime, link) = (self.runtime.clone(), self.link.clone());
        let agent = Agent::start(self.options.clone(), runtime, link, balancer).await;
        self.agent = Some(agent.context("cannot start the agent")?);
        Ok(())
    }
}

#[async_trait]
impl Deeds for LooksAfter {
    async fn hold(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.shutdown(false, AGENT_DEADLINE).await;
        }
    }

    /// As another boot: reports are numbered from the start, and what was confirmed may not be so any more.
    async fn resume(&mut self, balancer: &mut Balancer) -> anyhow::Result<()> {
        balancer.resume(None)?;
        self.options.boot = boot::unique()?.parse()?;
        self.begin(balancer.handle()).await
    }

    async fn stop(&mut self) {
        self.hold().await;
    }
}

/// `hancock agent`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Command {
    #[command(subcommand)]
    deed: Option<Deed>,
    #[command(flatten)]
    args: Args,
}

/// What is done with one that runs.
#[derive(Debug, clap::Subcommand)]
enum Deed {
    /// Have another process take over from the running one, without a refused or broken connection; instances run on
    Upgrade(ask::Args),
}

impl Command {
    /// Runs until asked to stop, or asks a daemon that runs.
    ///
    /// # Errors
    /// Something it needs is taken, missing or broken.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.deed {
            None => run(self.args),
            Some(Deed::Upgrade(mut asked)) => {
                let data_dir = data_dir(asked.data_dir.take(), asked.config.as_deref())?;
                boot::run(ask::run(asked, &data_dir))
            }
        }
    }
}

/// Where an agent keeps its data: as given, as its configuration says, or as usual.
///
/// # Errors
/// The configuration cannot be read.
pub(super) fn data_dir(given: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    let args: Args = match config {
        Some(path) => config::read(path, COMMAND)?,
        None => Args::default(),
    };
    Ok(given.unwrap_or_else(|| args.balancer.data_dir(FOLDER)))
}

impl Args {
    /// These, and what only the file says.
    fn over(self, file: Self) -> Self {
        let or = |given: Vec<_>, file| if given.is_empty() { file } else { given };
        Self {
            masters: or(self.masters, file.masters),
            join_token: self.join_token.or(file.join_token),
            join_token_file: self.join_token_file.or(file.join_token_file),
            insecure: self.insecure.or(file.insecure),
            node: self.node.or(file.node),
            label: match self.label.is_empty() {
                true => file.label,
                false => self.label,
            },
            advertise: match self.advertise.is_empty() {
                true => file.advertise,
                false => self.advertise,
            },
            instance_ports: match self.instance_ports.is_empty() {
                true => file.instance_ports,
                false => self.instance_ports,
            },
            cpu: self.cpu.or(file.cpu),
            memory: self.memory.or(file.memory),
            disk: self.disk.or(file.disk),
            reserve_cpu: self.reserve_cpu.or(file.reserve_cpu),
            reserve_memory: self.reserve_memory.or(file.reserve_memory),
            reserve_disk: self.reserve_disk.or(file.reserve_disk),
            overcommit: self.overcommit.or(file.overcommit),
            runtime: self.runtime.or(file.runtime),
            orphan_grace: self.orphan_grace.or(file.orphan_grace),
            keep_images: self.keep_images.or(file.keep_images),
            disk_watermark: self.disk_watermark.or(file.disk_watermark),
            keep_dead: self.keep_dead.or(file.keep_dead),
            keep_dead_for: self.keep_dead_for.or(file.keep_dead_for),
            allow_privileged: self.allow_privileged.or(file.allow_privileged),
            docker_config: self.docker_config.or(file.docker_config),
            balancer: self.balancer.over(file.balancer),
        }
    }

    /// What a configuration file says, as it would be used.
    ///
    /// # Errors
    /// It cannot be read, says something that is no option, or leaves out what is needed.
    pub(super) fn of_file(path: &Path) -> anyhow::Result<Self> {
        let args: Self = config::read(path, "agent")?;
        args.check()?;
        Ok(args)
    }

    /// What it takes of the machine.
    pub(super) fn needs(&self) -> Needs {
        Needs {
            docker: self.runtime.unwrap_or(Runtime::Docker) == Runtime::Docker,
            ports: self.ports().unwrap_or_else(|| detect::DEFAULT_PORTS.into()),
            listens: self.balancer.listens(),
            data_dir: self.balancer.data_dir("node"),
        }
    }

    /// Host ports of instances. None: nothing is said of them.
    fn ports(&self) -> Option<PortSet> {
        let given = &self.instance_ports;
        (!given.is_empty()).then(|| given.iter().copied().collect())
    }

    fn hygiene(&self) -> Hygiene {
        let usual = Hygiene::default();
        Hygiene {
            keep_images: self.keep_images.unwrap_or(usual.keep_images),
            disk_watermark: self.disk_watermark.unwrap_or(usual.disk_watermark),
            retention: Retention {
                most: self.keep_dead.unwrap_or(usual.retention.most),
                time: self
                    .keep_dead_for
                    .map_or(usual.retention.time, Span::duration),
            },
        }
    }

    fn rules(&self, address: IpAddr) -> Rules {
        Rules {
            publish: values::publish(address),
            allow_privileged: self.allow_privileged.unwrap_or(false),
            registries: Registries {
                config: self.docker_config.clone(),
            },
        }
    }

    /// What no single value says.
    fn check(&self) -> anyhow::Result<()> {
        if self.masters.is_empty() {
            bail!(
                "no master is named; give one with --masters HOST:PORT, or as masters = [\"HOST:PORT\"] in the file of --config"
            );
        }
        if let Some(piece) = self.instance_ports.get(PortSet::MOST) {
            bail!(
                "instance-ports: {piece} is one too many, as {} ports and ranges may be named; write ports in a row as FIRST-LAST",
                PortSet::MOST
            );
        }
        Ok(())
    }

    /// Refuses to show a token in plain text beyond this machine, when nobody has said that this is wanted.
    fn must_be_encrypted(&self, token: &str) -> anyhow::Result<()> {
        if Pin::of_token(token).is_some() {
            return Ok(());
        }
        let away = |at: &&String| at.parse().is_ok_and(|a: SocketAddr| a.ip().is_loopback());
        let away = self.masters.iter().find(|at| !away(at));
        if let (Some(at), false) = (away, self.insecure.unwrap_or(false)) {
            bail!(
                "masters = {at}: the join token carries no fingerprint, so its cluster has no certificates, and the way there is not \
                 encrypted; accept with --insecure that who can read the network can read the token"
            );
        }
        Ok(())
    }

    fn token(&self) -> anyhow::Result<String> {
        token::given(self.join_token.as_deref(), self.join_token_file.as_deref())
    }

    /// The node's name, kept with its data: under another one it would be another node, whose instances are not these.
    fn name(&self, data: &DataDir) -> anyhow::Result<NodeId> {
        let fresh = || match &self.node {
            Some(node) => Ok(node.to_string()),
            None => boot::host_name(),
        };
        let kept = data.keep("node", fresh)?;
        match &self.node {
            Some(node) if node.as_str() != kept => bail!(
                "node = {node}: the data directory {} is that of node {kept}; start {node} with another --data-dir",
                data.path().display()
            ),
            _ => kept.parse().with_context(|| {
                format!("{kept:?} cannot be a node's name; give one with --node NAME")
            }),
        }
    }

    /// Where other nodes reach instances.
    fn address(&self) -> anyhow::Result<IpAddr> {
        if let Some(first) = self.advertise.first() {
            return Ok(first.ip);
        }
        let way = self.masters.iter().find_map(|at| towards(at));
        way.context(
            "no way to any of the masters shows which address this node has; give it with --advertise IP",
        )
    }

    fn info(
        &self,
        data: &DataDir,
        node: NodeId,
        address: IpAddr,
        runtime: &str,
    ) -> anyhow::Result<NodeInfo> {
        let dir = data.join("agent");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let overrides = detect::Overrides {
            node: Some(node),
            address: Some(address.to_string()),
            addresses: self.advertise.clone(),
            labels: self.label.iter().cloned().collect(),
            cpu: self.cpu,
            memory: self.memory,
            disk: self.disk,
            overcommit: self.overcommit,
            reserved: detect::Reserved {
                cpu: self.reserve_cpu.unwrap_or_default(),
                memory: self.reserve_memory.unwrap_or_default(),
                disk: self.reserve_disk.unwrap_or_default(),
            },
            ports: self.ports(),
        };
        Ok(detect::node_info(overrides, runtime, &dir)?)
    }
}

/// The address this machine would speak to `at` from; nothing is sent.
fn towards(at: &str) -> Option<IpAddr> {
    let any = if at.starts_with('[') {
        "[::]:0"
    } else {
        "0.0.0.0:0"
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(at).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests;
