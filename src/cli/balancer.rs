//! `hancock balancer`: the data plane by itself. Everything else is told through its management interfaces, in Slardar's words.

pub(super) mod config;

use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use hancock_balancer::handover::{Adopted, Inherited, SocketName};
use hancock_balancer::{AccessOptions, Balancer, Engine, Following, Lines, Options, TcpOptions};
use hancock_proto::ids::NodeId;
use hancock_proto::units::Span;
use hancock_registry::feed::Reader;
use hancock_registry::memory::Memory;
use tokio::task::JoinHandle;

use super::etcd;
use crate::boot::{self, DataDir, Stop};
use crate::handover::{self, Daemon, Deeds, Origin, ask};

const COMMAND: &str = "balancer";
/// Folder of its data, where none is named.
const FOLDER: &str = "standalone";
/// Time open requests have to end after Ctrl-C.
const GRACE: Duration = Duration::from_secs(10);
const HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);
const ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1995);
const STREAM_ADMIN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1895);
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// Options of `hancock balancer`; each is a key of the file given with --config as well.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
pub struct Args {
    /// Where end users' HTTP requests enter [default: 0.0.0.0:8080]
    #[arg(long, value_name = "ADDR", value_parser = super::dev::address)]
    http: Option<SocketAddr>,
    /// The management API [default: 127.0.0.1:1995]
    #[arg(long, value_name = "ADDR", value_parser = super::dev::address)]
    admin: Option<SocketAddr>,
    /// The framed management protocol of the TCP side [default: 127.0.0.1:1895]
    #[arg(long, value_name = "ADDR", value_parser = super::dev::address)]
    stream_admin: Option<SocketAddr>,
    /// Address that TCP ports are opened on [default: 0.0.0.0]
    #[arg(long, value_name = "IP")]
    tcp_bind: Option<IpAddr>,
    /// A TCP port that stays open without a document; may be given again
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    tcp_listen: Vec<u16>,
    /// TCP ports that documents may open [default: 1024-65535]
    #[arg(long, value_name = "RANGE", value_parser = range)]
    tcp_ports: Option<RangeInclusive<u16>>,
    /// Data-plane threads [default: one per core, at least 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// What serves HTTP requests: auto, or general for all the long way [default: auto]
    #[arg(long, value_name = "ENGINE", value_parser = engine)]
    engine: Option<Engine>,
    /// Time between rounds of active checks [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = interval)]
    check_interval: Option<Span>,
    /// Collector that a record of every request is sent to
    #[arg(long, value_name = "HOST:PORT", value_parser = collector)]
    access_log_to: Option<(String, u16)>,
    /// File that a record of every request is written to; - is standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// Where documents are kept [default: in the user's state directory, ~/.local/state/hancock]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// File with the token that writers from other machines must show
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    registry: etcd::Args,
    /// TOML file with these options, like http = "0.0.0.0:80"; the command line goes before it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs until asked to stop.
///
/// # Errors
/// Something it needs is taken, missing or broken.
fn run(args: Args) -> anyhow::Result<ExitCode> {
    let args = match &args.config {
        Some(path) => {
            let file = config::read(path, COMMAND)?;
            args.over(file)
        }
        None => args,
    };
    boot::tracing("info");
    boot::run(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let registry = args.registry.open()?;
    args.check()?;
    let mut origin = Origin::find(COMMAND).await?;
    let sockets = args.bind(&mut origin.sockets)?;
    let (http, admin) = sockets.addresses()?;
    let data = origin.data(&args.data_dir(FOLDER)).await?;
    let node: NodeId = data
        .keep("node", boot::host_name)?
        .parse()
        .context("the name in the data directory's file \"node\" cannot be used")?;
    let inherited = origin.inherited();
    let options = args.options(node.clone(), sockets, data.join("documents"), inherited)?;
    let followed = match registry {
        Some(named) => Some(Followed {
            named,
            reader: reader(&data, node)?,
            folder: data.path().to_owned(),
        }),
        None => None,
    };
    let balancer = match &followed {
        Some(followed) => Balancer::start_following(options, followed.following()?).await,
        None => Balancer::start(options).await,
    };
    let balancer = balancer.context("cannot start the balancer")?;
    let looking = args.looking_up();
    println!(
        "hancock balancer {}\n  proxy http://{http}   management http://{admin}/status",
        env!("CARGO_PKG_VERSION")
    );
    let daemon = Daemon {
        data,
        balancer,
        deeds: Box::new(Follows(followed)),
        command: COMMAND,
    };
    handover::serve(daemon, origin, &mut stop, GRACE).await?;
    looking.abort();
    Ok(ExitCode::SUCCESS)
}

/// A registry that is followed, also after another process did for a while.
struct Followed {
    named: etcd::Named,
    reader: Reader,
    folder: PathBuf,
}

impl Followed {
    /// As another reader to the registry: what the one before confirmed may not be so any more.
    fn following(&self) -> anyhow::Result<Following> {
        Ok(Following {
            memory: Memory::open(&self.folder, &self.named.name),
            registry: self.named.registry.clone(),
            reader: Some(Reader {
                boot: boot::unique()?.parse()?,
                ..self.reader.clone()
            }),
        })
    }
}

/// What a balancer by itself does.
struct Follows(Option<Followed>);

#[async_trait]
impl Deeds for Follows {
    /// The balancer lets go of its registry by itself.
    async fn hold(&mut self) {}

    async fn resume(&mut self, balancer: &mut Balancer) -> anyhow::Result<()> {
        let following = self.0.as_ref().map(Followed::following).transpose()?;
        Ok(balancer.resume(following)?)
    }

    async fn stop(&mut self) {}
}

/// `hancock balancer`.
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
    /// Have another process take over from the running one, without a refused or broken connection
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
                let mut args = Args::default();
                if let Some(path) = &asked.config {
                    args = config::read(path, COMMAND)?;
                }
                let given = asked.data_dir.take();
                let data_dir = given.unwrap_or_else(|| args.data_dir(FOLDER));
                boot::run(ask::run(asked, &data_dir))
            }
        }
    }
}

