//! `hancock zone pick`: which peer a request would get, and why. Asks the pickers that serve requests.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::process::ExitCode;

use hancock_balancer::choose::{Choice, LooksAt, Question, choose};
use hancock_proto::api::UpstreamView;
use hancock_proto::ids::ZoneName;
use hancock_proto::service::ServiceName;
use serde_json::json;

use crate::cli::Context;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the zone
    zone: ZoneName,
    /// The service: a host, or :PORT
    name: ServiceName,
    /// What the request has as X-Hash-Key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The request's target, query included
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// The client's address
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
}

/// Says it.
pub async fn run(context: &Context, args: &Args) -> anyhow::Result<ExitCode> {
    let Args { zone, name, .. } = args;
    let list = context.client.upstreams(zone).await?;
    let Some(upstream) = list.into_iter().find(|upstream| upstream.name == *name) else {
        anyhow::bail!(
            "zone {zone} has no service {name}; `hancock zone upstreams {zone}` shows those there are"
        );
    };
    let failing = failing(&upstream);
    let question = Question {
        target: args.uri.clone(),
        client: args.client,
        header: args.key.clone(),
    };
    let choice = choose(name, &upstream.doc, &question, &failing);
    let choice = choice.map_err(|problem| anyhow::anyhow!("the document of {name}: {problem}"))?;
    missing(args, &choice)?;
    let value = json!({
        "name": name, "mode": choice.mode, "looks_at": word(choice.looks_at), "hash": choice.hash, "peer": choice.peer,
        "own": choice.own, "failing": failing,
        "shares": choice.shares.iter().map(|(peer, share)| json!({"peer": peer, "share": share})).collect::<Vec<_>>(),
    });
    context
        .out
        .print(&value, |_| text(args, &choice, &failing))?;
    Ok(ExitCode::SUCCESS)
}

/// Peers no balancer of the zone would take.
fn failing(upstream: &UpstreamView) -> BTreeSet<String> {
    let bad = upstream.peers.iter();
    let bad = bad.filter(|peer| matches!(peer.health.as_str(), "failing" | "not ready"));
    bad.map(|peer| peer.address.clone()).collect()
}

/// A mode that looks at what was not given cannot be answered for.
fn missing(args: &Args, choice: &Choice) -> anyhow::Result<()> {
    let (mode, name) = (choice.mode, &args.name);
    match choice.looks_at {
        LooksAt::Path if args.uri.is_none() => {
            anyhow::bail!("{name} goes by {mode}, which looks at the path; give it with --uri URI")
        }
        LooksAt::Client if args.client.is_none() => {
            anyhow::bail!(
                "{name} goes by {mode}, which looks at the client's address; give it with --client IP"
            )
        }
        LooksAt::Header if args.key.is_none() && args.uri.is_none() => {
            anyhow::bail!(
                "{name} goes by {mode}, which looks at X-Hash-Key; give it with --key KEY, or --uri URI for a request without one"
            )
        }
        _ => Ok(()),
    }
}

fn word(looks_at: LooksAt) -> &'static str {
    match looks_at {
        LooksAt::Nothing => "nothing",
        LooksAt::Path => "path",
        LooksAt::Client => "client",
        LooksAt::Header => "header",
    }
}

fn text(args: &Args, choice: &Choice, failing: &BTreeSet<String>) -> String {
    let mode = choice.mode;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = match (&choice.peer, &choice.own, choice.hash) {
        (Some(peer), own, Some(hash)) => {
            let key = key(args, choice);
            let why = match own {
                Some(own) if own != peer => format!("; its own peer {own} is not well"),
                _ => String::new(),
            };
            writeln!(
                text,
                "{peer}\n  mode {mode}: {key} hashes to {hash:#x}{why}"
            )
        }
        (None, _, Some(_)) => writeln!(text, "nobody\n  mode {mode}: no peer is well"),
        _ => writeln!(
            text,
            "any of these\n  mode {mode}: a key decides nothing; over time each gets its share"
        ),
    };
    for (peer, share) in choice.shares.iter().filter(|_| choice.hash.is_none()) {
        let _ = writeln!(text, "  {:>5.1} %  {peer}", share * 100.0);
    }
    for peer in failing {
        let _ = writeln!(text, "  not picked: {peer}");
    }
    text
}

/// What was hashed.
fn key(args: &Args, choice: &Choice) -> String {
    match (choice.looks_at, &args.key, &args.uri, args.client) {
        (LooksAt::Header, Some(key), ..) => format!("key {key:?}"),
        (LooksAt::Client, _, _, Some(client)) => format!("client {client}"),
        (_, _, Some(uri), _) => format!("the path of {uri}"),
        _ => "the key".to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn args(key: Option<&str>) -> Args {
        Args {
            zone: ZoneName::default(),
            name: "web.test".parse().unwrap(),
            key: key.map(str::to_owned),
            uri: None,
            client: None,
        }
    }

    fn choice(mode: &str, args: &Args, failing: &BTreeSet<String>) -> Choice {
        let server = |n: u32| json!({"host": format!("10.0.0.{n}"), "port": 80});
        let doc = json!({"cluster": [{"servers": [server(1), server(2)]}], "mode": mode});
        let question = Question {
            header: args.key.clone(),
            ..Question::default()
        };
        choose(
            &args.name,
            &serde_json::from_value(doc).unwrap(),
            &question,
            failing,
        )
        .unwrap()
    }

    #[test]
    fn the_answer_says_why() {
        let args = args(Some("alice"));
        let first = choice("header_hash", &args, &BTreeSet::new());
        let own = first.own.clone().unwrap();
        let said = text(&args, &first, &BTreeSet::new());
        assert!(
            said.starts_with(&own) && said.contains("key \"alice\" hashes to 0x"),
            "{said}"
        );
        let failing = BTreeSet::from([own.clone()]);
        let said = text(&args, &choice("header_hash", &args, &failing), &failing);
        assert!(
            said.contains(&format!("its own peer {own} is not well")),
            "{said}"
        );
        let said = text(
            &args,
            &choice("rr", &args, &BTreeSet::new()),
            &BTreeSet::new(),
        );
        assert!(said.contains("50.0 %  10.0.0.2:80"), "{said}");
    }

    #[test]
    fn what_the_mode_looks_at_must_be_given() {
        let blind = args(None);
        for (mode, flag) in [
            ("url_hash", "--uri"),
            ("ip_maglev", "--client"),
            ("header_hash", "--key"),
        ] {
            let error = missing(&blind, &choice(mode, &blind, &BTreeSet::new())).unwrap_err();
            assert!(error.to_string().contains(flag), "{error}");
        }
        assert!(missing(&blind, &choice("p2c", &blind, &BTreeSet::new())).is_ok());
    }
}
