//! The cases.

use std::time::{Duration, Instant};

use futures::StreamExt;
use hancock_agent::runtime::{LogQuery, RuntimeError, purge};
use hancock_agent_core::observed::{Ending, Observed, Owner, State, StopRule};
use hancock_proto::hub::{LogLine, Stream};
use hancock_proto::ids::InstanceId;
use hancock_proto::units::Span;

use crate::bench::{Behave, Bench, wait_for};

pub async fn exited(bench: &Bench, id: &InstanceId) -> Ending {
    let ended = || async {
        let seen = bench.seen(id).await;
        seen.is_some_and(|o| matches!(o.state, State::Exited(_)))
    };
    wait_for("exit", ended).await;
    match bench.seen(id).await.unwrap().state {
        State::Exited(exit) => exit.how,
        other => panic!("{other:?}"),
    }
}

pub async fn log(bench: &Bench, id: &InstanceId, query: LogQuery) -> Vec<LogLine> {
    let lines = bench.runtime.logs(&bench.owner, id, query).await.unwrap();
    lines.map(|l| l.unwrap()).collect().await
}

async fn logged(bench: &Bench, id: &InstanceId, text: &str) {
    let there = || async {
        let lines = log(bench, id, LogQuery::default()).await;
        lines.iter().any(|l| l.text.contains(text))
    };
    wait_for(text, there).await;
}

pub async fn starts_once_and_is_listed(bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    let first = bench.start(&spec).await.unwrap();
    assert!(first.is_running());
    let again = bench.runtime.start(&spec).await.unwrap();
    assert!(again.is_running());
    let seen = bench.seen(&spec.instance).await.unwrap();
    assert_eq!((&seen.owner, seen.version), (&bench.owner, spec.version));
    assert_eq!((&seen.app, &seen.stop), (&spec.app, &spec.stop));
    assert!(seen.is_running());
    logged(&bench, &spec.instance, "started hello").await;
    let lines = log(&bench, &spec.instance, LogQuery::default()).await;
    assert_eq!(lines.len(), 1, "started twice: {lines:?}");
    bench.clear().await;
}

pub async fn an_exit_is_noticed_with_its_code(bench: Bench) {
    let mut changes = bench.runtime.changes();
    let spec = bench.spec(1, Behave::Exit(3));
    bench.start(&spec).await.unwrap();
    let noticed = async {
        loop {
            let seen: Option<Observed> = bench.seen(&spec.instance).await;
            if seen.is_some_and(|o| !o.is_running()) {
                break;
            }
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), noticed)
        .await
        .expect("notice of the exit");
    assert_eq!(exited(&bench, &spec.instance).await, Ending::Code(3));
    bench.clear().await;
}

pub async fn a_stop_is_polite_then_hard(bench: Bench) {
    let polite = bench.spec(1, Behave::Serve);
    bench.start(&polite).await.unwrap();
    logged(&bench, &polite.instance, "started").await;
    let begun = Instant::now();
    let stopped = bench
        .runtime
        .stop(&bench.owner, &polite.instance, &polite.stop);
    stopped.await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "waited for the grace period"
    );
    assert_eq!(exited(&bench, &polite.instance).await, Ending::Code(0));

    let deaf = bench.spec(2, Behave::Deaf);
    bench.start(&deaf).await.unwrap();
    logged(&bench, &deaf.instance, "deaf").await;
    let rule = StopRule {
        grace: Span::seconds(1),
        ..deaf.stop.clone()
    };
    let begun = Instant::now();
    let stopped = bench.runtime.stop(&bench.owner, &deaf.instance, &rule);
    stopped.await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "killed before the grace period"
    );
    assert_eq!(exited(&bench, &deaf.instance).await, Ending::Signal(9));
    bench.clear().await;
}

