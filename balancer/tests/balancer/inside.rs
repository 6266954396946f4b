//! Instances that are judged by a command inside them, or by somebody else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use hancock_balancer::probe::Inside;
use hancock_balancer::{LocalCheck, LocalInstance, ProbeResult};
use hancock_proto::app::CheckKind;
use hancock_proto::ids::InstanceId;
use hancock_proto::report::Condition;
use hancock_testkit::wait::wait_for_async;

use crate::client::{PATIENCE, get};
use crate::origin::Origin;
use crate::world::{WEB, World, doc, id, judged, server};

/// Answers what it was told to.
#[derive(Default)]
struct Scripted {
    answer: Mutex<Option<ProbeResult>>,
    asked: AtomicUsize,
}

impl Scripted {
    fn says(&self, answer: Option<ProbeResult>) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Waits until it was asked some more times.
    async fn asked_again(&self) {
        let before = self.asked.load(Ordering::SeqCst);
        wait_for_async("checks", PATIENCE, || async {
            match self.asked.load(Ordering::SeqCst) > before + 5 {
                true => Ok(()),
                false => Err("too few"),
            }
        })
        .await;
    }
}

#[async_trait]
impl Inside for Scripted {
    async fn check(
        &self,
        instance: &InstanceId,
        command: &[String],
        _timeout: Duration,
    ) -> Option<ProbeResult> {
        assert_eq!(
            (instance, command),
            (&id("web-1"), &["probe".to_owned()][..])
        );
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer.lock().unwrap().clone()
    }
}

fn failed(reason: &str) -> Option<ProbeResult> {
    Some(ProbeResult::Failed(Some(reason.to_owned())))
}

fn by(port: u16, check: LocalCheck) -> LocalInstance {
    LocalInstance {
        check: Some(check),
        ..judged(port, CheckKind::Command, 1, 2)
    }
}

async fn until(world: &World, value: bool) -> Condition {
    wait_for_async("readiness", PATIENCE, || async {
        match world.handle.readiness().get(&id("web-1")) {
            Some(c) if c.value == value => Ok(c.clone()),
            seen => Err(format!("{seen:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_command_judges_an_instance_and_silence_does_not() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let inside = Arc::new(Scripted::default());
    inside.says(failed("it is cold"));
    world.handle.run_checks_by(inside.clone());
    let Some(LocalCheck::Asked(spec, ..)) = judged(a.port(), CheckKind::Command, 1, 2).check else {
        unreachable!("it is asked");
    };
    let command = vec!["probe".to_owned()];
    let check = LocalCheck::Command { spec, command };
    world
        .handle
        .watch_local([(id("web-1"), by(a.port(), check))].into());
    assert_eq!(until(&world, false).await.reason, "it is cold");
    inside.says(Some(ProbeResult::Ok));
    until(&world, true).await;
    world.apply(doc(
        1,
        vec![server("web-1", a.port()), server("web-2", b.port())],
    ));
    inside.says(None);
    inside.asked_again().await;
    assert!(until(&world, true).await.value);
    inside.says(failed("first"));
    assert_eq!(until(&world, false).await.reason, "first");
    for _ in 0..4 {
        assert_eq!(get(world.proxy, WEB, "/").await.body, "b");
    }
    // Every report is a write for the masters: another reason for the same waits.
    inside.says(failed("second"));
    inside.asked_again().await;
    assert_eq!(until(&world, false).await.reason, "first");
    world.stop().await;
}

#[tokio::test]
async fn somebody_elses_verdict_feeds_routing_at_once() {
    let world = World::new().await;
    let (a, b) = (Origin::start("a").await, Origin::start("b").await);
    let tell = |ready, reason: &str| {
        let reason = reason.to_owned();
        let told = by(a.port(), LocalCheck::Told { ready, reason });
        world.handle.watch_local([(id("web-1"), told)].into());
        world.handle.readiness()[&id("web-1")].clone()
    };
    assert!(tell(true, "passed").value);
    world.apply(doc(
        1,
        vec![server("web-1", a.port()), server("web-2", b.port())],
    ));
    let bad = tell(false, "no database");
    assert_eq!((bad.value, bad.reason.as_str()), (false, "no database"));
    for _ in 0..4 {
        assert_eq!(get(world.proxy, WEB, "/").await.body, "b");
    }
    let still = tell(false, "no disk");
    assert_eq!((still.since, still.reason.as_str()), (bad.since, "no disk"));
    assert!(tell(true, "passed").value);
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(get(world.proxy, WEB, "/").await.body);
    }
    assert!(answers.contains(&"a".to_owned()), "{answers:?}");
    world.stop().await;
}
