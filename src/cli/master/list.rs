//! The masters as a table, and what an upgrade of them still waits for.

use hancock_proto::api::MasterView;

use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};

pub(super) fn text(masters: &[MasterView], out: &Out) -> String {
    let mut table = Table::new(&[
        "MASTER", "ROLE", "LOG", "VERSION", "FORMAT", "API", "AGENTS", "PEERS",
    ]);
    for master in masters {
        let role = match (master.leader, master.voter) {
            (true, _) => Cell::toned("leader", Tone::Good),
            (false, true) => Cell::from("voter"),
            (false, false) => Cell::from("follows"),
        };
        table.row([
            Cell::from(&master.name),
            role,
            master
                .log
                .map(|log| log.to_string())
                .unwrap_or_default()
                .into(),
            master.version.as_deref().unwrap_or("-").into(),
            format(master).into(),
            Cell::from(&master.api),
            Cell::from(&master.agents),
            Cell::from(&master.peers),
        ]);
    }
    table.render(out) + &awaited(masters).unwrap_or_default()
}

/// The one that is written, and the newest it knows where that is another.
fn format(master: &MasterView) -> String {
    let MasterView { format, knows, .. } = master;
    match knows == format {
        true => format.to_string(),
        false => format!("{format} of {knows}"),
    }
}

/// What the next format waits for; None: nobody knows one, or nothing.
fn awaited(masters: &[MasterView]) -> Option<String> {
    let (format, next) = masters.first().map(|m| (m.format, m.format + 1))?;
    let (know, others): (Vec<_>, Vec<_>) = masters.iter().partition(|m| m.knows >= next);
    if know.is_empty() || others.is_empty() {
        return None;
    }
    let others: Vec<&str> = others.iter().map(|m| m.name.as_str()).collect();
    Some(format!(
        "Format {format} is written until {} know{} format {next}, too: until then each master can go back to its former version.\n",
        others.join(", "),
        if others.len() == 1 { "s" } else { "" },
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn master(name: &str, format: u32, knows: u32) -> MasterView {
        MasterView {
            name: name.into(),
            voter: true,
            leader: false,
            log: None,
            version: Some("0.1.0".into()),
            format,
            knows,
            api: String::new(),
            agents: String::new(),
            peers: String::new(),
        }
    }

    #[test]
    fn an_upgrade_says_whom_it_waits_for() {
        let [old, new] = [master("m1", 1, 1), master("m2", 1, 2)];
        let other = master("m3", 1, 1);
        assert_eq!((format(&old), format(&new)), ("1".into(), "1 of 2".into()));
        let told = awaited(&[old.clone(), new.clone(), other]).unwrap();
        assert!(told.contains("until m1, m3 know format 2"), "{told}");
        let told = awaited(&[new.clone(), old.clone()]).unwrap();
        assert!(told.contains("until m1 knows format 2"), "{told}");
        for all in [vec![old.clone(), old], vec![new.clone(), new], vec![]] {
            assert_eq!(awaited(&all), None);
        }
        let done = master("m1", 2, 2);
        assert_eq!(awaited(&[done]), None);
    }
}
