//! From a document to an upstream: every check, and every default.

use std::sync::Arc;
use std::time::Duration;

use hancock_proto::upstream::{HttpOpts, Level, Member, Server, UpstreamDoc};

use super::{Checks, Handover, Login, Mode, PeerKey, PeerSpec, ProbeKind, Upstream, bare};
use crate::maglev;
use crate::passive::{Limits, Rule};
use crate::ring::MAX_POINTS;
use crate::settings;

/// What is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct InvalidUpstream {
    /// Path of the field, like `cluster[0].servers[2].port`.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

pub(crate) fn wrong<T>(
    field: impl Into<String>,
    problem: impl Into<String>,
) -> Result<T, InvalidUpstream> {
    Err(InvalidUpstream {
        field: clipped(field.into()),
        problem: clipped(problem.into()),
    })
}

/// Longest text that is told of a document, in bytes.
const TOLD: usize = 400;

/// The beginning of what is told: nobody is sent back a megabyte, and no log is filled with it.
pub fn clipped(mut text: String) -> String {
    if text.len() > TOLD {
        text.truncate(text.floor_char_boundary(TOLD));
        text.push('…');
    }
    text
}

/// Longest time a document may ask for, in seconds.
const MAX_SECONDS: f64 = 86_400.0;
/// Ban after one dead connection, for one second: a killed instance costs one attempt per second, and comes back as fast.
const OURS: Limits = Limits {
    max_fails: 1,
    window_ms: 1000,
    rule: Rule::FromFailure,
};

pub(super) fn validate(name: &str, doc: Arc<UpstreamDoc>) -> Result<Upstream, InvalidUpstream> {
    if doc.cluster.is_empty() {
        return wrong("cluster", "is empty, a document needs at least one level");
    }
    let ours = doc.hancock.is_some();
    let mut levels = Vec::with_capacity(doc.cluster.len());
    for (at, level) in doc.cluster.iter().enumerate() {
        levels.push(read_level(&format!("cluster[{at}].servers"), level, ours)?);
    }
    let mode = Mode::read(doc.mode.as_deref());
    match mode {
        Mode::Ring(_) => levels.iter().try_for_each(|level| read_ring(level))?,
        Mode::Maglev(_) => read_tables(&levels)?,
        Mode::Rotation | Mode::LeastConn | Mode::P2c => {}
    }
    let handover = match &doc.hancock {
        Some(member) => Some(read_member(member, &levels)?),
        None => None,
    };
    Ok(Upstream {
        name: name.into(),
        mode,
        slow_start: seconds("slow_start", doc.slow_start, 0.0)?,
        checks: read_checks(&doc)?,
        settings: settings::read(name, doc.proxy.as_ref(), &levels, !ours)?,
        levels,
        handover,
        doc,
    })
}

fn read_level(field: &str, level: &Level, ours: bool) -> Result<Vec<PeerSpec>, InvalidUpstream> {
    // A master empties a level to stop an app; from anybody else it is a mistake.
    if level.servers.is_empty() && !ours {
        return wrong(field, "is empty, a level needs at least one server");
    }
    level
        .servers
        .iter()
        .enumerate()
        .map(|(at, server)| read_server(&format!("{field}[{at}]"), server, ours))
        .collect()
}

/// Every server gets 20 points per unit of the level's weight: no document may fill a node's memory with them.
fn read_ring(level: &[PeerSpec]) -> Result<(), InvalidUpstream> {
    let weights: f64 = level.iter().map(|s| s.weight).sum();
    let points = weights * 20.0 * level.len() as f64;
    if level.len() > 1 && points > MAX_POINTS as f64 {
        let problem = format!(
            "a hash ring of {points} points is too large, use smaller weights; at most {MAX_POINTS}"
        );
        return wrong("cluster", problem);
    }
    Ok(())
}

/// Tables of a fixed size, so it is their number that is bounded, and how many servers share one.
fn read_tables(levels: &[Vec<PeerSpec>]) -> Result<(), InvalidUpstream> {
    let tables = levels.iter().filter(|level| level.len() > 1).count();
    if tables > maglev::MAX_TABLES {
        let most = maglev::MAX_TABLES;
        let problem = format!("{tables} levels are too many for maglev tables; at most {most}");
        return wrong("cluster", problem);
    }
    for (at, level) in levels.iter().enumerate() {
        let (servers, most) = (level.len(), maglev::MAX_SERVERS);
        if servers > most {
            let problem = format!("{servers} are too many for a maglev table; at most {most}");
            return wrong(format!("cluster[{at}].servers"), problem);
        }
    }
    Ok(())
}

