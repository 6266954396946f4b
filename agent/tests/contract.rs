//! One suite for every runtime: what the agent relies on, shown on the engine in memory, on plain processes and on a Docker engine.

#![allow(clippy::unwrap_used)]

#[path = "contract/bench.rs"]
mod bench;
#[path = "contract/checks.rs"]
mod checks;
#[path = "contract/exec.rs"]
mod exec;
#[path = "contract/images.rs"]
mod images;
#[path = "contract/jobs.rs"]
mod jobs;
#[path = "contract/options.rs"]
mod options;
#[path = "contract/pull.rs"]
mod pull;
#[path = "contract/suite.rs"]
mod suite;

use std::sync::Arc;

use bench::Bench;
use hancock_agent::runtime::fake::FakeRuntime;
use hancock_testkit::fixture;
use hancock_testkit::skip::{skip, test_name};

/// Every case on every runtime, each a test of its own.
macro_rules! contract {
    ($($part:ident::$case:ident),* $(,)?) => {
        mod fake {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$part::$case(super::Bench::fake(Arc::default())).await;
            })*
            use std::sync::Arc;
        }
        mod process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$part::$case(super::Bench::process()).await;
            })*
        }
        mod docker {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(bench) = super::Bench::docker(stringify!($case)).await {
                    super::$part::$case(bench).await;
                }
            })*
        }
    };
}

contract![
    suite::starts_once_and_is_listed,
    suite::an_exit_is_noticed_with_its_code,
    suite::a_stop_is_polite_then_hard,
    suite::a_kill_is_at_once,
    suite::a_signal_is_sent_and_not_waited_for,
    suite::it_starts_again_and_keeps_its_log,
    suite::removal_leaves_nothing,
    suite::another_runtime_finds_what_runs,
    suite::a_missing_program_is_named,
    suite::strangers_are_not_touched,
    suite::what_another_node_left_is_found_and_purged,
    suite::logs_have_tail_since_and_follow,
    suite::what_is_not_there_is_no_error,
    suite::the_spec_reaches_the_app,
    options::limits_are_set,
    options::limits_change_while_it_runs,
    options::files_are_there_before_the_start,
    options::privileges_are_given_and_taken,
    options::privileged_needs_the_nodes_word,
    options::a_root_that_cannot_be_written,
    options::kernel_settings_and_limits_of_processes,
    options::names_and_who_resolves_them,
    options::networks_are_chosen,
    options::volumes_of_every_kind,
    options::output_goes_where_it_is_told,
    options::ports_are_published_over_udp_and_as_ranges,
    options::a_limit_of_the_disk_is_set_or_refused,
    exec::a_command_has_two_outputs_and_a_code,
    exec::a_command_reads_to_the_end_of_its_input,
    exec::a_terminal_has_the_size_it_is_given,
    exec::a_command_nobody_waits_for_is_ended,
    exec::a_command_that_does_not_exist_is_told,
    exec::a_command_runs_as_whom_and_where_it_is_told,
    exec::a_user_or_folder_that_is_not_there_is_told,
    exec::nothing_is_run_where_nothing_runs,
    exec::the_end_of_an_instance_is_the_end_of_its_commands,
    jobs::a_job_has_two_outputs_and_a_code,
    jobs::a_job_reads_to_the_end_of_its_input,
    jobs::nothing_of_a_job_is_left_to_the_next,
    jobs::a_second_job_waits_for_the_first,
    jobs::a_job_nobody_waits_for_is_ended,
    jobs::a_person_takes_no_jobs_place,
    jobs::another_runtime_gives_jobs_to_what_waits,
    jobs::a_stop_lets_a_job_finish,
    jobs::a_job_has_the_grace_period_and_no_more,
    jobs::jobs_go_on_after_a_restart_and_end_with_it,
    jobs::who_was_not_started_for_jobs_takes_none,
    jobs::a_job_runs_in_an_image_of_its_program_alone,
    jobs::a_job_needs_no_root_and_no_place_to_write,
    checks::a_check_says_how_its_command_ended,
    checks::a_check_that_hangs_is_ended,
    checks::checks_run_few_at_a_time,
    checks::the_images_own_check_is_asked_where_it_counts,
    images::an_image_is_fetched_by_its_tag_and_by_its_digest,
    images::an_image_that_is_there_needs_no_registry,
    images::an_image_that_does_not_exist_is_another_nodes_chance,
    images::an_image_in_use_stays,
    images::one_version_is_one_image_however_its_tag_moves,
];

/// A registry that wants a password gets that of the node, once there is one; the policy says when it is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_from_a_locked_registry_as_the_policy_says() {
    let Some(bench) = Bench::docker("images_come_from_a_locked_registry").await else {
        return;
    };
    if let Some(reason) = fixture::missing("docker-registry") {
        return skip(&test_name(), &reason);
    }
    pull::from_a_locked_registry(bench).await;
}

#[tokio::test]
async fn the_engine_in_memory_can_be_away() {
    let engine = Arc::new(FakeRuntime::default());
    let bench = Bench::fake(engine.clone());
    engine.away(Some("gone"));
    let error = bench.runtime.list().await.unwrap_err();
    assert!(error.to_string().contains("does not answer: gone"));
}
