//! `hancock app list`.

use std::process::ExitCode;

use hancock_proto::api::AppSummary;

use crate::cli::Context;
use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};

/// Lists apps.
pub async fn run(context: &Context) -> anyhow::Result<ExitCode> {
    let apps = context.client.apps().await?;
    context.out.print(&apps, |apps| text(apps, &context.out))?;
    Ok(ExitCode::SUCCESS)
}

fn text(apps: &[AppSummary], out: &Out) -> String {
    if apps.is_empty() {
        return "no apps yet; `hancock app init > web.yaml` makes an example to apply".to_owned();
    }
    let mut table = Table::new(&["APP", "VERSION", "SERVING", "DEPLOYMENT", "HOSTS"]);
    for app in apps {
        table.row([
            Cell::from(&app.app),
            app.version.into(),
            serving(app),
            app.deployment.clone().unwrap_or_default().into(),
            places(app).into(),
        ]);
    }
    table.render(out)
}

/// Where clients reach it: hosts, and ports of every node.
pub fn places(app: &AppSummary) -> String {
    let ports = app.listens.iter().map(|port| format!(":{port}"));
    let places: Vec<_> = app.hosts.iter().cloned().chain(ports).collect();
    places.join(" ")
}

/// How many of the wanted instances serve.
pub fn serving(app: &AppSummary) -> Cell {
    let (text, tone) = match (app.stopped, app.serving >= app.replicas) {
        (true, _) => ("stopped".to_owned(), Tone::Faint),
        (false, true) => (format!("{}/{}", app.serving, app.replicas), Tone::Good),
        (false, false) => (format!("{}/{}", app.serving, app.replicas), Tone::Busy),
    };
    Cell::toned(text, tone)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hancock_proto::ids::Version;

    use super::*;
    use crate::cli::out::Format;

    #[test]
    fn apps_are_a_table_and_none_a_hint() {
        let out = Out::new(Format::Text);
        assert!(text(&[], &out).contains("hancock app init"));
        let app = AppSummary {
            app: "web".parse().unwrap(),
            version: Version(2),
            stopped: false,
            replicas: 3,
            serving: 2,
            deployment: Some("starting".to_owned()),
            hosts: vec!["web.example".to_owned(), "www.example".to_owned()],
            listens: vec![3131],
        };
        assert_eq!(
            text(&[app], &out),
            "APP   VERSION   SERVING   DEPLOYMENT   HOSTS\nweb   2         2/3       starting     web.example www.example :3131\n"
        );
    }
}
