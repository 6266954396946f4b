//! `hancock zone upstreams`: a line per peer, under a line per service.

use hancock_proto::api::{PeerView, UpstreamView};
use hancock_proto::ids::ZoneName;

use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};

/// The services of a zone.
pub fn text(zone: &ZoneName, list: &[UpstreamView], out: &Out) -> String {
    if list.is_empty() {
        return format!("no services in zone {zone}");
    }
    let mut table = Table::new(&[
        "SERVICE",
        "OWNER",
        "MODE",
        "CONFIRMED",
        "PEER",
        "WEIGHT",
        "HEALTH",
        "INSTANCE",
        "NODE",
    ]);
    for upstream in list {
        let owner = upstream.app.as_ref().map(ToString::to_string);
        let confirmed = format!("{}/{}", upstream.confirmed, upstream.balancers);
        let tone = match upstream.confirmed < upstream.balancers {
            true => Tone::Busy,
            false => Tone::Good,
        };
        let mut head = vec![
            Cell::from(&upstream.name),
            owner.unwrap_or_else(|| "by hand".to_owned()).into(),
            upstream.doc.mode.as_deref().unwrap_or("rr").into(),
            Cell::toned(confirmed, tone),
        ];
        if upstream.peers.is_empty() {
            head.push(Cell::toned("none", Tone::Bad));
            table.row(head.clone());
        }
        for peer in &upstream.peers {
            table.row(head.drain(..).chain(cells(peer)));
            // What was said of the service stands once.
            head = vec![Cell::default(); 4];
        }
    }
    table.render(out)
}

fn cells(peer: &PeerView) -> [Cell; 5] {
    let tone = match peer.health.as_str() {
        "ok" => Tone::Good,
        "not ready" => Tone::Busy,
        _ => Tone::Bad,
    };
    let text = |value: Option<String>| Cell::from(value.unwrap_or_default());
    [
        Cell::from(&peer.address),
        peer.weight.into(),
        Cell::toned(&peer.health, tone),
        text(peer.instance.as_ref().map(ToString::to_string)),
        text(peer.node.as_ref().map(ToString::to_string)),
    ]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::out::Format;

    #[test]
    fn a_service_is_named_once() {
        let peer = |n: u32| serde_json::json!({"address": format!("10.0.0.{n}:80"), "weight": 1.0, "health": "ok"});
        let view = serde_json::json!({"name": "a.test", "index": 7, "confirmed": 1, "balancers": 2,
            "peers": [peer(1), peer(2)], "doc": {"cluster": [], "mode": "ip_hash"}});
        let view: UpstreamView = serde_json::from_value(view).unwrap();
        assert_eq!(
            text(&ZoneName::default(), &[view], &Out::new(Format::Text)),
            "SERVICE   OWNER     MODE      CONFIRMED   PEER          WEIGHT   HEALTH\n\
             a.test    by hand   ip_hash   1/2         10.0.0.1:80   1        ok\n\
             \x20                                         10.0.0.2:80   1        ok\n"
        );
    }
}
