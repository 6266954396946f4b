//! Jobs of an app, over a WebSocket.

use std::time::Duration;

use axum::response::Response;
use hancock_master_core::view::{self, JobPlaces};
use hancock_proto::api::ApiError;
use hancock_proto::ids::AppName;
use hancock_proto::units::Span;
use serde::Deserialize;
use tokio::time::Instant;
use utoipa::IntoParams;

use super::Api;
use super::body::App;
use super::command::{self, Place, Target, Upgrade};
use super::error::Failure;
use super::query::Query;
use super::writer::Asker;

/// Time a job waits for an instance that has none, when nobody says.
const USUAL_WAIT: Span = Span::seconds(30);
/// Longest it waits.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// Time between two looks for instances that have come: those that become free are told.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// `?wait=30s`.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    /// How long the job may wait for an instance that has none; at most ten minutes.
    #[serde(default = "usual_wait")]
    wait: Span,
}

fn usual_wait() -> Span {
    USUAL_WAIT
}

/// Runs a job of a task.
///
/// As `GET /v1/instances/{instance}/exec`, in one of the app's instances that has no job just now. An order without a command,
/// `{"command": []}`, runs the app's own; no order may ask for a terminal, and no input may come before the text that says that the job has
/// begun. A job is run once or not at all: what became of one whose connection was lost is not known, but it has ended.
#[utoipa::path(
    get,
    path = "/v1/apps/{app}/run",
    operation_id = "run_job",
    tag = "apps",
    params(App, Wait),
    responses((status = 101, description = "The connection is a WebSocket now."), (status = 404), (status = 409))
)]
pub(super) async fn run(
    Asker(api): Asker,
    App(app): App,
    Query(Wait { wait }): Query<Wait>,
    upgrade: Upgrade,
) -> Result<Response, Failure> {
    let upgrade = command::spoken(upgrade)?;
    // Refused with a status, as long as there is one.
    api.read(|ctx| view::job_places(ctx, &app)).await??;
    let wait = wait.duration().min(LONGEST_WAIT);
    Ok(command::carried(api, upgrade, Target::Job(app, wait)))
}

/// An instance for a job: one that has none, as soon as there is one.
pub(super) async fn place(api: &Api, app: &AppName, wait: Duration) -> Result<Place, String> {
    let deadline = Instant::now() + wait;
    let Some(mut guest) = api.sessions.seats().enter(app) else {
        return Err(format!("too many jobs of {app} wait for an instance"));
    };
    loop {
        let places = api.show(|ctx| view::job_places(ctx, app));
        let JobPlaces { at, timeout } = places.map_err(|ApiError { message, .. }| message)?;
        if let Some((node, instance)) = guest.take(&at) {
            let job = Some((guest, timeout));
            return Ok(Place {
                node,
                instance,
                job,
            });
        }
        tokio::select! {
            () = guest.freed() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = tokio::time::sleep_until(deadline) => return Err(none_free(app, at.len(), wait)),
        }
    }
}

fn none_free(app: &AppName, instances: usize, wait: Duration) -> String {
    match instances {
        0 => format!("no instance of {app} waits for jobs; see `hancock ps {app}`"),
        1 => format!(
            "the only instance of {app} had other jobs for {wait:?}; `hancock app scale {app} 2` gives it another one"
        ),
        all => format!(
            "all {all} instances of {app} had other jobs for {wait:?}; `hancock app scale {app} {}` gives it another one",
            all + 1
        ),
    }
}
