//! `hancock zone`: sets of nodes, what their balancers carry, and what goes on there.

mod pick;
mod top;
mod upstreams;

use std::collections::BTreeMap;
use std::process::ExitCode;

use hancock_proto::api::{AddServerRequest, ZoneView};
use hancock_proto::ids::ZoneName;
use hancock_proto::service::ServiceName;
use hancock_proto::units::Span;
use hancock_proto::zone::Zone;

use super::Context;
use super::out::Out;
use super::table::{Cell, Table};

/// Nodes named in a list before the rest is only counted.
const SHOWN: usize = 4;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List zones
    List,
    /// Make a zone, or change one that nothing uses
    Create(Create),
    /// Delete a zone that nothing uses
    Delete {
        /// Name of the zone
        zone: ZoneName,
    },
    /// List a zone's services with their peers
    Upstreams {
        /// Name of the zone
        #[arg(default_value_t)]
        zone: ZoneName,
    },
    /// Add a server to an upstream that no app owns
    Add(Add),
    /// Delete an upstream that no app owns
    DeleteUpstream {
        /// Name of the zone
        zone: ZoneName,
        /// The upstream: a host, or :PORT
        name: ServiceName,
    },
    /// Say which peer a request would get, and why
    Pick(pick::Args),
    /// Show what goes on in each service
    Top(top::Args),
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// Name of the zone
    zone: ZoneName,
    /// A label its nodes have; several mean all of them
    #[arg(long, value_name = "LABEL=VALUE", value_parser = label)]
    selector: Vec<(String, String)>,
    /// Balancers that are not agents read it too and do not confirm: give them this long [default: 10s]
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "10s")]
    external_settle: Option<Span>,
}

#[derive(Debug, clap::Args)]
pub struct Add {
    /// Name of the zone
    zone: ZoneName,
    /// The upstream: a host, or :PORT
    name: ServiceName,
    /// The server
    #[arg(value_name = "HOST:PORT", value_parser = server)]
    server: (String, u16),
    /// Its share beside the others
    #[arg(long, value_name = "N")]
    weight: Option<u32>,
}

/// Runs one of them.
pub async fn run(context: &Context, command: Command) -> anyhow::Result<ExitCode> {
    let Context { client, out } = context;
    match command {
        Command::List => out.print(&client.zones().await?, |zones| list(zones, out))?,
        Command::Create(args) => create(context, args).await?,
        Command::Delete { zone } => {
            client.delete_zone(&zone).await?;
            done(out, format!("zone {zone} is deleted"))?;
        }
        Command::Upstreams { zone } => {
            let list = client.upstreams(&zone).await?;
            out.print(&list, |list| upstreams::text(&zone, list, out))?;
        }
        Command::Add(args) => add(context, args).await?,
        Command::DeleteUpstream { zone, name } => {
            client.delete_upstream(&zone, &name).await?;
            done(out, format!("{name} is not served in zone {zone} any more"))?;
        }
        Command::Pick(args) => return pick::run(context, &args).await,
        Command::Top(args) => return top::run(context, &args).await,
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(context: &Context, args: Create) -> anyhow::Result<()> {
    let zone = Zone {
        selector: args.selector.into_iter().collect::<BTreeMap<_, _>>(),
        external_settle: args.external_settle,
    };
    let view = context.client.put_zone(&args.zone, &zone).await?;
    let text = |view: &ZoneView| format!("zone {} has {}", view.zone, nodes(view));
    Ok(context.out.print(&view, text)?)
}

async fn add(context: &Context, args: Add) -> anyhow::Result<()> {
    let (host, port) = args.server;
    let told = format!(
        "{} is served by {host}:{port} in zone {}",
        args.name, args.zone
    );
    let request = AddServerRequest {
        name: args.name,
        host,
        port,
        weight: args.weight,
    };
    context.client.add_server(&args.zone, &request).await?;
    done(&context.out, told)
}

/// Words for people; programs have the exit code.
fn done(out: &Out, text: String) -> anyhow::Result<()> {
    Ok(out.print(&serde_json::json!({"done": true}), |_| text)?)
}

fn list(zones: &[ZoneView], out: &Out) -> String {
    let mut table = Table::new(&["ZONE", "SELECTOR", "SERVICES", "SETTLE", "NODES"]);
    for zone in zones {
        let labels = zone
            .selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        let settle = zone.external_settle.map(|time| time.to_string());
        table.row([
            Cell::from(&zone.zone),
            labels.collect::<Vec<_>>().join(",").into(),
            zone.services.into(),
            settle.unwrap_or_default().into(),
            nodes(zone).into(),
        ]);
    }
    table.render(out)
}

fn nodes(zone: &ZoneView) -> String {
    let names: Vec<_> = zone.nodes.iter().map(ToString::to_string).collect();
    let shown = &names[..names.len().min(SHOWN)];
    match names.len().saturating_sub(SHOWN) {
        _ if names.is_empty() => "no nodes".to_owned(),
        0 => shown.join(" "),
        more => format!("{} and {more} more", shown.join(" ")),
    }
}

/// `LABEL=VALUE`.
pub fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not a label; write it like city=oslo")),
    }
}

/// `HOST:PORT`, an IPv6 address in brackets.
fn server(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is not an address; write it like 10.0.0.1:8001");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let port = port
        .parse()
        .ok()
        .filter(|port| *port > 0)
        .ok_or_else(wrong)?;
    match bare.unwrap_or(host) {
        "" => Err(wrong()),
        host if host.contains(':') && bare.is_none() => Err(wrong()),
        host => Ok((host.to_owned(), port)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::out::Format;

    #[test]
    fn addresses_and_labels_are_read_at_the_door() {
        assert_eq!(server("10.0.0.1:80").unwrap(), ("10.0.0.1".to_owned(), 80));
        assert_eq!(server("[::1]:80").unwrap(), ("::1".to_owned(), 80));
        for wrong in ["10.0.0.1", ":80", "::1:80", "a:0", "a:70000"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
        assert_eq!(label("city=").unwrap(), ("city".to_owned(), String::new()));
        assert!(label("city").is_err() && label("=oslo").is_err());
    }

    #[test]
    fn zones_are_a_table() {
        let zone = |zone: &str, nodes: &[&str]| ZoneView {
            zone: zone.parse().unwrap(),
            selector: BTreeMap::from([("city".to_owned(), zone.to_owned())]),
            external_settle: None,
            nodes: nodes.iter().map(|n| n.parse().unwrap()).collect(),
            services: 2,
        };
        let zones = [
            zone("bergen", &[]),
            zone("oslo", &["n1", "n2", "n3", "n4", "n5"]),
        ];
        assert_eq!(
            list(&zones, &Out::new(Format::Text)),
            "ZONE     SELECTOR      SERVICES   NODES\n\
             bergen   city=bergen   2          no nodes\n\
             oslo     city=oslo     2          n1 n2 n3 n4 and 1 more\n"
        );
    }
}
