//! A master's documents that cannot be served here at all. He must hear of it, or he would wait for a confirmation that never comes.

use std::collections::BTreeMap;

use hancock_proto::ids::DocIndex;
use hancock_proto::report::{Refusal, ServiceReport};
use hancock_proto::upstream::UpstreamDoc;

use super::Control;

/// By name, as long as no document of the name was taken since; at most one for each name a master writes.
#[derive(Debug, Default)]
pub(super) struct Rejected(BTreeMap<String, Refusal>);

impl Rejected {
    /// Another document of the name was taken, or its deletion.
    pub(super) fn accept(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Adds what was rejected to what is reported.
    pub(super) fn report(&self, reports: &mut BTreeMap<String, ServiceReport>) {
        for (name, refusal) in &self.0 {
            let known = reports.entry(name.clone());
            let report = known.or_insert_with(|| ServiceReport {
                seen: DocIndex(0),
                confirmed: DocIndex(0),
                refused: None,
                draining: BTreeMap::new(),
            });
            report.seen = report.seen.max(refusal.index);
            report.refused = Some(refusal.clone());
        }
    }
}

impl Control {
    /// A document cannot be served.
    pub(super) fn reject(&self, name: &str, doc: Option<&UpstreamDoc>, problem: &str) {
        let Some(refusal) = doc.and_then(|doc| refusal(doc, problem)) else {
            return;
        };
        self.lock().rejected.0.insert(name.to_owned(), refusal);
        self.bump();
    }
}

/// What a master is told of a document that cannot be served, by one of the peers it is about. None: it is not a master's, or about nobody.
pub(crate) fn refusal(doc: &UpstreamDoc, problem: &str) -> Option<Refusal> {
    let member = doc.hancock.as_ref()?;
    let listed = doc.servers().filter_map(|s| s.instance.as_ref());
    Some(Refusal {
        index: member.index,
        peer: member.added.iter().chain(listed).next()?.clone(),
        reason: problem.to_owned(),
    })
}
