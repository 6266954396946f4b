//! Reads an app spec from a file, with every problem at its line: `web.yaml:7: ports[0].container: …`.
//!
//! YAML, TOML and JSON say the same thing; which one it is, the file's name tells. Each becomes a JSON value and a map from path to line.

mod document;
mod json;
mod local;
mod toml;
mod yaml;

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use hancock_proto::app::{AppSpec, Problem};

use super::exit;
use document::{Document, Syntax};

/// Longest spec read; a longer file is not a spec.
const LONGEST: u64 = 1 << 20;

/// A spec that cannot be used.
#[derive(Debug)]
pub enum SpecError {
    /// The file cannot be read.
    Read {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The file was read and is wrong.
    Invalid {
        /// The file.
        file: String,
        /// Everything wrong, in the order of the file.
        problems: Vec<Located>,
    },
}

/// A problem and its line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Located {
    /// Line, from 1.
    pub line: usize,
    /// Path and message.
    #[serde(flatten)]
    pub problem: Problem,
}

impl SpecError {
    /// The exit code it stands for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Read { .. } => exit::FAILED,
            Self::Invalid { .. } => exit::REFUSED,
        }
    }

    fn read(file: &str, reason: &impl ToString) -> Self {
        Self::Read {
            file: file.to_owned(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, reason } => write!(f, "cannot read {file}: {reason}"),
            Self::Invalid { file, problems } => {
                for (n, Located { line, problem }) in problems.iter().enumerate() {
                    let end = if n > 0 { "\n" } else { "" };
                    let colon = if problem.path.is_empty() { "" } else { ": " };
                    let Problem { path, message } = problem;
                    write!(f, "{end}{file}:{line}: {path}{colon}{message}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for SpecError {}

/// How a spec is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Yaml,
    Toml,
    Json,
}

impl Encoding {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    fn parse(self, text: &str) -> Result<Document, Syntax> {
        match self {
            Self::Yaml => yaml::parse(text),
            Self::Toml => toml::parse(text),
            Self::Json => json::parse(text),
        }
    }
}

/// Reads and checks the spec in `path`; `-` is YAML from standard input.
///
/// # Errors
/// The file cannot be read, or all that is wrong with it.
pub fn read(path: &Path) -> Result<AppSpec, SpecError> {
    if path == Path::new("-") {
        let text = limited("<stdin>", io::stdin().lock())?;
        return check("<stdin>", Encoding::Yaml, &text);
    }
    let file = path.display().to_string();
    let encoding = Encoding::of(path).ok_or_else(|| {
        let names =
            "its name must end in .yaml, .yml, .toml or .json; `-` reads YAML from standard input";
        SpecError::read(&file, &names)
    })?;
    let opened = std::fs::File::open(path).map_err(|e| SpecError::read(&file, &e))?;
    check(&file, encoding, &limited(&file, opened)?)
}

fn limited(file: &str, input: impl Read) -> Result<String, SpecError> {
    let mut text = String::new();
    input
        .take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(|e| SpecError::read(file, &e))?;
    match text.len() as u64 > LONGEST {
        true => Err(SpecError::read(
            file,
            &format!("longer than {LONGEST} bytes, so it is not an app spec"),
        )),
        false => Ok(text),
    }
}

fn check(file: &str, encoding: Encoding, text: &str) -> Result<AppSpec, SpecError> {
    let invalid = |problems| SpecError::Invalid {
        file: file.to_owned(),
        problems,
    };
    let mut document = encoding
        .parse(text)
        .map_err(|Syntax { line, message }| invalid(vec![located(line, "", message)]))?;
    let folder = Path::new(file).parent().unwrap_or(Path::new(""));
    let beside = local::fill(&mut document.value, folder);
    let decoded = AppSpec::decode(&document.value);
    let mut problems = document.duplicates();
    let found = decoded.as_ref().err().into_iter().flatten();
    problems.extend(beside.iter().chain(found).map(|p| Located {
        line: document.line(&p.path),
        problem: p.clone(),
    }));
    // Stable: problems of one line stay in the order they were found.
    problems.sort_by_key(|p| p.line);
    match decoded {
        Ok(spec) if problems.is_empty() => Ok(spec),
        _ => Err(invalid(problems)),
    }
}

fn located(line: usize, path: &str, message: String) -> Located {
    Located {
        line,
        problem: Problem {
            path: path.to_owned(),
            message,
        },
    }
}

#[cfg(test)]
mod tests;
