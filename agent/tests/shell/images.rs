//! Images: which one an instance is made of, one that is not to be had, and those fetched for an operator.

use std::time::Duration;

use hancock_agent::runtime::fake::{FakeRuntime, Script};
use hancock_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use hancock_proto::ask::{Answer, NodeImage, Pull, Question};
use hancock_proto::assignment::Desired::Running;
use hancock_proto::report::Life;

use crate::stage::{self, DEADLINE, Stage, id};

fn digest(n: u8) -> String {
    format!("sha256:{n:064}")
}

/// An engine whose registry has `web:1`, and a stage whose instances are made of that.
async fn published() -> (std::sync::Arc<FakeRuntime>, Stage) {
    let (engine, runtime) = crate::fake();
    engine.publish("web:1", &digest(1));
    let mut stage = Stage::new(runtime).await;
    stage.image = Some("web:1".to_owned());
    (engine, stage)
}

/// Its tag stood for something else on another node, which was first.
#[tokio::test]
async fn an_instance_of_another_image_is_made_anew() {
    let (engine, mut stage) = published().await;
    stage.assign(1, [(1, Running)]).await;
    let made_of = |digest: String| {
        move |r: &hancock_proto::report::Report| {
            let one = r.instances.get(&id(1));
            one.is_some_and(|i| i.image_digest.as_ref() == Some(&digest) && i.life == Life::Running)
        }
    };
    stage.reported("its own", made_of(digest(1))).await;
    engine.publish("web:1", &digest(2));
    stage.image_digest = Some(digest(2));
    stage.assign(2, [(1, Running)]).await;
    stage.reported("theirs", made_of(digest(2))).await;
    assert_eq!(stage.report.instances[&id(1)].restarts, 0);
    let spec = engine.spec(&id(1)).unwrap();
    assert_eq!(spec.image_digest, Some(digest(2)));
}

#[tokio::test]
async fn an_image_that_is_not_to_be_had_is_a_reason_to_reject() {
    let (engine, mut stage) = published().await;
    engine.registry_away(Some("connection refused"));
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Rejected)]).await;
    let reason = stage.report.instances[&id(1)].reason.clone().unwrap();
    assert!(
        reason.contains("web:1") && reason.contains("connection refused"),
        "{reason}"
    );
    assert!(engine.starts().is_empty());
}

async fn pull(stage: &mut Stage, begin: bool, image: &str) -> Result<Pull, String> {
    let image = image.to_owned();
    match stage.ask(1, Question::Pull { image, begin }).await? {
        Answer::Pull(how) => Ok(how),
        other => panic!("{other:?}"),
    }
}

/// How a pull ended.
async fn pulled(stage: &mut Stage, image: &str) -> Pull {
    let over = async {
        let mut again = tokio::time::interval(Duration::from_millis(20));
        loop {
            match pull(stage, false, image).await.unwrap() {
                Pull::Pulling { .. } => drop(again.tick().await),
                over => return over,
            }
        }
    };
    tokio::time::timeout(DEADLINE, over).await.unwrap()
}

async fn images(stage: &mut Stage) -> Vec<NodeImage> {
    match stage.ask(1, Question::Images).await.unwrap() {
        Answer::Images { images, more: 0 } => images,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn images_are_fetched_on_demand_and_listed_with_their_users() {
    let (engine, mut stage) = published().await;
    stage.assign(1, []).await;
    stage
        .reported("the assignment", |r| r.generation.0 == 1)
        .await;
    assert_eq!(images(&mut stage).await, []);
    let unasked = pull(&mut stage, false, "web:1").await.unwrap_err();
    assert!(unasked.contains("nobody asked for web:1"), "{unasked}");
    let begun = pull(&mut stage, true, "web:1").await.unwrap();
    assert!(matches!(begun, Pull::Pulling { .. }), "{begun:?}");
    let digest = Some(digest(1));
    assert_eq!(pulled(&mut stage, "web:1").await, Pull::Done { digest });
    let there = images(&mut stage).await;
    assert_eq!((there.len(), there[0].used), (1, false));
    assert_eq!(there[0].tags, ["web:1"]);
    assert!(there[0].apps.is_empty());
    stage.assign(2, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    let there = images(&mut stage).await;
    assert!(there[0].used);
    assert_eq!(there[0].apps[0].app, stage::app());

    pull(&mut stage, true, "web:none").await.unwrap();
    let Pull::Failed { reason } = pulled(&mut stage, "web:none").await else {
        panic!("had");
    };
    assert!(reason.contains("web:none"), "{reason}");
    let wrong = pull(&mut stage, true, "web 1").await.unwrap_err();
    assert!(wrong.contains("no name of an image"), "{wrong}");
    // Once more: what it stands for by now.
    engine.publish("web:1", &self::digest(2));
    pull(&mut stage, true, "web:1").await.unwrap();
    let digest = Some(self::digest(2));
    assert_eq!(pulled(&mut stage, "web:1").await, Pull::Done { digest });
}

/// A line that is full of pulls of instances is not made fuller by those of operators.
#[tokio::test]
async fn pulls_on_demand_wait_for_their_turn() {
    let (engine, mut stage) = published().await;
    let script = Script {
        prepare_delay: Duration::from_secs(1),
        ..Script::default()
    };
    engine.script(&stage::app(), script);
    stage.assign(1, (1..=4).map(|n| (n, Running))).await;
    let pulling = (1..=4).map(|n| (n, Life::Pulling));
    stage.lives(&pulling.collect::<Vec<_>>()).await;
    pull(&mut stage, true, "web:1").await.unwrap();
    assert_eq!(images(&mut stage).await, []);
    let Pull::Pulling { told } = pull(&mut stage, false, "web:1").await.unwrap() else {
        panic!("had already");
    };
    assert!(told.contains("waits for its turn"), "{told}");
    let over = pulled(&mut stage, "web:1").await;
    assert!(matches!(over, Pull::Done { .. }), "{over:?}");
}

#[tokio::test]
async fn plain_processes_have_no_images() {
    let folder = tempfile::tempdir().unwrap();
    let options = ProcessOptions {
        shim: vec![env!("CARGO_BIN_EXE_hancock-shim").into()],
        ..ProcessOptions::new(folder.path())
    };
    let runtime = std::sync::Arc::new(ProcessRuntime::new(options).unwrap());
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, []).await;
    stage
        .reported("the assignment", |r| r.generation.0 == 1)
        .await;
    let told = stage.ask(1, Question::Images).await.unwrap_err();
    assert!(told.contains("plain processes"), "{told}");
    let told = pull(&mut stage, true, "web:1").await.unwrap_err();
    assert!(told.contains("plain processes"), "{told}");
}
