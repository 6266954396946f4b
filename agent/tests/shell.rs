//! The agent as a whole: a leader played by the test, a balancer that records, and an engine in memory or real processes.

#![allow(clippy::unwrap_used)]

#[path = "shell/checks.rs"]
mod checks;
#[path = "shell/follow.rs"]
mod follow;
#[path = "shell/images.rs"]
mod images;
#[path = "shell/leader.rs"]
mod leader;
#[path = "shell/operate.rs"]
mod operate;
#[path = "shell/stage.rs"]
mod stage;

use std::sync::Arc;
use std::time::Duration;

use hancock_agent::runtime::ContainerRuntime;
use hancock_agent::runtime::fake::{FakeRuntime, Script};
use hancock_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use hancock_agent_core::observed::Ending;
use hancock_proto::assignment::Desired::{Running, Stopped};
use hancock_proto::hub::{AgentMessage, HubMessage, LogRequest};
use hancock_proto::report::Life;
use hancock_proto::units::Span;
use stage::{Stage, id, wait_for};

fn fake() -> (Arc<FakeRuntime>, Arc<dyn ContainerRuntime>) {
    let engine = Arc::new(FakeRuntime::default());
    (engine.clone(), engine)
}

#[tokio::test]
async fn an_instance_is_started_told_and_restarted_at_once() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running), (2, Running)]).await;
    stage.lives(&[(1, Life::Running), (2, Life::Running)]).await;
    stage
        .wait_for("both judged", |s| s.balancer.watched().len() == 2)
        .await;
    assert_eq!(stage.report.generation.0, 1);
    let before = tokio::time::Instant::now();
    engine.exit(&id(1), Ending::Code(7));
    stage
        .reported("restarted", |r| {
            let one = &r.instances[&id(1)];
            one.restarts == 1 && one.life == Life::Running
        })
        .await;
    assert!(before.elapsed() < Duration::from_secs(1));
    assert!(stage.report.sequence > 1);
}

#[tokio::test]
async fn used_up_attempts_end_in_failed_with_the_last_lines() {
    let (engine, runtime) = fake();
    let script = Script {
        lines: vec!["cannot open /etc/web.conf".into()],
        exit_after: Some((Duration::from_millis(5), Ending::Code(3))),
        ..Script::default()
    };
    engine.script(&stage::app(), script);
    let mut stage = Stage::new(runtime).await;
    stage.restart.delay = Span::millis(20);
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Failed)]).await;
    let report = &stage.report.instances[&id(1)];
    let reason = report.reason.as_ref().unwrap();
    assert!(
        reason.contains("code 3") && reason.contains("cannot open /etc/web.conf"),
        "{reason}"
    );
    assert_eq!((report.restarts, engine.starts().len()), (3, 4));
}

#[tokio::test]
async fn a_port_somebody_else_listens_on_is_rejected() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    stage.ports = other.local_addr().unwrap().port() - 1;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Rejected)]).await;
    let reason = stage.report.instances[&id(1)].reason.clone().unwrap();
    let port = (stage.ports + 1).to_string();
    assert!(
        reason.contains(&port) && reason.contains("another program"),
        "{reason}"
    );
    assert!(engine.starts().is_empty());
}

/// A container of this node that no assignment knows goes, but not before its time; those of others never do.
#[tokio::test]
async fn orphans_go_after_a_while_and_strangers_stay() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    let spec = engine.spec(&id(1)).unwrap();
    let like = |n: u64, cluster: &str| {
        let mut seen = engine.seen(&id(1)).unwrap();
        (seen.instance, seen.owner.cluster) = (id(n), cluster.parse().unwrap());
        (seen, spec.clone())
    };
    for (n, cluster) in [(7, "c1"), (8, "c2")] {
        let (seen, spec) = like(n, cluster);
        engine.plant(seen, spec);
    }
    let planted = tokio::time::Instant::now();
    stage
        .reported("the orphan", |r| r.instances.contains_key(&id(7)))
        .await;
    wait_for("its end", || !engine.exists(&id(7))).await;
    assert!(planted.elapsed() >= stage::ORPHAN_GRACE);
    assert!(engine.is_running(&id(1)) && engine.is_running(&id(8)));
    assert_eq!(engine.stops(), [id(7)]);
}

