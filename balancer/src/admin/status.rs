//! The status document: the original's fields, and ours under the key `hancock`.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use hancock_balancer_core::peer::Verdict;
use hancock_balancer_core::upstream::Mode;
use hancock_proto::time::Timestamp;

use crate::control::{Control, PeerLine, ServiceLines, now};

/// The version of the original this interface speaks.
const SPEAKS: &str = "1.1.2";
/// Checks count as alive this long after a round.
const OVERTIME: Duration = Duration::from_secs(60);

pub(crate) fn document(control: &Control) -> Value {
    let overview = control.overview();
    let mut out = Map::new();
    let (mut ours, mut modes) = (Map::new(), Map::new());
    for (name, service) in &overview.services {
        out.insert(format!("cls:{name}"), levels(name, service));
        if service.mode != Mode::Rotation {
            modes.insert(name.clone(), service.mode.word().into());
        }
        if let Some(report) = &service.report {
            ours.insert(name.clone(), json!(report));
        }
    }
    let alive = overview
        .last_check
        .is_some_and(|at| now().since(at) <= OVERTIME);
    out.insert("shd_config_version".to_owned(), overview.version.into());
    out.insert(
        "last_check_time".to_owned(),
        json!(overview.last_check.map(time)),
    );
    out.insert("checkup_timer_alive".to_owned(), alive.into());
    out.insert("start_time".to_owned(), time(control.started).into());
    out.insert("conf_hash".to_owned(), Value::Null);
    out.insert("config_timer".to_owned(), json!({"worker-0": "alive"}));
    out.insert("slardar_version".to_owned(), SPEAKS.into());
    let mut hancock = json!({"node": control.node, "services": ours, "modes": modes});
    if let Some(standing) = control.standing() {
        hancock["registry"] = json!(standing.view());
    }
    out.insert("hancock".to_owned(), hancock);
    Value::Object(out)
}

/// A list, or an object where the document gives names.
fn levels(name: &str, service: &ServiceLines) -> Value {
    let shown = service.levels.iter();
    let shown = shown.map(|(level, peers)| (level.clone(), lines(name, peers, service)));
    match service.levels.iter().all(|(level, _)| level.is_some()) {
        true => Value::Object(shown.filter_map(|(level, v)| Some((level?, v))).collect()),
        false => Value::Array(shown.map(|(_, v)| v).collect()),
    }
}

fn lines(name: &str, level: &[PeerLine], service: &ServiceLines) -> Value {
    Value::Array(level.iter().map(|peer| line(name, peer, service)).collect())
}

fn line(name: &str, peer: &PeerLine, service: &ServiceLines) -> Value {
    let mut out = Map::new();
    out.insert(
        "server".to_owned(),
        format!("{name}:{}", peer.spec.key).into(),
    );
    out.insert("status".to_owned(), word(peer, service).into());
    out.insert("weight".to_owned(), number(peer.spec.weight));
    if let Some(max_fails) = peer.max_fails {
        out.insert("max_fails".to_owned(), max_fails.into());
    }
    if let Some(fail_timeout) = peer.fail_timeout {
        out.insert("fail_timeout".to_owned(), number(fail_timeout));
    }
    if let Some(health) = &peer.health {
        out.insert("fail_num".to_owned(), health.fail_num.into());
        out.insert("lastmodified".to_owned(), time(health.last_modified).into());
        out.insert("msg".to_owned(), json!(health.msg));
        if service.redis {
            redis(peer, &mut out);
        }
    }
    if peer.warming {
        out.insert("msg".to_owned(), "warming".into());
    }
    if let Some(instance) = &peer.spec.key.instance {
        let (requests, sessions) = peer.open;
        let ours = json!({"instance": instance, "requests": requests, "sessions": sessions});
        out.insert("hancock".to_owned(), ours);
    }
    Value::Object(out)
}

fn redis(peer: &PeerLine, out: &mut Map<String, Value>) {
    let facts = peer.redis.as_ref();
    let replication = facts.map_or(Value::Null, |f| f.replication.clone());
    out.insert("replication".to_owned(), replication);
    if let Some(version) = facts.and_then(|f| f.version.as_ref()) {
        out.insert("redis_version".to_owned(), version.as_str().into());
    }
}

fn word(peer: &PeerLine, service: &ServiceLines) -> &'static str {
    match peer.verdict {
        _ if peer.warming => "err",
        _ if !service.checked => "unchecked",
        Verdict::Ok => "ok",
        Verdict::Unstable => "unstable",
        Verdict::Err => "err",
    }
}

/// Whole numbers without a fraction, as they were given.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        (value as i64).into()
    } else {
        value.into()
    }
}

/// `YYYY-MM-DD HH:MM:SS` in the local time zone.
fn time(at: Timestamp) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) => at
            .to_zoned(TimeZone::system())
            .strftime("%F %T")
            .to_string(),
        Err(_) => String::new(),
    }
}
