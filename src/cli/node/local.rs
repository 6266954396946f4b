//! `--local`: this very machine, without a master. For one that has left its cluster, or whose cluster is gone.

mod held;
mod purge;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hancock_agent::Observed;
use hancock_agent::runtime::ContainerRuntime;
use hancock_proto::ids::{AppName, ClusterId, InstanceId, NodeId, Version};
use serde::Serialize;

use crate::cli::agent::{self, values};
use crate::cli::dev::Runtime;
use crate::cli::dev::engine;
use crate::cli::out::Out;
use crate::cli::table::{Cell, Table};
use held::Holder;

pub(super) use purge::purge;

/// Time a runtime has to list what there is.
const LIST: Duration = Duration::from_secs(30);

/// Which machine, and where on it.
#[derive(Debug, clap::Args)]
pub struct Here {
    /// This very machine, whatever its cluster and without a master: its Docker engine ($DOCKER_HOST), and the plain processes of an
    /// agent's data directory
    #[arg(long)]
    local: bool,
    /// The agent's configuration, which names its data directory
    #[arg(long, value_name = "FILE", requires = "local", conflicts_with = "node")]
    config: Option<PathBuf>,
    /// The agent's data directory [default: as of `hancock agent`]
    #[arg(long, value_name = "DIR", requires = "local", conflicts_with = "node")]
    data_dir: Option<PathBuf>,
    /// Only what runs so: docker, or process [default: both]
    #[arg(long, value_name = "RUNTIME", requires = "local", conflicts_with = "node", value_parser = values::runtime)]
    runtime: Option<Runtime>,
}

impl Here {
    /// Whether it is this machine.
    pub(super) fn is_local(&self) -> bool {
        self.local
    }

    fn machine(&self) -> anyhow::Result<Machine> {
        let data = agent::data_dir(self.data_dir.clone(), self.config.as_deref())?;
        let engines = engine::all(&data, self.runtime)?;
        Ok(Machine { data, engines })
    }

    /// The words that say the same on a command line.
    fn words(&self) -> String {
        let named = [("config", &self.config), ("data-dir", &self.data_dir)];
        let given = named.iter().filter_map(|(name, path)| {
            let path = path.as_ref()?.display();
            Some(format!(" --{name} {path}"))
        });
        given.fold("--local".to_owned(), |words, word| words + &word)
    }
}

/// This machine.
struct Machine {
    data: PathBuf,
    engines: Vec<Arc<dyn ContainerRuntime>>,
}

/// One of Hancock's, and what it runs in.
struct Found {
    engine: Arc<dyn ContainerRuntime>,
    seen: Observed,
}

/// The same for people and programs.
#[derive(Debug, Clone, Serialize)]
struct Left {
    runtime: &'static str,
    node: NodeId,
    cluster: ClusterId,
    instance: InstanceId,
    app: AppName,
    version: Version,
    running: bool,
    /// The process of its cluster's agent, where one runs on this machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<u32>,
}

impl Machine {
    /// Everything that carries Hancock's labels, or an error: half a list would be taken for the whole.
    async fn everything(&self) -> anyhow::Result<Vec<Found>> {
        let mut all = Vec::new();
        for engine in &self.engines {
            let list = tokio::time::timeout(LIST, engine.everyones()).await;
            let list = list.with_context(|| format!("no list within {LIST:?}"));
            let list = list.and_then(|list| Ok(list?)).with_context(|| {
                let kind = engine.kind();
                let other = if kind == "docker" {
                    "process"
                } else {
                    "docker"
                };
                format!("cannot list what runs in {kind}; --runtime {other} leaves that out")
            })?;
            all.extend(list.into_iter().map(|seen| Found {
                engine: Arc::clone(engine),
                seen,
            }));
        }
        all.sort_by_key(|found| (found.seen.owner.clone(), found.seen.instance.clone()));
        Ok(all)
    }

    /// That there is nothing, and where that was looked for.
    fn nothing(&self, what: &str) -> String {
        let kinds: Vec<_> = self.engines.iter().map(|engine| engine.kind()).collect();
        format!(
            "{what} is on this machine; looked at runtime {} and data directory {}\n",
            kinds.join(" and "),
            self.data.display()
        )
    }
}

impl Found {
    fn told(&self, holders: &[Holder]) -> Left {
        let seen = &self.seen;
        let agent = holders.iter().find(|h| h.is_of(&seen.owner.cluster));
        Left {
            runtime: self.engine.kind(),
            node: seen.owner.node.clone(),
            cluster: seen.owner.cluster.clone(),
            instance: seen.instance.clone(),
            app: seen.app.clone(),
            version: seen.version,
            running: seen.is_running(),
            agent: agent.map(|holder| holder.pid),
        }
    }
}

/// Shows everything of Hancock's on this machine.
pub(super) async fn list(here: &Here, out: &Out) -> anyhow::Result<()> {
    let machine = here.machine()?;
    let found = machine.everything().await?;
    let holders = held::all(&machine.data)?;
    let left: Vec<_> = found.iter().map(|found| found.told(&holders)).collect();
    let none = machine.nothing("nothing of Hancock's");
    Ok(out.print(&left, |left| match left.is_empty() {
        true => none,
        false => text(left, &here.words(), out),
    })?)
}

fn text(left: &[Left], here: &str, out: &Out) -> String {
    let mut table = Table::new(&[
        "RUNTIME",
        "NODE",
        "CLUSTER",
        "INSTANCE",
        "APP",
        "VERSION",
        "STATE",
        "REMOVED BY",
    ]);
    for one in left {
        let state = if one.running { "runs" } else { "has ended" };
        let by = match one.agent {
            Some(pid) => format!("its agent, process {pid}, when it has to go"),
            None => format!("hancock node purge {here} --cluster {}", one.cluster),
        };
        table.row([
            Cell::from(one.runtime),
            (&one.node).into(),
            (&one.cluster).into(),
            (&one.instance).into(),
            (&one.app).into(),
            one.version.to_string().into(),
            state.into(),
            by.into(),
        ]);
    }
    table.render(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn left(agent: Option<u32>) -> Left {
        Left {
            runtime: "docker",
            node: "n1".parse().unwrap(),
            cluster: "c1".parse().unwrap(),
            instance: "web-1".parse().unwrap(),
            app: "web".parse().unwrap(),
            version: Version(3),
            running: agent.is_some(),
            agent,
        }
    }

    #[test]
    fn what_is_left_says_how_it_goes() {
        let here = Here {
            local: true,
            config: Some("/etc/agent.toml".into()),
            data_dir: None,
            runtime: None,
        };
        let text = text(
            &[left(None), left(Some(7))],
            &here.words(),
            &Out::narrow(200),
        );
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].ends_with("hancock node purge --local --config /etc/agent.toml --cluster c1"),
            "{text}"
        );
        assert!(
            lines[1].contains("has ended") && lines[2].contains("runs"),
            "{text}"
        );
        assert!(lines[2].contains("its agent, process 7"), "{text}");
    }
}