#[tokio::test]
async fn one_asked_to_restart_is_stopped_and_started_once() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.restarts_asked = 1;
    stage.assign(2, [(1, Running)]).await;
    stage
        .reported("its restart", |r| {
            let one = &r.instances[&id(1)];
            one.restarts == 1 && one.life == Life::Running
        })
        .await;
    stage.assign(3, [(1, Running)]).await;
    stage.reported("the same", |r| r.generation.0 == 3).await;
    assert_eq!((engine.starts().len(), engine.stops().len()), (2, 1));
}

/// It may be replaced elsewhere meanwhile: down without a master, back with one, and never started by a journal alone.
#[tokio::test]
async fn a_single_writer_ends_without_a_master() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime.clone()).await;
    stage.stop_after = Some(Span::seconds(1));
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.link.cut(true);
    stage.restart_agent(runtime).await;
    wait_for("its end", || !engine.is_running(&id(1))).await;
    assert_eq!(engine.stops(), [id(1)]);
    stage.link.cut(false);
    stage.next_session().await;
    assert!(
        !engine.is_running(&id(1)),
        "nobody said yet that it is wanted"
    );
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    assert_eq!(stage.report.instances[&id(1)].restarts, 0);
}

#[tokio::test]
async fn a_slow_start_delays_no_other() {
    let (engine, runtime) = fake();
    let script = Script {
        // Long enough that all of them begin within it, also on a busy machine.
        start_delay: Duration::from_secs(3),
        ends_after: Some(Duration::ZERO),
        ..Script::default()
    };
    engine.script(&stage::app(), script);
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, (1..=8).map(|n| (n, Running))).await;
    let all: Vec<_> = (1..=8).map(|n| (n, Life::Running)).collect();
    stage.lives(&all).await;
    assert_eq!(engine.most_starts_at_once(), 8);
}

#[tokio::test]
async fn stopped_is_reported_then_removed() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.assign(2, [(1, Stopped)]).await;
    stage.lives(&[(1, Life::Stopped)]).await;
    assert!(engine.exists(&id(1)));
    stage.assign(3, []).await;
    stage.wait_for("removed", |_| !engine.exists(&id(1))).await;
    stage
        .reported("forgotten", |r| r.instances.is_empty())
        .await;
}

#[tokio::test]
async fn stale_words_are_refused() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.term = 5;
    stage.assign(7, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    // An older generation of the same leader, then a former leader with a newer one.
    stage.assign(6, []).await;
    stage.term = 4;
    stage.assign(8, []).await;
    // The session with the former leader is closed, and a new one says what is on disk.
    stage.next_session().await;
    assert_eq!(stage.session.hello.generation.0, 7);
    stage.term = 6;
    stage.assign(7, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    assert_eq!(engine.stops(), []);
}

#[tokio::test]
async fn without_a_master_the_stored_assignment_is_kept_up() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime.clone()).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.link.cut(true);
    stage.restart_agent(runtime).await;
    engine.exit(&id(1), Ending::Signal(9));
    let again = || engine.starts().len() == 2 && engine.is_running(&id(1));
    wait_for("restart without a master", again).await;
    stage.link.cut(false);
    stage.next_session().await;
    assert_eq!(stage.session.hello.generation.0, 1);
    stage
        .reported("what happened meanwhile", |r| {
            r.instances.get(&id(1)).is_some_and(|i| i.restarts == 1)
        })
        .await;
}

#[tokio::test]
async fn an_engine_that_goes_away_loses_nothing() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running), (2, Running)]).await;
    stage.lives(&[(1, Life::Running), (2, Life::Running)]).await;
    engine.away(Some("socket gone"));
    stage
        .reported("the outage", |r| {
            let reason = r.instances[&id(1)].reason.as_deref();
            reason.is_some_and(|r| r.contains("socket gone"))
        })
        .await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.assign(2, [(1, Running)]).await;
    engine.away(None);
    stage
        .wait_for("second removed", |_| !engine.exists(&id(2)))
        .await;
    stage
        .reported("all well", |r| {
            r.instances.len() == 1 && r.instances[&id(1)].reason.is_none()
        })
        .await;
    assert_eq!(engine.starts().len(), 2);
}

#[tokio::test]
async fn lost_notices_are_made_up_for() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    engine.lose_notices(true);
    engine.exit(&id(1), Ending::Code(1));
    stage
        .reported("found by listing", |r| r.instances[&id(1)].restarts == 1)
        .await;
}

