//! Waits until a deployment is over: a live display on a terminal, a line per change otherwise, JSON lines for programs.

mod display;
mod lines;
mod live;

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
use super::deed::Deed;
use super::table::harmless;
use super::{Context, exit, show};
use display::Display;

/// Time between tries while the master cannot be reached.
const PAUSE: Duration = Duration::from_millis(500);
/// Log lines shown of each instance of a failed deployment.
const LAST_WORDS: usize = 10;
/// Failed instances told of; the others are only counted.
const MOST_OBITUARIES: usize = 3;
/// Time the last log lines may take to arrive: they help, they are not worth waiting for.
const LAST_WORDS_TIME: Duration = Duration::from_secs(3);

/// Prints the reply to a write, waits when asked to, and gives the exit code.
///
/// # Errors
/// The master cannot be reached, or the wait took too long.
pub async fn after(
    context: &Context,
    reply: &ApplyReply,
    deed: Deed,
    wait: &WaitArgs,
) -> anyhow::Result<ExitCode> {
    let words = match reply.deployment {
        _ if context.out.is_json() => String::new(),
        Some(id) if !wait.wait => format!(
            "{}; follow it with `hancock deployment status {id} --wait`",
            deed.begun(reply)
        ),
        Some(_) => deed.begun(reply),
        None => deed.nothing(reply, is_stopped(context, reply).await),
    };
    context.out.print(reply, |_| words)?;
    match reply.deployment {
        Some(id) if wait.wait => follow(context, id, wait.timeout).await,
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Only to choose the right words, so not knowing is no error.
async fn is_stopped(context: &Context, reply: &ApplyReply) -> bool {
    let app = context.client.existing_app(&reply.app).await;
    app.is_ok_and(|app| app.summary.stopped)
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
        let patience = display.patience();
        view = tokio::select! {
            next = patiently(deadline, &mut display, || {
                let left = deadline.saturating_duration_since(Instant::now());
                context.client.deployment_after(id, view.index, patience.min(left))
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

/// What the new instances had to say in the end; the first few, as they mostly say the same.
async fn obituary(context: &Context, view: &DeploymentView) -> String {
    let logs = tokio::time::timeout(LAST_WORDS_TIME, last_words(context, view)).await;
    let logs = logs.unwrap_or_default();
    let all = view.new.iter();
    let all = all.filter_map(|instance| epitaph(view, instance, logs.get(&instance.id)));
    let all: Vec<String> = all.collect();
    let mut text = all
        .iter()
        .take(MOST_OBITUARIES)
        .cloned()
        .collect::<String>();
    if all.len() > MOST_OBITUARIES {
        let (more, app) = (all.len() - MOST_OBITUARIES, &view.app);
        text += &format!("  and {more} more; `hancock ps {app}` and `hancock logs {app}` tell\n");
    }
    text
}

fn epitaph(
    view: &DeploymentView,
    instance: &InstanceView,
    log: Option<&Vec<String>>,
) -> Option<String> {
    let reason = show::reason(instance);
    let mut lines = reason.lines().map(harmless);
    let first = lines.next().unwrap_or_default();
    // A reason that brings its last log lines needs no others.
    let mut more: Vec<String> = lines.collect();
    if more.is_empty() && !first.contains("last output: ") {
        more = log.cloned().unwrap_or_default();
    }
    let told = first.is_empty() || view.reason.contains(&first);
    if told && more.is_empty() {
        return None;
    }
    let more: String = more.iter().map(|line| format!("    {line}\n")).collect();
    let (word, _) = show::state(instance);
    let colon = if first.is_empty() { "" } else { ": " };
    Some(format!("  {} {word}{colon}{first}\n{more}", instance.id))
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
        // The master's own words about a log that is gone already.
        if line.text.starts_with("hancock: ") {
            continue;
        }
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