/// Listeners, bound before anything starts.
pub(super) struct Sockets {
    http: TcpListener,
    admin: TcpListener,
    stream_admin: TcpListener,
}

impl Sockets {
    /// Where requests enter, and where the management API is.
    pub(super) fn addresses(&self) -> anyhow::Result<(SocketAddr, SocketAddr)> {
        Ok((self.http.local_addr()?, self.admin.local_addr()?))
    }
}

/// A name nobody knows is told at once, and is no reason not to serve: it may be known again tomorrow.
async fn look_up(collector: Option<(String, u16)>) {
    let Some((host, port)) = collector else {
        return;
    };
    let found = tokio::net::lookup_host((bare(&host), port)).await;
    if let Err(error) = found {
        tracing::warn!(%error, "cannot find the collector {host}:{port} of --access-log-to, records wait for it");
    }
}

/// An address without the brackets around it.
fn bare(host: &str) -> &str {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inner.unwrap_or(host)
}

impl Args {
    /// The file with more options.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    pub(super) fn registry(&self) -> &etcd::Args {
        &self.registry
    }

    /// What is listened on, by option.
    pub(super) fn listens(&self) -> [(&'static str, SocketAddr); 3] {
        [
            ("http", self.http.unwrap_or(HTTP)),
            ("admin", self.admin.unwrap_or(ADMIN)),
            ("stream-admin", self.stream_admin.unwrap_or(STREAM_ADMIN)),
        ]
    }

    /// What can be known of the options before anything is bound or taken over.
    ///
    /// # Errors
    /// A file that is named cannot be read or written.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.token()?;
        self.access()?;
        Ok(())
    }

    /// Binds every listener that was not taken over, and tries the TCP ports.
    ///
    /// # Errors
    /// One is taken.
    pub(super) fn bind(&self, adopted: &mut Adopted) -> anyhow::Result<Sockets> {
        let mut listener = |name, address, flag| match adopted.take(name, address) {
            Some(listener) => Ok(listener),
            None => boot::bind(address, flag),
        };
        let [(_, http), (_, admin), (_, stream_admin)] = self.listens();
        let sockets = Sockets {
            http: listener(SocketName::Http, http, "--http ADDR")?,
            admin: listener(SocketName::Admin, admin, "--admin ADDR")?,
            stream_admin: listener(SocketName::StreamAdmin, stream_admin, "--stream-admin ADDR")?,
        };
        self.try_tcp(
            [&sockets.http, &sockets.admin, &sockets.stream_admin],
            adopted,
        )?;
        Ok(sockets)
    }

    /// What the balancer needs to start; its documents are kept in `data_dir`.
    ///
    /// # Errors
    /// A file that is named cannot be read or written.
    pub(super) fn options(
        &self,
        node: NodeId,
        sockets: Sockets,
        data_dir: PathBuf,
        inherited: Inherited,
    ) -> anyhow::Result<Options> {
        Ok(Options {
            node,
            http: sockets.http,
            admin: Some(sockets.admin),
            data_dir,
            threads: self.threads.map_or_else(threads, usize::from),
            engine: self.engine.unwrap_or_default(),
            check_interval: self.check_interval.map_or(CHECK_INTERVAL, |s| s.duration()),
            tcp: Some(self.tcp()),
            stream_admin: Some(sockets.stream_admin),
            token: self.token()?,
            access: self.access()?,
            inherited,
        })
    }

    /// Looks for the collector beside everything else.
    pub(super) fn looking_up(&self) -> JoinHandle<()> {
        tokio::spawn(look_up(self.access_log_to.clone()))
    }

    /// These, and what only the file says.
    pub(super) fn over(self, file: Self) -> Self {
        Self {
            http: self.http.or(file.http),
            admin: self.admin.or(file.admin),
            stream_admin: self.stream_admin.or(file.stream_admin),
            tcp_bind: self.tcp_bind.or(file.tcp_bind),
            tcp_listen: match self.tcp_listen.is_empty() {
                true => file.tcp_listen,
                false => self.tcp_listen,
            },
            tcp_ports: self.tcp_ports.or(file.tcp_ports),
            threads: self.threads.or(file.threads),
            engine: self.engine.or(file.engine),
            check_interval: self.check_interval.or(file.check_interval),
            access_log_to: self.access_log_to.or(file.access_log_to),
            access_log: self.access_log.or(file.access_log),
            data_dir: self.data_dir.or(file.data_dir),
            token_file: self.token_file.or(file.token_file),
            registry: self.registry.over(file.registry),
            config: self.config,
        }
    }

    /// What was given, or the folder `usual`: not where `hancock dev` keeps the documents of its own balancer.
    pub(super) fn data_dir(&self, usual: &str) -> PathBuf {
        let given = self.data_dir.clone();
        given.unwrap_or_else(|| boot::default_data_dir().join(usual))
    }

    fn tcp(&self) -> TcpOptions {
        let usual = TcpOptions::default();
        TcpOptions {
            bind: self.tcp_bind.unwrap_or(usual.bind),
            ports: self.tcp_ports.clone().unwrap_or(usual.ports),
            listen: self.tcp_listen.iter().copied().collect(),
            ..TcpOptions::default()
        }
    }

    /// Tries the ports that are to stay open, before anything is started. The balancer opens them itself.
    fn try_tcp(&self, own: [&TcpListener; 3], adopted: &Adopted) -> anyhow::Result<()> {
        let tcp = self.tcp();
        let way_out = "choose another with --tcp-listen PORT";
        for port in tcp.listen {
            if TcpOptions::is_never_opened(port) {
                bail!(
                    "port {port} is never opened, people need it to reach this machine; {way_out}"
                );
            }
            let taken = own.iter().filter_map(|listener| listener.local_addr().ok());
            if let Some(address) = taken.into_iter().find(|a| a.port() == port) {
                bail!("port {port} is this process's own, it listens on {address}; {way_out}");
            }
            if !adopted.has(SocketName::Tcp(port)) {
                let address = SocketAddr::new(tcp.bind, port);
                drop(boot::bind(address, "--tcp-listen PORT")?);
            }
        }
        Ok(())
    }

    fn access(&self) -> anyhow::Result<AccessOptions> {
        let lines = match &self.access_log {
            None => None,
            Some(path) if path == Path::new("-") => Some(Lines::Stdout),
            Some(path) => {
                let opened = OpenOptions::new().append(true).create(true).open(path);
                opened.with_context(|| {
                    let shown = path.display();
                    format!("cannot write {shown}; choose another with --access-log FILE")
                })?;
                Some(Lines::File(path.clone()))
            }
        };
        Ok(AccessOptions {
            collector: self.access_log_to.clone(),
            lines,
        })
    }

    fn token(&self) -> anyhow::Result<Option<String>> {
        match &self.token_file {
            Some(path) => super::token::given(Some(path)),
            None => Ok(None),
        }
    }
}

