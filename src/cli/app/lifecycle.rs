//! `hancock app restart`, `stop`, `start` and `delete`.

use std::process::ExitCode;

use crate::cli::args::AppWaitArgs;
use crate::cli::{Context, wait};

/// What is done to the whole app.
#[derive(Debug, Clone, Copy)]
pub enum Deed {
    Restart,
    Stop,
    Start,
    Delete,
}

/// Does it.
pub async fn run(context: &Context, args: &AppWaitArgs, deed: Deed) -> anyhow::Result<ExitCode> {
    let (client, app) = (&context.client, &args.app.app);
    let (reply, done) = match deed {
        Deed::Restart => (client.app_deed(app, "restart").await?, "restarted"),
        Deed::Stop => (client.app_deed(app, "stop").await?, "stopped"),
        Deed::Start => (client.app_deed(app, "start").await?, "started"),
        Deed::Delete => (client.delete(app).await?, "deleted"),
    };
    wait::after(context, &reply, done, &args.wait).await
}