pub async fn a_kill_is_at_once(bench: Bench) {
    let spec = bench.spec(1, Behave::Deaf);
    bench.start(&spec).await.unwrap();
    bench
        .runtime
        .kill(&bench.owner, &spec.instance)
        .await
        .unwrap();
    assert!(!bench.seen(&spec.instance).await.unwrap().is_running());
    assert_eq!(exited(&bench, &spec.instance).await, Ending::Signal(9));
    bench.clear().await;
}

pub async fn a_signal_is_sent_and_not_waited_for(bench: Bench) {
    let (spec, owner) = (bench.spec(1, Behave::Serve), bench.owner.clone());
    let signal = |signal: &'static str| bench.runtime.signal(&owner, &spec.instance, signal);
    signal("SIGTERM").await.expect_err("it is not there");
    bench.start(&spec).await.unwrap();
    logged(&bench, &spec.instance, "started").await;
    signal("SIGNONE")
        .await
        .expect_err("there is no such signal");
    let stranger = Owner {
        cluster: "another".parse().unwrap(),
        ..owner.clone()
    };
    let theirs = bench.runtime.signal(&stranger, &spec.instance, "SIGTERM");
    theirs.await.expect_err("it is not theirs");
    assert!(bench.seen(&spec.instance).await.unwrap().is_running());
    signal("SIGTERM").await.unwrap();
    assert_eq!(exited(&bench, &spec.instance).await, Ending::Code(0));
    signal("SIGTERM").await.expect_err("it has ended");
    bench.clear().await;
}

pub async fn it_starts_again_and_keeps_its_log(bench: Bench) {
    let spec = bench.spec(1, Behave::Exit(1));
    for run in 1..=2 {
        bench.start(&spec).await.unwrap();
        exited(&bench, &spec.instance).await;
        let lines = log(&bench, &spec.instance, LogQuery::default()).await;
        let ones = lines.iter().filter(|l| l.text == "one").count();
        assert_eq!(ones, run);
    }
    bench.clear().await;
}

pub async fn removal_leaves_nothing(bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    bench.start(&spec).await.unwrap();
    let remove = || bench.runtime.remove(&bench.owner, &spec.instance);
    remove().await.expect_err("it runs");
    bench
        .runtime
        .kill(&bench.owner, &spec.instance)
        .await
        .unwrap();
    remove().await.unwrap();
    assert_eq!(bench.seen(&spec.instance).await, None);
    let log = bench
        .runtime
        .logs(&bench.owner, &spec.instance, LogQuery::default());
    assert!(log.await.is_err());
}

pub async fn another_runtime_finds_what_runs(mut bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    bench.start(&spec).await.unwrap();
    logged(&bench, &spec.instance, "started").await;
    bench.runtime = (bench.again)();
    let mut changes = bench.runtime.changes();
    assert!(bench.seen(&spec.instance).await.unwrap().is_running());
    assert!(bench.runtime.start(&spec).await.unwrap().is_running());
    let lines = log(&bench, &spec.instance, LogQuery::default()).await;
    assert_eq!(lines.len(), 1, "started twice: {lines:?}");
    // It ends what another one started, and notices the end.
    changes.mark_unchanged();
    bench
        .runtime
        .kill(&bench.owner, &spec.instance)
        .await
        .unwrap();
    let noticed = tokio::time::timeout(Duration::from_secs(10), changes.changed()).await;
    noticed.expect("notice of the end").unwrap();
    bench.clear().await;
}

