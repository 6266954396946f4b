#![allow(clippy::unwrap_used)]

use hancock_proto::api::DeploymentView;
use hancock_proto::ids::DeploymentId;

use super::*;
use crate::cli::client::Client;
use crate::cli::out::{Format, Out};
use crate::cli::testing::{instance, server, view};

fn context(answers: Vec<(u16, String)>) -> Context {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Context {
        client: Client::new(&server(answers)).unwrap(),
        out: Out::new(Format::Text),
    }
}

fn answer(view: &DeploymentView) -> (u16, String) {
    (200, serde_json::to_string(view).unwrap())
}

fn ended(phase: &str, ok: bool) -> DeploymentView {
    DeploymentView {
        done: true,
        ok,
        ..view(phase, vec![instance("web-1", "failed")])
    }
}

async fn code(answers: Vec<(u16, String)>, timeout: Span) -> anyhow::Result<String> {
    let code = follow(&context(answers), DeploymentId(7), timeout).await?;
    Ok(format!("{code:?}"))
}

#[tokio::test]
async fn the_exit_code_tells_how_it_ended() {
    let starting = view("starting", vec![instance("web-1", "starting")]);
    let good = vec![answer(&starting), answer(&ended("successful", true))];
    let soon = Span::seconds(20);
    assert_eq!(
        code(good, soon).await.unwrap(),
        format!("{:?}", ExitCode::SUCCESS)
    );
    let bad = vec![
        answer(&starting),
        answer(&ended("failed", false)),
        (200, String::new()),
    ];
    assert_eq!(
        code(bad, soon).await.unwrap(),
        format!("{:?}", ExitCode::from(1))
    );
}

#[tokio::test]
async fn a_wait_that_takes_too_long_says_that_it_goes_on() {
    let starting = view("starting", Vec::new());
    let answers = vec![answer(&starting); 1000];
    let error = code(answers, Span::millis(100))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("still starting") && error.contains("deployment status 7"),
        "{error}"
    );
}

#[tokio::test]
async fn the_last_words_of_a_failed_instance_are_told() {
    let line = |text: &str| {
        let line =
            serde_json::json!({"instance": "web-1", "at": 1, "stream": "stderr", "text": text});
        format!(
            "{line}
"
        )
    };
    let log = line("one") + &line("two\u{1b}[2J");
    let mut failed = ended("failed", false);
    failed.new[0].reason = Some("exit status 3".to_owned());
    let told = obituary(&context(vec![(200, log)]), &failed).await;
    assert_eq!(
        told,
        "  web-1 failed: exit status 3\n    one\n    two\u{fffd}[2J\n"
    );
    // A reason that brings its own lines is enough.
    failed.new[0].reason = Some("exit status 3\nlast line".to_owned());
    let told = obituary(&context(vec![(200, line("other"))]), &failed).await;
    assert_eq!(told, "  web-1 failed: exit status 3\n    last line\n");
    // What the deployment's own reason says already is not said again.
    failed.reason = "instance web-1 has failed: exit status 3; last output: one".to_owned();
    failed.new[0].reason = Some("exit status 3; last output: one".to_owned());
    assert_eq!(
        obituary(&context(vec![(200, line("one"))]), &failed).await,
        ""
    );
}
