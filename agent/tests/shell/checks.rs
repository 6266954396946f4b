//! What an instance is judged by, as the node's balancer is told.

use std::time::Duration;

use hancock_agent::runtime::fake::Script;
use hancock_agent_core::observed::Health;
use hancock_balancer::{LocalCheck, LocalInstance, ProbeResult};
use hancock_proto::app::{CheckKind, HealthCheck};
use hancock_proto::assignment::Check;
use hancock_proto::assignment::Desired::Running;
use hancock_proto::report::Life;
use hancock_proto::units::Span;

use crate::stage::{self, Stage, id};

fn by_command(command: &[&str]) -> Check {
    Check {
        spec: HealthCheck {
            kind: CheckKind::Command,
            port: None,
            path: None,
            expect: Vec::new(),
            command: command.iter().map(|c| (*c).to_owned()).collect(),
            interval: Span::seconds(10),
            start_interval: Span::seconds(1),
            start_period: None,
            timeout: Span::seconds(5),
            rise: 1,
            fall: 3,
        },
        host_port: None,
        host: String::new(),
    }
}

async fn watched(stage: &mut Stage) -> LocalInstance {
    stage
        .wait_for("its check", |s| s.balancer.watched().len() == 1)
        .await;
    stage.balancer.watched().remove(&id(1)).unwrap()
}

#[tokio::test]
async fn a_command_is_filled_in_and_run_inside() {
    let (_, runtime) = crate::fake();
    let mut stage = Stage::new(runtime).await;
    stage.check = Some(by_command(&["exit", "{{ port.http }}"]));
    stage.assign(1, [(1, Running)]).await;
    let Some(LocalCheck::Command { command, spec }) = watched(&mut stage).await.check else {
        panic!("no command");
    };
    let port = (stage.ports + 1).to_string();
    assert_eq!(command, ["exit", &port]);
    let inside = stage.balancer.inside().unwrap();
    let failed = inside
        .check(&id(1), &command, spec.timeout.duration())
        .await;
    let reason = format!("its check ended with exit code {port}");
    assert_eq!(failed, Some(ProbeResult::Failed(Some(reason))));
}

#[tokio::test]
async fn the_images_own_check_goes_before_a_connection() {
    let (engine, runtime) = crate::fake();
    let script = Script {
        health: Some(Health::Starting),
        ends_after: Some(Duration::ZERO),
        ..Script::default()
    };
    engine.script(&stage::app(), script);
    let mut stage = Stage::new(runtime).await;
    // As a master sends it for an app with a service and no check of its own.
    let mut connect = by_command(&[]);
    (connect.spec.kind, connect.host_port) = (CheckKind::Tcp, Some(1));
    (stage.check, stage.image_check) = (Some(connect), true);
    stage.assign(1, [(1, Running)]).await;
    let told = |value: bool, word: &'static str| {
        move |r: &hancock_proto::report::Report| {
            let one = r.instances.get(&id(1));
            let up = one.filter(|one| one.life == Life::Running);
            let ready = up.and_then(|one| one.ready.as_ref());
            ready.is_some_and(|c| c.value == value && c.reason.contains(word))
        }
    };
    stage
        .reported("not ready yet", told(false, "not passed yet"))
        .await;
    engine.turn(&id(1), Health::Healthy);
    stage.reported("ready", told(true, "passed")).await;
    let sick = Health::Unhealthy {
        reason: "no database".to_owned(),
        retries: 3,
        interval: Span::seconds(30),
    };
    engine.turn(&id(1), sick);
    stage.reported("sick", told(false, "no database")).await;
    // An engine that is away says nothing of it.
    engine.away(Some("gone"));
    engine.away(None);
    engine.turn(&id(1), Health::Healthy);
    stage.reported("well again", told(true, "passed")).await;
}
