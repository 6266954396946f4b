//! The demo app of `hancock dev --demo`: applied like any user's app, through the API.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hancock_proto::api::{AppDetail, AppSummary};
use hancock_proto::app::AppSpec;
use tokio::time::Instant;

use super::image;
use super::system::{System, reachable};
use crate::boot::DataDir;
use crate::cli::client::Client;
use crate::cli::spec_file;

/// Name of the app and the host it is reached by; curl and browsers resolve `*.localhost` by themselves.
const APP: &str = "demo";
const HOST: &str = "demo.localhost";

/// Time the demo has from being applied to serving; a first Docker start on a busy laptop takes seconds.
const SERVING_DEADLINE: Duration = Duration::from_secs(120);

/// Applies the demo, waits until it serves and tells how to use it.
///
/// # Errors
/// The demo cannot be applied or does not serve in time; says what its instances wait for.
pub async fn run(system: &System, data: &DataDir) -> anyhow::Result<()> {
    let program = Program::prepare(system).await?;
    let files = Files::write(data, &program)?;
    let client = Client::new(&system.api_url())?;
    let spec = read(&files.v1)?;
    // A demo that was taken further (to version 2, scaled) in an earlier run is left as it is.
    if client.app(APP).await?.is_none() {
        client.apply(&spec).await.context("cannot apply the demo")?;
    }
    wait_until_serving(&client, system).await?;
    println!("{}", guide(system, &files));
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<AppSpec> {
    spec_file::read(file)
        .with_context(|| format!("the demo's own spec {} is broken", file.display()))
}

/// What an instance of the demo runs.
struct Program {
    image: Option<String>,
    binary: String,
}

impl Program {
    async fn prepare(system: &System) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot find the running program")?;
        let Some(docker) = system.docker() else {
            return Ok(Self {
                image: None,
                binary: binary.display().to_string(),
            });
        };
        let tag = image::tag(&binary)?;
        if !docker.has_image(&tag).await? {
            println!("making the demo's image {tag} from this program");
            docker.import_image(&tag, image::layer(&binary)?).await?;
        }
        Ok(Self {
            image: Some(tag),
            binary: image::BINARY.to_owned(),
        })
    }

    fn spec(&self, version: &str, about: &str) -> String {
        let image = self
            .image
            .as_ref()
            .map(|image| format!("image: {image}\n"))
            .unwrap_or_default();
        format!(
            r#"# {about}
app: {APP}
{image}command: ["{binary}", demo-app]
environment:
  DEMO_VERSION: {version}        # the first word of every answer
replicas: 3
resources: {{cpu: 0.1, memory: 64MiB}}
ports:
  - name: http             # $PORT tells the app which one it got
service:
  - {{port: http, hosts: [{HOST}]}}
healthcheck: {{type: http, port: http, path: /healthz, interval: 1s}}
stop: {{drain_timeout: 10s, grace_period: 5s}}
"#,
            binary = self.binary,
        )
    }
}

/// The specs, kept where a user can change them.
struct Files {
    v1: PathBuf,
    v2: PathBuf,
}

impl Files {
    fn write(data: &DataDir, program: &Program) -> anyhow::Result<Self> {
        let files = Self {
            v1: data.join("demo-v1.yaml"),
            v2: data.join("demo-v2.yaml"),
        };
        let write = |path: &Path, text: String| {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        write(
            &files.v1,
            program.spec("v1", "The demo of `hancock dev --demo`."),
        )?;
        write(
            &files.v2,
            program.spec(
                "v2",
                "The demo's second version: apply it and no request is lost.",
            ),
        )?;
        Ok(files)
    }
}

/// Until every replica serves *and* a request through the proxy is answered: what the printed line will do.
async fn wait_until_serving(client: &Client, system: &System) -> anyhow::Result<()> {
    let proxy = reqwest::Client::builder()
        .timeout(Duration::from_secs(2))
        .build();
    let proxy = proxy.context("cannot make a client")?;
    let url = format!("http://{}/", reachable(system.addresses().http));
    let deadline = Instant::now() + SERVING_DEADLINE;
    loop {
        let detail = client.app(APP).await?;
        let detail = detail.with_context(|| format!("app {APP:?} was deleted meanwhile"))?;
        let AppSummary {
            stopped,
            serving,
            replicas,
            ..
        } = detail.summary;
        if stopped || (serving >= replicas && answers(&proxy, &url).await) {
            return Ok(());
        }
        if let Some(failed) = detail.deployment.as_ref().filter(|d| d.done && !d.ok) {
            bail!("the demo's deployment failed: {}", failed.reason);
        }
        if Instant::now() >= deadline {
            bail!(
                "the demo does not serve after {} s: {}",
                SERVING_DEADLINE.as_secs(),
                waiting_for(&detail)
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn answers(proxy: &reqwest::Client, url: &str) -> bool {
    let answer = proxy.get(url).header("host", HOST).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}

fn waiting_for(detail: &AppDetail) -> String {
    let deployment = detail
        .deployment
        .as_ref()
        .map(|d| d.reason.clone())
        .unwrap_or_default();
    detail
        .instances
        .iter()
        .fold(deployment, |mut text, instance| {
            let reason = instance.reason.as_deref().unwrap_or("no reason given");
            let _ = write!(text, "\n  {} {}: {reason}", instance.id, instance.life);
            text
        })
}

fn guide(system: &System, files: &Files) -> String {
    let curl = curl(system.addresses().http);
    let hancock = std::env::args()
        .next()
        .unwrap_or_else(|| "hancock".to_owned());
    let master = match system.api_url().as_str() {
        "http://127.0.0.1:7400" => String::new(),
        url => format!("  export HANCOCK_MASTER={url}\n"),
    };
    format!(
        "demo is serving

  {curl}

next, in another terminal:
{master}  {hancock} ps                                  its instances
  {hancock} app apply --wait {v2}
                                                  version 2 takes over; no request is lost
  {hancock} app scale {APP} 5 --wait              two more instances
  {hancock} logs -f {APP}                         what they print
  {hancock} events -f                             what happens
  {hancock} --help                                everything else

{admin} shows what the balancer sees. Ctrl-C stops everything; the next start finds the apps again.",
        v2 = files.v2.display(),
        admin = format_args!("http://{}/status", reachable(system.addresses().admin)),
    )
}

/// A line that works as it is: by name where this machine's own resolver leads to the proxy, otherwise by address.
fn curl(http: SocketAddr) -> String {
    let local = http.ip().is_unspecified() || http.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST);
    match local {
        true => format!("curl http://{HOST}:{}/", http.port()),
        false => format!("curl -H 'Host: {HOST}' http://{http}/"),
    }
}
