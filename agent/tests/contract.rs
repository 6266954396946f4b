//! One suite for every runtime: what the agent relies on, shown on the engine in memory, on plain processes and on a Docker engine.

#![allow(clippy::unwrap_used)]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/suite.rs"]
mod suite;

use std::sync::Arc;

use bench::Bench;
use hancock_agent::runtime::fake::FakeRuntime;

/// Every case on every runtime, each a test of its own.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod fake {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::suite::$case(super::Bench::fake(Arc::default())).await;
            })*
            use std::sync::Arc;
        }
        mod process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::suite::$case(super::Bench::process()).await;
            })*
        }
        mod docker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(bench) = super::Bench::docker(stringify!($case)).await {
                    super::suite::$case(bench).await;
                }
            })*
        }
    };
}

contract![
    starts_once_and_is_listed,
    an_exit_is_noticed_with_its_code,
    a_stop_is_polite_then_hard,
    a_kill_is_at_once,
    it_starts_again_and_keeps_its_log,
    removal_leaves_nothing,
    another_runtime_finds_what_runs,
    a_missing_program_is_named,
    strangers_are_not_touched,
    logs_have_tail_since_and_follow,
    what_is_not_there_is_no_error,
    the_spec_reaches_the_app,
];

#[tokio::test]
async fn the_engine_in_memory_can_be_away() {
    let engine = Arc::new(FakeRuntime::default());
    let bench = Bench::fake(engine.clone());
    engine.away(Some("gone"));
    let error = bench.runtime.list().await.unwrap_err();
    assert!(error.to_string().contains("does not answer: gone"));
}
