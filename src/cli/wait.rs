//! Waits until a deployment is over: a live display on a terminal, a line per change otherwise, JSON lines for programs.

mod display;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use hancock_proto::api::{ApplyReply, DeploymentView, InstanceView};
use hancock_proto::ids::{DeploymentId, InstanceId};
use hancock_proto::units::Span;
use tokio::time::Instant;

use super::args::WaitArgs;
use super::client::{ClientError, LogQuery};
use super::table::harmless;
use super::{Context, exit, show};
use display::Display;

/// How long one request waits for a change.
const POLL: Duration = Duration::from_secs(10);
/// Time between tries while the master cannot be reached.
const PAUSE: Duration = Duration::from_millis(500);
/// Log lines shown of each instance of a failed deployment.
const LAST_WORDS: usize = 10;
/// Time the last log lines may take to arrive: they help, they are not worth waiting for.
const LAST_WORDS_TIME: Duration = Duration::from_secs(3);

/// Prints the reply to a write, waits when asked to, and gives the exit code.
///
/// # Errors
/// The master cannot be reached, or the wait took too long.
pub async fn after(
    context: &Context,
    reply: &ApplyReply,
    deed: &str,
    wait: &WaitArgs,
) -> anyhow::Result<ExitCode> {
    match reply.deployment {
        Some(id) if wait.wait => {
            if context.out.is_json() {
                context.out.json(reply)?;
            }
            follow(context, id, wait.timeout).await
        }
        _ => {
            context
                .out
                .print(reply, |reply| show::applied(reply, deed))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Follows a deployment to its end.
///
/// # Errors
/// As [`after`].
pub async fn follow(
    context: &Context,
    id: DeploymentId,
    timeout: Span,
) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + timeout.duration();
    let mut display = Display::new(&context.out);
    let mut view = patiently(deadline, &mut display, || context.client.deployment(id)).await?;
    loop {
        display.show(&view)?;
        if view.done {
            return end(context, &view, display).await;
        }
        view = tokio::select! {
            next = patiently(deadline, &mut display, || {
                let left = deadline.saturating_duration_since(Instant::now());
                context.client.deployment_after(id, view.index, POLL.min(left))
            }) => next?,
            () = tokio::time::sleep_until(deadline) => {
                display.close();
                bail!(
                    "deployment {id} is still {} after {timeout}: {}; it goes on, see `hancock deployment status {id}`",
                    view.phase, view.reason
                );
            }
        };
    }
}

/// Asks again while the master cannot be reached: a master that restarts does not end a deployment.
async fn patiently<F>(
    deadline: Instant,
    display: &mut Display<'_>,
    ask: impl Fn() -> F,
) -> anyhow::Result<DeploymentView>
where
    F: Future<Output = Result<DeploymentView, ClientError>>,
{
    loop {
        match ask().await {
            Ok(view) => return Ok(view),
            Err(error)
                if error.is_passing() && Instant::now() < deadline && display.has_shown() =>
            {
                display.notice(&error.to_string())?;
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn end(
    context: &Context,
    view: &DeploymentView,
    display: Display<'_>,
) -> anyhow::Result<ExitCode> {
    display.close();
    if view.ok {
        if !context.out.is_json() {
            context.out.text(&finished(view, context))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !context.out.is_json() {
        context.out.text(&finished(view, context))?;
        context.out.text(&obituary(context, view).await)?;
    }
    Ok(ExitCode::from(exit::FAILED))
}

fn finished(view: &DeploymentView, context: &Context) -> String {
    let line = show::deployment_line(view, &context.out);
    match view.reason.is_empty() {
        true => line,
        false => format!("{line}: {}", harmless(&view.reason)),
    }
}

/// What the new instances had to say in the end.
async fn obituary(context: &Context, view: &DeploymentView) -> String {
    let logs = tokio::time::timeout(LAST_WORDS_TIME, last_words(context, view)).await;
    let logs = logs.unwrap_or_default();
    view.new
        .iter()
        .filter_map(|instance| epitaph(instance, logs.get(&instance.id)))
        .collect()
}

fn epitaph(instance: &InstanceView, log: Option<&Vec<String>>) -> Option<String> {
    let reason = show::reason(instance);
    let mut lines = reason.lines().map(harmless);
    let first = lines.next().unwrap_or_default();
    // A reason of several lines ends with the last log lines already.
    let mut more: Vec<String> = lines.collect();
    if more.is_empty() {
        more = log.cloned().unwrap_or_default();
    }
    if first.is_empty() && more.is_empty() {
        return None;
    }
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    Some(format!(
        "  {} {}: {first}\n{more}",
        instance.id, instance.life
    ))
}

async fn last_words(context: &Context, view: &DeploymentView) -> BTreeMap<InstanceId, Vec<String>> {
    let mut words: BTreeMap<InstanceId, Vec<String>> = BTreeMap::new();
    let query = LogQuery {
        tail: Some(LAST_WORDS),
        ..LogQuery::default()
    };
    let Ok(mut lines) = context.client.logs(&view.app, &query).await else {
        return words;
    };
    while let Ok(Some(line)) = lines.next().await {
        let of_instance = words.entry(line.instance).or_default();
        of_instance.push(harmless(&line.text));
        if of_instance.len() > LAST_WORDS {
            of_instance.remove(0);
        }
    }
    words
}

#[cfg(test)]
mod tests;
