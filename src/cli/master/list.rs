//! The masters as a table.

use hancock_proto::api::MasterView;

use crate::cli::out::{Out, Tone};
use crate::cli::table::{Cell, Table};

pub(super) fn text(masters: &[MasterView], out: &Out) -> String {
    let mut table = Table::new(&["MASTER", "ROLE", "LOG", "API", "AGENTS", "PEERS"]);
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
            Cell::from(&master.api),
            Cell::from(&master.agents),
            Cell::from(&master.peers),
        ]);
    }
    table.render(out)
}
