//! `hancock app init`: a commented example spec.

use std::process::ExitCode;

use hancock_proto::ids::AppName;

use crate::cli::out::{Format, Out};

/// The example; a test keeps it valid.
const EXAMPLE: &str = include_str!("init.yaml");

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the app in the example
    #[arg(default_value = "web")]
    app: AppName,
}

/// Prints the example.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    Out::new(Format::Text).text(&example(&args.app))?;
    Ok(ExitCode::SUCCESS)
}

fn example(app: &AppName) -> String {
    EXAMPLE
        .replace("app: web ", &format!("app: {app} "))
        .replace("web.localhost", &format!("{app}.localhost"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::cli::spec_file;

    #[test]
    fn the_example_is_valid_under_any_name() {
        for name in ["web", "shop-2"] {
            let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
            std::fs::write(file.path(), example(&name.parse().unwrap())).unwrap();
            let spec = spec_file::read(file.path()).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(spec.app.as_str(), name);
            assert!(spec.hosts().contains(format!("{name}.localhost").as_str()));
        }
    }
}