fn read_server(field: &str, server: &Server, ours: bool) -> Result<PeerSpec, InvalidUpstream> {
    if !is_host(&server.host) {
        let problem = format!("{:?} is neither an address nor a host name", server.host);
        return wrong(format!("{field}.host"), problem);
    }
    if server.port == 0 {
        return wrong(format!("{field}.port"), "0 is not a port, use 1 to 65535");
    }
    let weight = server.weight.unwrap_or(1.0);
    if !weight.is_finite() || weight < 0.0 {
        let problem = format!("{weight} is not a weight, use a number from 0 up");
        return wrong(format!("{field}.weight"), problem);
    }
    Ok(PeerSpec {
        key: PeerKey {
            host: server.host.as_str().into(),
            port: server.port,
            instance: server.instance.clone(),
        },
        weight,
        limits: read_limits(field, server, ours)?,
    })
}

fn read_limits(field: &str, server: &Server, ours: bool) -> Result<Limits, InvalidUpstream> {
    if ours && server.max_fails.is_none() {
        return Ok(OURS);
    }
    let window = seconds(&format!("{field}.fail_timeout"), server.fail_timeout, 10.0)?;
    Ok(Limits {
        max_fails: server.max_fails.unwrap_or(0),
        window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
        rule: Rule::FromPick,
    })
}

fn seconds(field: &str, value: Option<f64>, default: f64) -> Result<Duration, InvalidUpstream> {
    let value = value.unwrap_or(default);
    if value.is_finite() && (0.0..=MAX_SECONDS).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        wrong(
            field,
            format!("{value} is not a time, use 0 to {MAX_SECONDS} seconds"),
        )
    }
}

fn read_checks(doc: &UpstreamDoc) -> Result<Checks, InvalidUpstream> {
    Ok(Checks {
        enabled: doc.enable.unwrap_or(true),
        probe: read_probe(doc)?,
        timeout: seconds("timeout", doc.timeout, 5.0)?,
        sensibility: doc.sensibility.unwrap_or(1).max(1),
        protected: doc.protected.unwrap_or(true),
    })
}

fn read_probe(doc: &UpstreamDoc) -> Result<ProbeKind, InvalidUpstream> {
    let opts = match (doc.typ.as_deref(), &doc.http_opts) {
        (Some("http"), Some(opts)) => opts,
        (Some("redis"), _) => return Ok(ProbeKind::Redis),
        (Some("mysql"), _) => return Ok(ProbeKind::Mysql(read_login(doc)?)),
        _ => return Ok(ProbeKind::Connect),
    };
    let Some(query) = &opts.query else {
        return Ok(ProbeKind::Connect);
    };
    Ok(ProbeKind::Http {
        query: query.as_bytes().to_vec(),
        refused: refused_codes(opts),
    })
}

/// Codes mapped to false. What is no number can never be answered.
fn refused_codes(opts: &HttpOpts) -> Option<Vec<u64>> {
    let statuses = opts.statuses.as_ref()?.iter();
    let refused = statuses.filter(|(_, good)| **good == serde_json::Value::Bool(false));
    Some(refused.filter_map(|(code, _)| code.parse().ok()).collect())
}

fn read_login(doc: &UpstreamDoc) -> Result<Login, InvalidUpstream> {
    let text = |key: &str| match doc.other.get(key) {
        None | Some(serde_json::Value::Null) => Ok(String::new()),
        Some(serde_json::Value::String(text)) if !text.contains('\0') => Ok(text.clone()),
        Some(_) => wrong(key, "is not a text that a login could use"),
    };
    Ok(Login {
        user: text("user")?,
        password: text("pass")?,
        database: text("name")?,
    })
}

