//! Apps that run jobs.

use serde_json::{Value, json};

use super::problems;
use crate::app::{AppSpec, Kind, Task};
use crate::units::Span;

fn task(change: &Value) -> Value {
    let mut spec = json!({
        "app": "resize",
        "kind": "task",
        "task": {"reuse": true},
        "image": "resize:1",
        "command": ["/bin/resize"],
    });
    let (Some(spec_map), Value::Object(change)) = (spec.as_object_mut(), change) else {
        unreachable!()
    };
    spec_map.extend(change.clone());
    spec
}

#[test]
fn a_task_reuses_its_instances_and_has_an_hour_for_a_job() {
    let spec = AppSpec::decode(&task(&json!({"replicas": 4}))).unwrap();
    let usual = Task {
        reuse: true,
        timeout: Span::seconds(3600),
    };
    assert_eq!(
        (spec.kind, spec.task, spec.replicas),
        (Kind::Task, Some(usual), 4)
    );
    let short = task(&json!({"task": {"reuse": true, "timeout": "30s"}}));
    let short = AppSpec::decode(&short).unwrap();
    assert_eq!(short.task.map(|task| task.timeout), Some(Span::seconds(30)));
    let canonical = serde_json::from_str(&spec.canonical()).unwrap();
    assert_eq!(AppSpec::decode(&canonical), Ok(spec));
    // A service is written as it always was: versions are hashed from it.
    let service = AppSpec::decode(&json!({"app": "web", "command": ["/bin/web"]})).unwrap();
    assert!(!service.canonical().contains("task"));
}

#[test]
fn what_a_task_cannot_have_is_told() {
    let cases = [
        (
            json!({"task": {"reuse": false}}),
            "task.reuse",
            "not supported yet: a container of its own for each job",
        ),
        (
            json!({"task": {}}),
            "task.reuse",
            "is missing; write it like reuse: true",
        ),
        (
            json!({"task": {"reuse": true, "timeout": "0s"}}),
            "task.timeout",
            "must be from 1s to",
        ),
        (
            json!({"ports": [{"name": "http"}]}),
            "ports",
            "reached by its jobs only",
        ),
        (
            json!({"healthcheck": {"type": "none"}}),
            "healthcheck",
            "reached by its jobs only",
        ),
        (
            json!({"container": {"init": true}}),
            "container",
            "an init of their own",
        ),
        (
            json!({"kind": "service"}),
            "task",
            "only an app of kind task",
        ),
    ];
    for (change, path, message) in cases {
        let told = problems(&task(&change));
        let hit = told
            .iter()
            .any(|p| p.starts_with(&format!("{path}: ")) && p.contains(message));
        assert!(hit, "{change}: {told:?}");
    }
    let bare = problems(&json!({"app": "resize", "kind": "task"}));
    for missing in ["task", "image", "command"] {
        assert!(
            bare.iter()
                .any(|p| p.starts_with(&format!("{missing}: is missing"))),
            "{bare:?}"
        );
    }
}
