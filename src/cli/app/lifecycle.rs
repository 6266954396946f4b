//! `hancock app restart`, `stop` and `start`.

use std::process::ExitCode;

use crate::cli::args::AppWaitArgs;
use crate::cli::deed::Deed;
use crate::cli::{Context, wait};

/// Asks for `word`, which is `deed` in the API's words.
pub async fn run(
    context: &Context,
    args: &AppWaitArgs,
    word: &str,
    deed: Deed,
) -> anyhow::Result<ExitCode> {
    let reply = context.client.app_deed(&args.app.app, word).await?;
    wait::after(context, &reply, deed, &args.wait).await
}