#[tokio::test]
async fn a_shutdown_with_instances_brings_them_back_uncounted() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime.clone()).await;
    stage.assign(1, [(1, Running), (2, Running)]).await;
    stage.lives(&[(1, Life::Running), (2, Life::Running)]).await;
    stage.shutdown(true).await;
    assert!(!engine.is_running(&id(1)) && !engine.is_running(&id(2)));
    stage.restart_agent(runtime).await;
    stage.next_session().await;
    stage.lives(&[(1, Life::Running), (2, Life::Running)]).await;
    assert_eq!(stage.report.instances[&id(1)].restarts, 0);
}

#[tokio::test]
async fn a_deaf_instance_is_killed_at_the_deadline_of_the_shutdown() {
    let (engine, runtime) = fake();
    engine.script(&stage::app(), Script::default());
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    let agent = stage.agent.take().unwrap();
    agent.shutdown(true, Duration::from_millis(100)).await;
    assert!(!engine.is_running(&id(1)));
}

#[tokio::test]
async fn logs_are_answered_and_ended() {
    let (engine, runtime) = fake();
    let script = Script {
        lines: vec!["hello".into(), "world".into()],
        ..Script::default()
    };
    engine.script(&stage::app(), script);
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    for (ask, instance) in [(1, id(1)), (2, id(404))] {
        let request = LogRequest {
            id: ask,
            instance,
            follow: false,
            tail: None,
            since: None,
        };
        stage.send(HubMessage::Logs(request)).await;
    }
    let (mut texts, mut ends) = (Vec::new(), Vec::new());
    while ends.len() < 2 {
        if let AgentMessage::Logs(chunk) = stage.receive().await {
            texts.extend(chunk.lines.into_iter().map(|l| l.text));
            ends.extend(chunk.end.map(|end| (chunk.id, end.is_ok())));
        }
    }
    ends.sort_unstable();
    assert_eq!(texts, ["hello", "world"]);
    assert_eq!(ends, [(1, true), (2, false)]);
}

#[tokio::test]
async fn a_damaged_journal_is_named() {
    let (_, runtime) = fake();
    let mut stage = Stage::new(runtime.clone()).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.shutdown(false).await;
    let journal = stage.folder.path().join("agent.journal");
    std::fs::write(&journal, "hancock-agent-journal 1 0000\n{").unwrap();
    let error = stage.try_start(runtime).await.unwrap_err().to_string();
    assert!(error.contains("agent.journal is damaged"), "{error}");
}

fn processes(stage_folder: &std::path::Path) -> Arc<ProcessRuntime> {
    let options = ProcessOptions {
        shim: vec![env!("CARGO_BIN_EXE_hancock-shim").into()],
        ..ProcessOptions::new(stage_folder)
    };
    Arc::new(ProcessRuntime::new(options).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_outlive_the_agent_and_are_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let first = processes(folder.path());
    let mut stage = Stage::new(first.clone()).await;
    stage.command = ["/bin/sh", "-c", "echo up; while :; do sleep 0.1; done"]
        .map(str::to_owned)
        .into();
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    let pid = first.pid(&id(1)).unwrap();
    // Dropped, not shut down: what is left of an agent that was killed.
    drop(stage.agent.take());
    drop(first);
    let second = processes(folder.path());
    assert_eq!(second.pid(&id(1)), Some(pid));
    stage.restart_agent(second.clone()).await;
    stage.next_session().await;
    stage.lives(&[(1, Life::Running)]).await;
    assert_eq!(second.pid(&id(1)), Some(pid));
    assert_eq!(stage.report.instances[&id(1)].restarts, 0);
    // The adopted one is looked after like any other.
    let group = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
    stage
        .reported("restart of the adopted one", |r| {
            let one = &r.instances[&id(1)];
            one.restarts == 1 && one.life == Life::Running
        })
        .await;
    assert_ne!(second.pid(&id(1)), Some(pid));
    stage.shutdown(true).await;
    assert_eq!(second.pid(&id(1)), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_exist_fails_at_once_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::new(processes(folder.path())).await;
    stage.command = vec!["no-such-program".to_owned()];
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Failed)]).await;
    let reason = stage.report.instances[&id(1)].reason.clone().unwrap();
    assert!(
        reason.contains("\"no-such-program\" is not in PATH"),
        "{reason}"
    );
}
