//! `hancock instance`: one instance of an app.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use hancock_proto::api::InstanceView;
use hancock_proto::ids::{AppName, InstanceId};
use tokio::time::Instant;

use super::args::{WaitArgs, age};
use super::out::Out;
use super::{Context, show};

/// Time between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(300);

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List instances
    List {
        /// Only this app's
        app: Option<AppName>,
    },
    /// Show everything known of an instance
    Show {
        /// The instance
        instance: InstanceId,
    },
    /// Bring up another one in its place: it serves until that does, and no request is lost
    Restart {
        /// The instance
        instance: InstanceId,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Send it a signal at once; when it ends of that, its node starts it again
    Kill {
        /// The instance
        instance: InstanceId,
        /// Which one, like HUP or SIGHUP
        #[arg(long, short, value_name = "SIGNAL", default_value = "SIGKILL", value_parser = signal)]
        signal: String,
    },
}

/// Runs one of them.
pub async fn run(context: &Context, command: &Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { app } => {
            let list = context.client.instances(app.as_ref()).await?;
            let text = |list: &Vec<InstanceView>| show::instances(list, &context.out);
            context.out.print(&list, text)?;
        }
        Command::Show { instance } => {
            let all = context.client.instances(None).await?;
            let found = all.into_iter().find(|i| i.id == *instance);
            let missing =
                || anyhow!("there is no instance {instance}; `hancock ps` shows those there are");
            let found = found.ok_or_else(missing)?;
            context
                .out
                .print(&found, |found| text(found, &context.out))?;
        }
        Command::Kill { instance, signal } => {
            context.client.signal_instance(instance, signal).await?;
            let said = format!("{signal} sent to {instance}\n");
            context
                .out
                .print(&serde_json::json!({"done": true}), |_| said)?;
        }
        Command::Restart { instance, wait } => restart(context, instance, wait).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A signal's name, with or without its beginning.
fn signal(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = match upper.starts_with("SIG") {
        true => upper,
        false => format!("SIG{upper}"),
    };
    let known = name.parse::<nix::sys::signal::Signal>();
    known
        .map(|_| name)
        .map_err(|_| format!("{text:?} is no signal; one is like HUP or SIGHUP"))
}

async fn restart(context: &Context, id: &InstanceId, wait: &WaitArgs) -> anyhow::Result<()> {
    let reply = context.client.restart_instance(id).await?;
    let said = format!(
        "another instance of {} is to come in the place of {id}",
        reply.app
    );
    context.out.print(&reply, |_| format!("{said}\n"))?;
    if !wait.wait {
        return Ok(());
    }
    let over = Instant::now() + wait.timeout.duration();
    loop {
        let all = context.client.instances(Some(&reply.app)).await?;
        let left = all.iter().find(|i| i.id == *id && !i.life.is_over());
        match left {
            None => return Ok(()),
            Some(left) if Instant::now() > over => bail!(
                "{id} is still {}; the app waits for a replacement that is ready: `hancock ps {}`",
                left.life,
                reply.app
            ),
            Some(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

/// A line for everything known.
fn text(instance: &InstanceView, out: &Out) -> String {
    let listed = show::instances(std::slice::from_ref(instance), out);
    let ready = instance.ready.as_ref();
    let ready = ready.map(|c| format!("{} for {}: {}", word(c.value), age(c.since), c.reason));
    let lines = [
        ("routed", Some(word(instance.routed).to_owned())),
        ("ready", ready),
        ("restarts", Some(instance.restarts.to_string())),
        ("digest", instance.image_digest.clone()),
        ("reason", instance.reason.clone()),
    ];
    let lines = lines.into_iter().filter_map(|(name, value)| {
        Some(format!("{name:10} {}\n", super::table::harmless(&value?)))
    });
    format!("{listed}\n{}", lines.collect::<String>())
}

fn word(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
