//! Tables that are in use: a document that changes nothing about who is listed, and how heavy, builds none.

use std::sync::{Arc, Weak};

use super::Maglev;
use crate::upstream::PeerSpec;

/// Who a table is over, in the order of the list.
type Members = Box<[(Box<str>, u64)]>;

/// The tables of one service, over all its views.
#[derive(Debug, Default)]
pub struct Tables(Vec<(Members, Weak<Maglev>)>);

impl Tables {
    /// The table of a level, built if no view has it.
    pub fn of(&mut self, level: &[PeerSpec]) -> Arc<Maglev> {
        let members: Members = level
            .iter()
            .map(|s| (s.key.to_string().into(), s.weight.to_bits()))
            .collect();
        let mut known = self.0.iter().filter(|(m, _)| *m == members);
        if let Some(table) = known.find_map(|(_, table)| table.upgrade()) {
            return table;
        }
        let servers = level.iter().map(|s| s.weight);
        let names = members.iter().map(|(name, _)| &**name);
        let table = Arc::new(Maglev::new(names.zip(servers)));
        self.0.retain(|(_, table)| table.strong_count() > 0);
        self.0.push((members, Arc::downgrade(&table)));
        table
    }
}
