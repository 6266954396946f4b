//! The cluster's join token: from the options, from a file, or from the environment.

use std::path::Path;

use anyhow::{Context, bail};

/// Variable that holds the token.
const VARIABLE: &str = "HANCOCK_JOIN_TOKEN";

/// The token to show.
///
/// # Errors
/// There is none, or two are named.
pub(super) fn given(text: Option<&str>, file: Option<&Path>) -> anyhow::Result<String> {
    let token = match (text, file) {
        (Some(_), Some(_)) => {
            bail!("join-token and join-token-file are both given; leave one of them out")
        }
        (Some(text), None) => text.to_owned(),
        (None, Some(path)) => read(path)?,
        (None, None) => std::env::var(VARIABLE).unwrap_or_default(),
    };
    match token.trim() {
        "" => bail!(
            "a node needs the join token that `hancock master init` printed; give it with --join-token-file FILE or {VARIABLE}"
        ),
        token if token.chars().all(|c| c.is_ascii_graphic()) => Ok(token.to_owned()),
        _ => bail!(
            "the join token has characters no token has; copy it as `hancock master init` printed it"
        ),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {shown}; give another file with --join-token-file"))
}
