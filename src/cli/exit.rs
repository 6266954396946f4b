//! What the program ends with.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed: a deployment that was waited for, a file that cannot be read, anything without a code of its own |
//! | 2 | the command line was not understood |
//! | 3 | the master cannot be reached, or there is no leader just now |
//! | 4 | refused: a spec or a request that is not valid, an unknown app |
//!
//! `hancock exec` ends with the code of the command it ran, and with 125 when it was not the command that failed.

use std::io;
use std::process::ExitCode;

use clap::error::ErrorKind;
use serde_json::Value;

use super::client::ClientError;
use super::out::Format;
use super::spec_file::SpecError;

/// It did not work.
pub const FAILED: u8 = 1;
/// The command line was not understood.
const MISUNDERSTOOD: u8 = 2;
/// Nobody to ask.
pub const UNREACHABLE: u8 = 3;
/// Asked and not accepted.
pub const REFUSED: u8 = 4;

/// An error for programs: the shape of the API's own, with lines where there is a file.
#[derive(Debug, PartialEq, serde::Serialize)]
struct Failure {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    problems: Value,
}

/// Prints `error` on standard error and gives the exit code it stands for.
pub fn report(error: &anyhow::Error, format: Format) -> ExitCode {
    if is_closed_pipe(error) {
        // `hancock ps | head`: the reader has what it wanted.
        return ExitCode::SUCCESS;
    }
    match format {
        Format::Text => eprintln!("{}", text(error)),
        Format::Json => eprintln!("{}", serde_json::json!(failure(error))),
    }
    ExitCode::from(code(error))
}

/// Prints why the command line was not understood, or the help that was asked for.
pub fn misunderstood(error: &clap::Error) -> ExitCode {
    match error.kind() {
        // A value that is none needs no reminder of the whole usage.
        ErrorKind::ValueValidation => {
            let text = error.to_string();
            eprintln!("{}; see --help", text.lines().next().unwrap_or_default());
            ExitCode::from(MISUNDERSTOOD)
        }
        _ => error.exit(),
    }
}

fn text(error: &anyhow::Error) -> String {
    // Problems of a spec are one per line, each with its place, as compilers print them.
    match error.downcast_ref::<SpecError>() {
        Some(invalid @ SpecError::Invalid { .. }) => invalid.to_string(),
        _ => format!("error: {error:#}"),
    }
}

fn failure(error: &anyhow::Error) -> Failure {
    let client = error.chain().find_map(|e| e.downcast_ref::<ClientError>());
    let spec = error.chain().find_map(|e| e.downcast_ref::<SpecError>());
    let (code, problems) = match (client, spec) {
        (Some(ClientError::Refused(refused)), _) if refused.problems.is_empty() => {
            (refused.code.as_str(), Value::Null)
        }
        (Some(ClientError::Refused(refused)), _) => {
            (refused.code.as_str(), serde_json::json!(refused.problems))
        }
        (Some(ClientError::NoLeader { .. }), _) => ("no_leader", Value::Null),
        (Some(ClientError::Busy { .. }), _) => ("busy", Value::Null),
        (Some(client), _) if client.is_passing() => ("unreachable", Value::Null),
        (None, Some(SpecError::Invalid { problems, .. })) => {
            ("invalid_spec", serde_json::json!(problems))
        }
        _ => ("failed", Value::Null),
    };
    Failure {
        code: code.to_owned(),
        message: format!("{error:#}"),
        problems,
    }
}

fn code(error: &anyhow::Error) -> u8 {
    let client = error.chain().find_map(|e| e.downcast_ref::<ClientError>());
    let spec = error.chain().find_map(|e| e.downcast_ref::<SpecError>());
    match (client, spec) {
        (Some(client), _) => client.exit_code(),
        (None, Some(spec)) => spec.exit_code(),
        (None, None) => FAILED,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<io::Error>())
        .any(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use hancock_proto::api::ApiError;

    use super::*;

    #[test]
    fn codes_tell_apart_what_went_wrong() {
        let refused = ClientError::Refused(ApiError {
            code: "app_not_found".to_owned(),
            message: "there is no app \"x\"".to_owned(),
            problems: Vec::new(),
        });
        let error = anyhow::Error::from(refused).context("cannot scale x");
        assert_eq!(code(&error), REFUSED);
        assert_eq!(text(&error), "error: cannot scale x: there is no app \"x\"");
        assert_eq!(
            serde_json::json!(failure(&error)),
            serde_json::json!({"code": "app_not_found", "message": "cannot scale x: there is no app \"x\""})
        );
        assert_eq!(code(&anyhow::anyhow!("disk full")), FAILED);
        let pipe = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(is_closed_pipe(&pipe));
    }
}
