//! Ends and removes what a cluster left on this machine.

use std::process::ExitCode;

use anyhow::bail;
use futures::StreamExt;
use hancock_agent::journal::Journal;
use hancock_agent::runtime;
use hancock_proto::ids::ClusterId;
use indicatif::MultiProgress;
use serde::Serialize;

use super::held::{self, Holder};
use super::{Found, Here, Left, Machine};
use crate::boot::DataDir;
use crate::cli::confirm::{Yes, agreed};
use crate::cli::node::orphans::question;
use crate::cli::out::{Out, Tone};
use crate::cli::spinner::spinner;
use crate::cli::table::harmless;

/// Ended at the same time: each may take its grace period.
const AT_ONCE: usize = 16;

/// How it went with one.
#[derive(Debug, Serialize)]
struct Went {
    #[serde(flatten)]
    left: Left,
    /// Why it is not removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Removes everything of the cluster; what is gone already is fine.
pub(in super::super) async fn purge(
    here: &Here,
    cluster: &ClusterId,
    yes: Yes,
    out: &Out,
) -> anyhow::Result<ExitCode> {
    let machine = here.machine()?;
    let holders = held::all(&machine.data)?;
    if let Some(holder) = holders.iter().find(|holder| holder.may_be_of(cluster)) {
        bail!(refusal(holder, cluster));
    }
    // No agent begins there meanwhile.
    let _claimed = machine.claimed(&holders)?;
    let mut found = machine.everything().await?;
    found.retain(|found| found.seen.owner.cluster == *cluster);
    if found.is_empty() {
        let none: [Went; 0] = [];
        out.print(&none, |_| {
            machine.nothing(&format!("nothing of cluster {cluster}"))
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let running = found.iter().filter(|f| f.seen.is_running()).count();
    let question = question((found.len(), running), cluster, "this machine");
    if yes.asks(out) && !agreed(out, &question)? {
        bail!("nothing was removed");
    }
    let went = each(found, out).await?;
    finish(&machine, cluster, &went, out)
}

/// Whoever would start again what is ended.
fn refusal(holder: &Holder, cluster: &ClusterId) -> String {
    let Holder {
        pid,
        data,
        cluster: of,
    } = holder;
    let data = data.as_ref().map_or_else(String::new, |data| {
        format!(" with data directory {}", data.display())
    });
    match of {
        Err(why) => format!(
            "process {pid}{data} may be an agent of cluster {cluster}, which would start again what is ended here: {why}; try as root, or \
             stop it first"
        ),
        Ok(_) => format!(
            "an agent of cluster {cluster} runs on this machine, process {pid}{data}, and would start again what is ended here; stop it \
             first (`systemctl stop hancock-agent`), or have its masters take the apps away and leave the rest to it"
        ),
    }
}

async fn each(found: Vec<Found>, out: &Out) -> anyhow::Result<Vec<Went>> {
    let bars = out.is_live().then(MultiProgress::new);
    let deeds = found.into_iter().map(|found| one(found, bars.as_ref()));
    let mut deeds = futures::stream::iter(deeds).buffer_unordered(AT_ONCE);
    let mut all = Vec::new();
    while let Some(went) = deeds.next().await {
        if !out.is_json() {
            let line = line(&went, out);
            let print = || out.text(&line);
            bars.as_ref()
                .map_or_else(print, |bars| bars.suspend(print))?;
        }
        all.push(went);
    }
    all.sort_by(|a, b| a.left.instance.cmp(&b.left.instance));
    Ok(all)
}

async fn one(found: Found, bars: Option<&MultiProgress>) -> Went {
    let bar = bars.map(|bars| bars.add(spinner(found.seen.instance.to_string())));
    if let Some(bar) = &bar {
        bar.set_message(format!("has {} to end", found.seen.stop.grace));
    }
    let purged = runtime::purge(&*found.engine, &found.seen).await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Went {
        left: found.told(&[]),
        error: purged.err().map(|error| error.to_string()),
    }
}

fn line(went: &Went, out: &Out) -> String {
    let Left {
        instance,
        node,
        runtime,
        ..
    } = &went.left;
    match &went.error {
        None => {
            let removed = out.tint("removed", Tone::Good);
            format!("{instance}   {removed}   of node {node}, {runtime}")
        }
        Some(reason) => {
            let failed = out.tint("failed", Tone::Bad);
            format!("{instance}   {failed}   {}", harmless(reason))
        }
    }
}

fn finish(
    machine: &Machine,
    cluster: &ClusterId,
    went: &[Went],
    out: &Out,
) -> anyhow::Result<ExitCode> {
    if out.is_json() {
        out.json(&went)?;
    } else if machine.remembers(cluster) {
        out.text(&format!(
            "{} remembers what cluster {cluster} ran here: an agent that is started with it starts that again; remove the directory unless \
             this is wanted",
            machine.data.display()
        ))?;
    }
    Ok(match went.iter().all(|went| went.error.is_none()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Machine {
    /// Its data directory, where it is one and no agent, of another cluster then, has it.
    fn claimed(&self, holders: &[Holder]) -> anyhow::Result<Option<DataDir>> {
        let used = self.data.join("lock").exists();
        let held = holders
            .iter()
            .any(|holder| holder.data.as_deref() == Some(&*self.data));
        match used && !held {
            true => DataDir::open(&self.data).map(Some),
            false => Ok(None),
        }
    }

    /// Whether an agent that is started with the data directory would start instances of the cluster.
    fn remembers(&self, cluster: &ClusterId) -> bool {
        let record = Journal::at(&self.data.join("agent")).load();
        record.is_ok_and(|record| {
            record.session.cluster.as_ref() == Some(cluster)
                && record.assignment.is_some_and(|a| !a.instances.is_empty())
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use hancock_agent::Observed;
    use hancock_agent::runtime::fake::FakeRuntime;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn what_cannot_be_removed_is_told_and_fails() {
        let fake = Arc::new(FakeRuntime::default());
        fake.away(Some("it was stopped"));
        let seen: Observed = serde_json::from_value(json!({
            "owner": {"cluster": "gone", "node": "n1"}, "instance": "web-1", "app": "web", "version": 3,
            "stop": {"signal": "SIGTERM", "grace": "1s"}, "host_ports": [], "state": {"running": {"since": null}},
        }))
        .unwrap();
        let went = one(
            Found {
                engine: fake.clone(),
                seen: seen.clone(),
            },
            None,
        )
        .await;
        let out = Out::narrow(200);
        let failed = line(&went, &out);
        assert!(
            failed.starts_with("web-1   failed   ") && failed.contains("it was stopped"),
            "{failed}"
        );
        let dir = tempfile::tempdir().unwrap();
        let machine = Machine {
            data: dir.path().to_owned(),
            engines: vec![fake.clone()],
        };
        let cluster = seen.owner.cluster.clone();
        let finished = |went: Went| finish(&machine, &cluster, &[went], &out).unwrap();
        assert_eq!(finished(went), ExitCode::FAILURE);
        // Gone meanwhile is as good as removed.
        fake.away(None);
        let went = one(Found { engine: fake, seen }, None).await;
        assert_eq!(line(&went, &out), "web-1   removed   of node n1, fake");
        assert_eq!(finished(went), ExitCode::SUCCESS);
    }

    #[test]
    fn a_refusal_names_who_is_in_the_way_and_the_way_out() {
        let cluster: ClusterId = "c1".parse().unwrap();
        let holder = |of| Holder {
            pid: 7,
            data: Some("/var/lib/hancock".into()),
            cluster: of,
        };
        let runs = refusal(&holder(Ok(Some(cluster.clone()))), &cluster);
        assert!(
            runs.contains("process 7 with data directory /var/lib/hancock")
                && runs.contains("stop it"),
            "{runs}"
        );
        let closed = refusal(&holder(Err("it is another user's".to_owned())), &cluster);
        assert!(closed.contains("another user's; try as root"), "{closed}");
    }
}
