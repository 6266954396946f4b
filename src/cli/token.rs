//! The operator's token: from a file, or from the environment.

use std::path::Path;

use anyhow::{Context, bail};

/// Variable that holds the token.
const VARIABLE: &str = "HANCOCK_TOKEN";

/// The token in `file`, or in the environment; None: there is none.
///
/// # Errors
/// The file cannot be read, or is empty.
pub fn given(file: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = file else {
        let variable = std::env::var(VARIABLE).ok();
        return Ok(variable.filter(|token| !token.is_empty()));
    };
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read {shown}; give another file with --token-file"))?;
    match text.trim() {
        "" => bail!("{shown} holds no token; write one into it, or leave out --token-file"),
        token => Ok(Some(token.to_owned())),
    }
}
