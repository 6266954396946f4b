//! What operators ask of a node.

use hancock_agent::runtime::ContainerRuntime;
use hancock_proto::ask::Question;
use hancock_proto::assignment::Desired::Running;
use hancock_proto::exec::{FromCommand, ToCommand, WINDOW};
use hancock_proto::hub::HubMessage;
use hancock_proto::report::Life;

use crate::fake;
use crate::stage::{Stage, id};

#[tokio::test]
async fn what_a_cluster_that_is_gone_left_is_told_and_removed_on_demand() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    // One like it of another cluster, one of another node of that cluster.
    let mut spec = engine.spec(&id(1)).unwrap();
    for (n, node) in [(8, "n1"), (9, "n2")] {
        spec.instance = id(n);
        spec.owner.cluster = "gone".parse().unwrap();
        spec.owner.node = node.parse().unwrap();
        engine.start(&spec).await.unwrap();
    }
    let orphans = stage.orphans(1, Question::Orphans).await.unwrap();
    assert_eq!(orphans, [(id(8), true, false)]);
    let own = "c1".parse().unwrap();
    let refused = stage.orphans(2, Question::Purge { cluster: own }).await;
    assert!(refused.unwrap_err().contains("the node's own"));
    let gone = || "gone".parse().unwrap();
    let purge = Question::Purge { cluster: gone() };
    let removed = stage.orphans(3, purge.clone()).await.unwrap();
    assert_eq!(removed, [(id(8), true, false)]);
    assert!(!engine.exists(&id(8)) && engine.is_running(&id(9)) && engine.is_running(&id(1)));
    assert_eq!(stage.orphans(4, purge).await.unwrap(), []);
}

#[tokio::test]
async fn commands_are_paced_by_credits_and_end_with_the_session() {
    let (engine, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    stage.assign(1, [(1, Running)]).await;
    stage.lives(&[(1, Life::Running)]).await;
    stage.exec(1, &["yes"]).await;
    for _ in 0..WINDOW {
        assert!(matches!(stage.heard(1).await, FromCommand::Output { .. }));
    }
    // A second one is served while the first one waits for credits, and nothing of the first comes meanwhile.
    stage.exec(2, &["exit", "5"]).await;
    assert_eq!(stage.heard(2).await, FromCommand::Ended { outcome: Ok(5) });
    assert_eq!(stage.outputs[&1], WINDOW);
    let word = ToCommand::Credit;
    stage.send(HubMessage::Exec { id: 1, word }).await;
    assert!(matches!(stage.heard(1).await, FromCommand::Output { .. }));
    assert_eq!(engine.commands(), 1);
    for ask in 3..18 {
        stage.exec(ask, &["yes"]).await;
    }
    stage.begin(18, &["yes"]).await;
    match stage.heard(18).await {
        FromCommand::Ended { outcome } => assert!(outcome.unwrap_err().contains("16 commands")),
        word => panic!("{word:?}"),
    }
    stage.link.cut(true);
    stage
        .wait_for("the end of all", |_| engine.commands() == 0)
        .await;
    assert!(engine.is_running(&id(1)));
}