fn engine(text: &str) -> Result<Engine, String> {
    match text {
        "auto" => Ok(Engine::Auto),
        "general" => Ok(Engine::General),
        _ => Err("there are auto and general".to_owned()),
    }
}

/// Who this balancer is to a registry. More than one may run on a machine.
fn reader(data: &DataDir, node: NodeId) -> anyhow::Result<Reader> {
    let fresh = || {
        boot::unique()
            .map(|unique| format!("{node}-{}", unique.split('-').next().unwrap_or_default()))
    };
    Ok(Reader {
        id: data.keep("reader", fresh)?,
        node: node.clone(),
        boot: boot::unique()?.parse()?,
    })
}

fn threads() -> usize {
    let cores = std::thread::available_parallelism();
    cores.map_or(2, usize::from).max(2)
}

/// Not so short that a node does nothing but check.
fn interval(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|e| format!("{e}"))?;
    match span.duration() < SHORTEST_INTERVAL {
        true => Err(format!("{text} is too short; write 100ms or more")),
        false => Ok(span),
    }
}

/// `1024-65535`.
fn range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text:?} is not a range of ports; write FIRST-LAST, like 1024-65535");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    match (u16::from_str(first), u16::from_str(last)) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(wrong()),
    }
}

/// `logs.example:5140`.
fn collector(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is no collector; write HOST:PORT, like 127.0.0.1:5140");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    match port.parse() {
        Ok(port) if port > 0 && !host.is_empty() => Ok((host.to_owned(), port)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ranges_and_collectors_are_read() {
        assert_eq!(range("1-9").unwrap(), 1..=9);
        for bad in ["", "9", "9-1", "0-9", "1-70000"] {
            assert!(range(bad).unwrap_err().contains("FIRST-LAST"), "{bad}");
        }
        assert_eq!(collector("[::1]:5").unwrap(), ("[::1]".to_owned(), 5));
        for bad in ["", "host", "host:", "host:0", ":5"] {
            assert!(collector(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("balancer.toml");
        let text = "http = \"127.0.0.1:1\"\nadmin = \":2\"\ntcp-listen = [3, 4]\ncheck-interval = \"1s\"\nregistry = \"etcd://a/x\"\n";
        std::fs::write(&path, text).unwrap();
        let given = Args {
            http: Some("127.0.0.1:9".parse().unwrap()),
            ..Args::default()
        };
        let both = given.over(config::read(&path, "balancer").unwrap());
        assert_eq!(both.http, Some("127.0.0.1:9".parse().unwrap()));
        assert_eq!(both.admin, Some("0.0.0.0:2".parse().unwrap()));
        assert_eq!(both.tcp_listen, [3, 4]);
        let registry = both.registry.open().unwrap().unwrap();
        assert_eq!(registry.name, "etcd://a:2379/x");
        std::fs::write(&path, "htpp = \"x\"\n").unwrap();
        let error = config::read::<Args>(&path, "balancer")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("htpp") && error.contains("balancer.toml"),
            "{error}"
        );
    }
}
