//! The way to the leader: named by whoever is asked, remembered over a restart.

use std::collections::BTreeSet;

use hancock_agent::link::LinkError;
use hancock_proto::hub::HubMessage;

use crate::fake;
use crate::stage::Stage;

fn masters(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name}:7401")).collect()
}

#[tokio::test]
async fn a_session_that_ends_with_a_name_goes_on_there() {
    let (_, runtime) = fake();
    let mut stage = Stage::new(runtime).await;
    assert_eq!(stage.session.at, "m1:7401");
    let leader = "m3:7401".to_owned();
    stage.session.end(LinkError::Elsewhere { leader }).await;
    stage.next_session().await;
    assert_eq!(stage.session.at, "m3:7401");
}

#[tokio::test]
async fn masters_heard_of_are_asked_after_a_restart() {
    let (_, runtime) = fake();
    let mut stage = Stage::new(runtime.clone()).await;
    let agents = masters(&["m2", "m3"]);
    stage.send(HubMessage::Masters { agents }).await;
    // What comes later is acted upon after the masters were stored.
    stage.assign(1, []).await;
    stage
        .reported("the assignment", |r| r.generation.0 == 1)
        .await;
    stage.restart_agent(runtime).await;
    let mut asked = BTreeSet::new();
    for _ in 0..3 {
        stage.next_session().await;
        asked.insert(stage.session.at.clone());
        stage.link.cut(false);
    }
    let all: Vec<String> = asked.into_iter().collect();
    assert_eq!(all, masters(&["m1", "m2", "m3"]));
}
