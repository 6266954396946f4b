//! The cases of checks: by a command inside an instance, and by the image itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hancock_agent::runtime::checks::Checks;
use hancock_agent_core::observed::Health;
use hancock_balancer::ProbeResult;
use hancock_balancer::probe::Inside;
use hancock_proto::units::Span;
use hancock_testkit::docker;

use crate::bench::{Behave, Bench, wait_for};
use crate::exec::{Program, serving};

/// Longer than any check here takes.
const LONG: Duration = Duration::from_secs(30);

fn checks(bench: &Bench, at_once: usize) -> Checks {
    Checks::new(bench.runtime.clone(), bench.owner.clone(), at_once)
}

async fn check(bench: &Bench, program: Program, timeout: Duration) -> Option<ProbeResult> {
    let id = bench.spec(1, Behave::Serve).instance;
    let command = program.command(bench);
    checks(bench, 1).check(&id, &command, timeout).await
}

fn reason(result: Option<ProbeResult>) -> String {
    match result {
        Some(ProbeResult::Failed(Some(reason))) => reason,
        other => panic!("{other:?}"),
    }
}

pub async fn a_check_says_how_its_command_ended(bench: Bench) {
    serving(&bench).await;
    assert_eq!(
        check(&bench, Program::Echo("fine"), LONG).await,
        Some(ProbeResult::Ok)
    );
    let failed = reason(check(&bench, Program::Exit(3), LONG).await);
    assert_eq!(failed, "its check ended with exit code 3");
    let missing = reason(check(&bench, Program::Missing, LONG).await);
    assert!(missing.contains("such"), "{missing}");
    if let Some(engine) = bench.engine() {
        // Nothing is known of an instance whose engine does not answer.
        engine.away(Some("gone"));
        assert_eq!(check(&bench, Program::Exit(3), LONG).await, None);
        engine.away(None);
    }
    bench.clear().await;
    let ended = reason(check(&bench, Program::Exit(0), LONG).await);
    assert!(ended.contains("contract-1"), "{ended}");
}

pub async fn a_check_that_hangs_is_ended(bench: Bench) {
    serving(&bench).await;
    let late = reason(check(&bench, Program::Yes, Duration::from_secs(1)).await);
    assert!(late.contains("did not end within 1s"), "{late}");
    assert!(late.len() < 1000, "{} bytes are told", late.len());
    wait_for("its end", || async { !bench.runs_commands() }).await;
    bench.clear().await;
}

pub async fn checks_run_few_at_a_time(bench: Bench) {
    serving(&bench).await;
    let id = bench.spec(1, Behave::Serve).instance;
    let (checks, yes) = (Arc::new(checks(&bench, 2)), Program::Yes.command(&bench));
    let begun = Instant::now();
    let time = Duration::from_millis(500);
    let all = (0..4).map(|_| checks.check(&id, &yes, time));
    let results = futures::future::join_all(all).await;
    assert!(
        results
            .into_iter()
            .map(reason)
            .all(|r| r.contains("did not end"))
    );
    // The time of one that waits for its turn does not run.
    assert!(begun.elapsed() >= 2 * time, "{:?}", begun.elapsed());
    wait_for("their end", || async { !bench.runs_commands() }).await;
    bench.clear().await;
}

pub async fn the_images_own_check_is_asked_where_it_counts(bench: Bench) {
    let image = bench.is_docker().then(|| checked_image(&bench));
    for asked in [true, false] {
        let mut spec = bench.spec(1, Behave::Serve);
        spec.image = image.clone();
        spec.image_check = asked;
        if let Some(engine) = bench.engine() {
            let mut script = crate::bench::script(Behave::Serve);
            script.health = Some(Health::Starting);
            engine.script(&spec.app, script);
        }
        let seen = bench.start(&spec).await.unwrap();
        // Processes have no image.
        let has = asked && (bench.is_docker() || bench.is_fake());
        assert_eq!(seen.health.is_some(), has, "{seen:?}");
        if has {
            goes_up_and_down(&bench).await;
        }
        bench.clear().await;
    }
    if let Some(image) = image {
        bench.docker_says(&["image", "rm", &image]);
    }
}

/// One whose check passes while `/state` says so.
fn checked_image(bench: &Bench) -> String {
    let spec = bench.spec(1, Behave::Serve);
    let tag = format!("hancock-contract-checked:{}", std::process::id());
    let check = "HEALTHCHECK --interval=200ms --retries=2 CMD [\"/bin/sh\", \"-c\", \
                 \"read x < /state && test $x = ok && exit 0; echo it is $x; exit 4\"]";
    docker::derive(&spec.image.unwrap(), check, &tag).unwrap();
    tag
}

async fn goes_up_and_down(bench: &Bench) {
    turn(bench, "bad").await;
    let bad = health(bench, |h| matches!(h, Health::Unhealthy { .. })).await;
    let expected = Health::Unhealthy {
        reason: "its check ended with exit code 4: it is bad".to_owned(),
        retries: 2,
        interval: Span::millis(200),
    };
    assert_eq!(bad, expected);
    turn(bench, "ok").await;
    health(bench, |h| *h == Health::Healthy).await;
    // It is told of, not only found when somebody looks.
    let mut changes = bench.runtime.changes();
    changes.mark_unchanged();
    turn(bench, "bad").await;
    tokio::time::timeout(LONG, changes.changed())
        .await
        .expect("a notice")
        .unwrap();
    health(bench, |h| matches!(h, Health::Unhealthy { .. })).await;
}

/// From now on its check says so.
async fn turn(bench: &Bench, state: &str) {
    let id = bench.spec(1, Behave::Serve).instance;
    if let Some(engine) = bench.engine() {
        let bad = Health::Unhealthy {
            reason: "its check ended with exit code 4: it is bad".to_owned(),
            retries: 2,
            interval: Span::millis(200),
        };
        return engine.turn(&id, if state == "ok" { Health::Healthy } else { bad });
    }
    let script = format!("echo {state} > /state");
    let command = ["/bin/sh", "-c", &script].map(str::to_owned);
    let wrote = checks(bench, 1).check(&id, &command, LONG).await;
    assert_eq!(wrote, Some(ProbeResult::Ok));
}

async fn health(bench: &Bench, wanted: impl Fn(&Health) -> bool) -> Health {
    let id = bench.spec(1, Behave::Serve).instance;
    let wanted = &wanted;
    wait_for("its health", || async {
        let seen = bench.seen(&id).await.and_then(|o| o.health);
        seen.is_some_and(|h| wanted(&h))
    })
    .await;
    bench.seen(&id).await.unwrap().health.unwrap()
}