pub async fn a_missing_program_is_named(bench: Bench) {
    let spec = bench.spec(1, Behave::Missing);
    let error = bench.start(&spec).await.unwrap_err();
    assert!(
        matches!(error, RuntimeError::Impossible { .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("/no/such/program"), "{error}");
    let seen = bench.seen(&spec.instance).await;
    assert!(!seen.is_some_and(|o| o.is_running()));
    bench.clear().await;
}

pub async fn strangers_are_not_touched(bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    bench.start(&spec).await.unwrap();
    let stranger = Owner {
        cluster: "another".parse().unwrap(),
        ..bench.owner.clone()
    };
    let (runtime, id) = (&bench.runtime, &spec.instance);
    runtime.stop(&stranger, id, &spec.stop).await.unwrap();
    runtime.kill(&stranger, id).await.unwrap();
    assert!(bench.seen(id).await.unwrap().is_running());
    bench.clear().await;
}

/// Who has lost node and master finds it still, and ends it as its owner asked.
pub async fn what_another_node_left_is_found_and_purged(bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    let mut other = bench.spec(2, Behave::Serve);
    other.owner = Owner {
        cluster: "gone".parse().unwrap(),
        node: format!("former-{}", bench.owner.node).parse().unwrap(),
    };
    for spec in [&spec, &other] {
        bench.start(spec).await.unwrap();
    }
    let left = || async {
        let all = bench.runtime.everyones().await.unwrap();
        all.into_iter().find(|one| one.owner == other.owner)
    };
    let found = left().await.expect("what another node left");
    assert_eq!(found.instance, other.instance);
    assert_eq!(found.stop, other.stop);
    for _ in 0..2 {
        purge(&*bench.runtime, &found).await.unwrap();
        assert_eq!(left().await, None);
    }
    assert!(bench.seen(&spec.instance).await.unwrap().is_running());
    bench.clear().await;
}

pub async fn logs_have_tail_since_and_follow(bench: Bench) {
    let spec = bench.spec(1, Behave::Exit(0));
    bench.start(&spec).await.unwrap();
    exited(&bench, &spec.instance).await;
    let all = log(&bench, &spec.instance, LogQuery::default()).await;
    assert_eq!(all.len(), 2);
    if !bench.is_fake() {
        let two = all.iter().find(|l| l.text == "two").unwrap();
        assert_eq!(two.stream, Stream::Stderr);
    }
    let tail = LogQuery {
        tail: Some(1),
        ..LogQuery::default()
    };
    assert_eq!(log(&bench, &spec.instance, tail).await.len(), 1);
    let later = LogQuery {
        since: Some(all[1].at + Duration::from_secs(100)),
        ..LogQuery::default()
    };
    assert_eq!(log(&bench, &spec.instance, later).await, []);
    let follow = LogQuery {
        follow: true,
        tail: Some(0),
        since: None,
    };
    let followed = bench.runtime.logs(&bench.owner, &spec.instance, follow);
    let mut followed = followed.await.unwrap();
    bench.runtime.start(&spec).await.unwrap();
    let next = tokio::time::timeout(Duration::from_secs(20), followed.next()).await;
    let next = next.expect("a line of the second run").unwrap().unwrap();
    assert!(["one", "two"].contains(&next.text.as_str()), "{next:?}");
    exited(&bench, &spec.instance).await;
    bench.clear().await;
}

pub async fn what_is_not_there_is_no_error(bench: Bench) {
    let id: InstanceId = "contract-404".parse().unwrap();
    let spec = bench.spec(404, Behave::Serve);
    let runtime = &bench.runtime;
    runtime.stop(&bench.owner, &id, &spec.stop).await.unwrap();
    runtime.kill(&bench.owner, &id).await.unwrap();
    runtime.remove(&bench.owner, &id).await.unwrap();
    assert_eq!(bench.seen(&id).await, None);
}

pub async fn the_spec_reaches_the_app(bench: Bench) {
    let mut spec = bench.spec(1, Behave::Serve);
    spec.workdir = Some("/bin".to_owned());
    if !bench.is_fake() {
        spec.command[2] = "echo started $WORD; pwd; exec sleep 60".to_owned();
    }
    bench.start(&spec).await.unwrap();
    logged(&bench, &spec.instance, "started hello").await;
    if !bench.is_fake() {
        logged(&bench, &spec.instance, "/bin").await;
    }
    bench.clear().await;
}
