//! `hancock app validate`: every problem of a spec, without a master.

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use crate::cli::out::Out;
use crate::cli::spec_file::{self, Located, SpecError};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Spec in YAML, TOML or JSON, by its extension; `-` reads YAML from standard input
    file: PathBuf,
}

/// What programs read.
#[derive(Serialize)]
struct Verdict {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<Located>,
}

/// Checks the file.
pub fn run(args: &Args, out: &Out) -> anyhow::Result<ExitCode> {
    let verdict = |problems: Vec<Located>| Verdict {
        file: args.file.display().to_string(),
        valid: problems.is_empty(),
        problems,
    };
    match spec_file::read(&args.file) {
        Ok(spec) => {
            out.print(&verdict(Vec::new()), |v| {
                format!("{}: app {} is valid", v.file, spec.app)
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Err(SpecError::Invalid { problems, .. }) if out.is_json() => {
            out.json(&verdict(problems))?;
            Ok(ExitCode::from(crate::cli::exit::REFUSED))
        }
        Err(error) => Err(error.into()),
    }
}