fn read_member(member: &Member, levels: &[Vec<PeerSpec>]) -> Result<Handover, InvalidUpstream> {
    for instance in &member.added {
        let listed = levels
            .iter()
            .flatten()
            .any(|p| p.key.instance.as_ref() == Some(instance));
        if !listed {
            return wrong(
                "hancock.added",
                format!("{instance} is not a server of any level"),
            );
        }
    }
    let retiring = member.retiring.iter().enumerate();
    let retiring = retiring
        .map(|(at, server)| read_server(&format!("hancock.retiring[{at}]"), server, true))
        .collect::<Result<_, _>>()?;
    Ok(Handover {
        app: member.app.clone(),
        index: member.index,
        added: member.added.clone(),
        retiring,
        max_unavailable: member.max_unavailable as usize,
        accept_timeout: Duration::from_millis(member.accept_timeout_ms),
        session_drain_timeout: member.session_drain_timeout_ms.map(Duration::from_millis),
        check: member.check.clone(),
    })
}

/// An IPv4 or IPv6 literal, bracketed or not, or a host name by the usual rules.
fn is_host(host: &str) -> bool {
    bare(host).parse::<std::net::IpAddr>().is_ok() || is_name(host)
}

fn is_name(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // All digits would be a mistyped address.
    host.len() <= 253
        && host.split('.').all(label)
        && !host.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<Upstream, String> {
        let doc: UpstreamDoc = serde_json::from_str(json).expect("a document");
        validate("web", Arc::new(doc)).map_err(|e| e.to_string())
    }

    fn one(server: &str) -> Result<Upstream, String> {
        check(&format!(r#"{{"cluster":[{{"servers":[{server}]}}]}}"#))
    }

    #[test]
    fn defaults_are_the_originals() {
        let up = one(r#"{"host":"127.0.0.1","port":80}"#).expect("valid");
        let peer = &up.levels[0][0];
        assert_eq!(
            (peer.weight, peer.limits.max_fails, peer.limits.window_ms),
            (1.0, 0, 10_000)
        );
        assert_eq!(up.mode, Mode::Rotation);
        assert!(up.checks.enabled && up.checks.protected && up.checks.sensibility == 1);
    }

    #[test]
    fn mistakes_name_the_field() {
        for (server, field) in [
            (r#"{"host":"","port":80}"#, "cluster[0].servers[0].host"),
            (r#"{"host":"a b","port":80}"#, "cluster[0].servers[0].host"),
            (
                r#"{"host":"1.2.3","port":80}"#,
                "cluster[0].servers[0].host",
            ),
            (r#"{"host":"a","port":0}"#, "cluster[0].servers[0].port"),
            (
                r#"{"host":"a","port":1,"weight":-1}"#,
                "cluster[0].servers[0].weight",
            ),
            (
                r#"{"host":"a","port":1,"fail_timeout":-1}"#,
                "cluster[0].servers[0].fail_timeout",
            ),
        ] {
            let error = one(server).expect_err(server);
            assert!(error.starts_with(field), "{error}");
        }
        assert!(
            check(r#"{"cluster":[]}"#)
                .expect_err("empty")
                .starts_with("cluster: ")
        );
        assert!(check(r#"{"cluster":[{"servers":[]}]}"#).is_err());
    }

    #[test]
    fn a_long_mistake_is_told_in_short() {
        let server = format!(r#"{{"host":"{}","port":80}}"#, "ä ".repeat(100_000));
        let error = one(&server).expect_err("no host");
        assert!(error.starts_with("cluster[0].servers[0].host: \"ä"));
        assert!(error.len() < 2 * TOLD && error.ends_with('…'), "{error}");
    }

    #[test]
    fn every_form_of_host_is_read() {
        for host in ["10.0.0.1", "[::1]", "::1", "a.example", "store_1", "x."] {
            assert!(is_host(host), "{host}");
        }
        for host in ["", "[", "a..b", "-a", "a/b", "1.2.3.4.5", "::g"] {
            assert!(!is_host(host), "{host}");
        }
    }

    #[test]
    fn a_masters_document_may_be_empty_and_must_list_what_it_adds() {
        let member = r#""hancock":{"app":"web","index":3,"accept_timeout_ms":1000"#;
        let empty = format!(r#"{{"cluster":[{{"servers":[]}}],{member}}}}}"#);
        assert!(check(&empty).is_ok());
        let unlisted = format!(r#"{{"cluster":[{{"servers":[]}}],{member},"added":["web-1"]}}}}"#);
        assert!(
            check(&unlisted)
                .expect_err("unlisted")
                .starts_with("hancock.added")
        );
    }
}
