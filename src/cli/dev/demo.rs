//! The demo app of `hancock dev --demo`: applied like any user's app, through the API.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use hancock_proto::api::AppDetail;
use hancock_proto::app::AppSpec;
use tokio::time::Instant;

use super::guide::{Guide, curl};
use super::image;
use super::system::{System, reachable};
use super::voice::Voice;
use crate::boot::DataDir;
use crate::cli::client::Client;
use crate::cli::spec_file;

/// Name of the app and the host it is reached by; curl and browsers resolve `*.localhost` by themselves.
const APP: &str = "demo";
const HOST: &str = "demo.localhost";

/// Variable whose value is the first word of every answer.
const WORD: &str = "DEMO_VERSION";

/// Time the demo has from being applied to serving; a first Docker start on a busy laptop takes seconds.
const SERVING_DEADLINE: Duration = Duration::from_secs(120);

/// Time a demo of an earlier run has before it is told that it does not serve.
const RETURNING_DEADLINE: Duration = Duration::from_secs(30);

/// Applies the demo, waits until it serves and tells how to use it. A demo of an earlier run is left as its user left it.
///
/// # Errors
/// The demo cannot be applied or does not serve in time; says what its instances wait for.
pub async fn run(
    system: &System,
    data: &DataDir,
    client: &Client,
    voice: &Voice,
) -> anyhow::Result<()> {
    let program = Program::prepare(system, voice).await?;
    let files = Files::write(data, &program)?;
    let spec = read(&files.v1)?;
    let known = client.app(APP).await?;
    let new = known.is_none();
    if new {
        voice.say("starting the demo …");
        client.apply(&spec).await.context("cannot apply the demo")?;
    }
    let mut proxy = Proxy::of(system)?;
    let patience = if new {
        SERVING_DEADLINE
    } else {
        RETURNING_DEADLINE
    };
    let (detail, standing) = settle(client, &mut proxy, patience, new).await?;
    if let (true, Standing::Broken(why)) = (new, &standing) {
        bail!("the demo does not serve: {why}");
    }
    voice.say(told(system, &files, &detail, &standing, new));
    Ok(())
}

/// How the demo is.
#[derive(Debug, PartialEq)]
enum Standing {
    /// A request is answered, and every replica serves unless time was up.
    Serving,
    /// Its user stopped it.
    Stopped,
    /// Its user scaled it to nothing.
    Empty,
    /// It should serve and does not; what it waits for.
    Broken(String),
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
    async fn prepare(system: &System, voice: &Voice) -> anyhow::Result<Self> {
        let binary = std::env::current_exe().context("cannot find the running program")?;
        let Some(docker) = system.docker() else {
            return Ok(Self {
                image: None,
                binary: binary.display().to_string(),
            });
        };
        let tag = image::tag(&binary)?;
        if !docker.has_image(&tag).await? {
            voice.say(format!("making the demo's image {tag} from this program"));
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
  {WORD}: {version}        # the first word of every answer
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
async fn settle(
    client: &Client,
    proxy: &mut Proxy,
    patience: Duration,
    new: bool,
) -> anyhow::Result<(AppDetail, Standing)> {
    let deadline = Instant::now() + patience;
    loop {
        let detail = client.app(APP).await?;
        let detail = detail.with_context(|| format!("app {APP:?} was deleted meanwhile"))?;
        let late = Instant::now() >= deadline;
        if let Some(standing) = judge(&detail, proxy.answers().await, new, late) {
            return Ok((detail, standing));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// None: wait on.
fn judge(detail: &AppDetail, answers: bool, new: bool, late: bool) -> Option<Standing> {
    let summary = &detail.summary;
    // An older failure says nothing of what serves; the failure of a first deployment says that nothing will.
    let failed = detail
        .deployment
        .as_ref()
        .filter(|d| new && d.done && !d.ok);
    match failed {
        _ if summary.stopped => Some(Standing::Stopped),
        _ if summary.replicas == 0 => Some(Standing::Empty),
        Some(failed) => Some(Standing::Broken(failed.reason.clone())),
        None if answers && (late || summary.serving >= summary.replicas) => Some(Standing::Serving),
        None if late => Some(Standing::Broken(waiting_for(detail))),
        None => None,
    }
}

/// The demo as its users reach it.
struct Proxy {
    client: reqwest::Client,
    url: String,
}

impl Proxy {
    fn of(system: &System) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(2));
        Ok(Self {
            client: client.no_proxy().build().context("cannot make a client")?,
            url: format!("http://{}/", reachable(system.addresses().http)),
        })
    }

    async fn answers(&mut self) -> bool {
        let request = self.client.get(&self.url).header("host", HOST);
        let answer = request.send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
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

fn told(
    system: &System,
    files: &Files,
    detail: &AppDetail,
    standing: &Standing,
    new: bool,
) -> String {
    let api = system.api_url();
    let summary = &detail.summary;
    let (version, v1) = (summary.version, files.v1.display());
    match standing {
        Standing::Serving => {
            let left = match new {
                true => String::new(),
                false => format!(
                    " as it was left: version {version}, {} of {} instances",
                    summary.serving, summary.replicas
                ),
            };
            let curl = curl(HOST, system.addresses().http);
            let guide = guide(files, detail).text(&api);
            let admin = reachable(system.addresses().admin);
            format!(
                "demo is serving{left}\n\n  {curl}\n\nnext, in another terminal:\n{guide}\nhttp://{admin}/status shows what the balancer sees."
            )
        }
        Standing::Stopped => {
            let guide = Guide::new()
                .row(format!("app start {APP} --wait"), "it serves again")
                .row(format!("app delete {APP}"), "the next start has a new one");
            format!(
                "the demo is stopped, as it was left; in another terminal:\n{}",
                guide.text(&api)
            )
        }
        Standing::Empty => {
            let guide = Guide::new().row(format!("app scale {APP} 3 --wait"), "it serves again");
            format!(
                "the demo has no instances, as it was left; in another terminal:\n{}",
                guide.text(&api)
            )
        }
        Standing::Broken(why) => {
            let guide = Guide::new()
                .row(format!("ps {APP}"), "how its instances are")
                .row(format!("logs {APP}"), "what they printed")
                .row(format!("app apply --wait {v1}"), "the demo as it began");
            format!(
                "the demo of an earlier run does not serve: {why}\n\nin another terminal:\n{}",
                guide.text(&api)
            )
        }
    }
}

fn guide(files: &Files, detail: &AppDetail) -> Guide {
    let second = detail.spec.environment.get(WORD).is_some_and(|w| w == "v2");
    let (other, file) = match second {
        true => ("version 1 takes over again", files.v1.display()),
        false => ("version 2 takes over", files.v2.display()),
    };
    let (scale, words) = match detail.summary.replicas {
        3 => (5, "two more instances"),
        _ => (3, "three instances"),
    };
    Guide::new()
        .row("ps", "its instances")
        .row(
            format!("app apply --wait {file}"),
            format!("{other}; no request is lost"),
        )
        .row(format!("app scale {APP} {scale} --wait"), words)
        .row(format!("logs -f {APP}"), "what they print")
        .row("events", "what happened")
        .row("--help", "everything else")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::cli::testing::view;

    fn detail(serving: u32, replicas: u32, stopped: bool) -> AppDetail {
        let value = json!({
            "summary": {
                "app": APP, "version": 4, "stopped": stopped, "replicas": replicas, "serving": serving, "deployment": null, "hosts": [],
            },
            "spec": spec_of(), "instances": [], "deployment": null, "published": 1,
        });
        serde_json::from_value(value).unwrap()
    }

    fn spec_of() -> serde_json::Value {
        let value = json!({"app": APP, "command": ["x"]});
        json!(AppSpec::decode(&value).unwrap())
    }

    #[test]
    fn a_demo_is_taken_as_it_was_left() {
        let told = |detail: &AppDetail, answers, late| judge(detail, answers, false, late);
        assert_eq!(
            told(&detail(0, 3, true), false, false),
            Some(Standing::Stopped)
        );
        assert_eq!(
            told(&detail(0, 0, false), false, false),
            Some(Standing::Empty)
        );
        assert_eq!(
            told(&detail(3, 3, false), true, false),
            Some(Standing::Serving)
        );
        assert_eq!(told(&detail(2, 3, false), true, false), None);
        assert_eq!(
            told(&detail(2, 3, false), true, true),
            Some(Standing::Serving)
        );
        assert_eq!(told(&detail(3, 3, false), false, false), None);
        let late = told(&detail(0, 3, false), false, true);
        assert!(matches!(late, Some(Standing::Broken(_))));
    }

    #[test]
    fn only_a_first_deployment_that_failed_is_the_end() {
        let mut failed = detail(0, 3, false);
        failed.deployment = Some(view("failed", Vec::new()));
        if let Some(deployment) = &mut failed.deployment {
            deployment.done = true;
            deployment.reason = "no".to_owned();
        }
        assert_eq!(judge(&failed, false, false, false), None);
        let first = judge(&failed, false, true, false);
        assert_eq!(first, Some(Standing::Broken("no".to_owned())));
    }
}
