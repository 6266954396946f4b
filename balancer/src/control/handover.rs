//! Control while one process hands over to the next. Held: nothing is written down, because the next process may be reading. Then either it
//! goes on where it was, or it is relieved: it follows the sets the next one switches to, and keeps nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hancock_proto::ids::DocIndex;
use hancock_proto::upstream::UpstreamDoc;

use super::service::ServiceState;
use super::{Control, Inner, now};
use crate::handover::{Change, Former, Known, Set, TailSide, Verdicts};
use crate::lastgood::Writer;

/// What becomes of a set that is switched to.
#[derive(Default)]
pub(super) enum Recording {
    /// Nothing yet: it is not confirmed.
    #[default]
    Nothing,
    /// It is written down, and confirmed when that is done.
    Log(Arc<Writer>),
    /// It will be written down, should this process go on.
    Held,
    /// The next process has written it down before this one heard of it.
    Relieved,
}

impl Recording {
    /// Answers the number of the write that will confirm; Err: none will, and whether it is confirmed as it is.
    fn write(&self, name: &str, doc: Option<Arc<UpstreamDoc>>) -> Result<u64, bool> {
        match self {
            Self::Nothing => Err(false),
            Self::Log(writer) => Ok(writer.write(name, doc)),
            Self::Held => Ok(0),
            Self::Relieved => Err(true),
        }
    }
}

impl Control {
    /// A service routes by `doc` now (None: is gone): it is written down, and former processes hear of it.
    pub(super) fn switched(&self, state: &mut ServiceState, doc: Option<Arc<UpstreamDoc>>) {
        let name = state.service.name.clone();
        let index = doc.as_ref().map_or(DocIndex(0), |_| state.index());
        let told = state.confirmed > DocIndex(0) || index > DocIndex(0);
        self.formers.switched(&name, told, doc.as_ref());
        let gone = doc.is_none();
        match self.recording().write(&name, doc) {
            Ok(sequence) => state.writing = Some((sequence, index)),
            Err(true) => (state.writing, state.confirmed) = (None, index),
            // Known as long as it is on disk, which it is not.
            Err(false) if gone => state.writing = None,
            Err(false) => {}
        }
    }

    /// Writes down what was applied, and nothing more.
    pub(crate) fn hold(&self) {
        let before = std::mem::replace(&mut *self.recording(), Recording::Held);
        if let Recording::Log(writer) = before {
            writer.close();
        }
    }

    /// Goes on writing, first what was switched to meanwhile.
    pub(crate) fn resume(&self, writer: Writer) {
        let mut inner = self.lock();
        for (name, state) in &mut inner.services {
            if state.writing.is_some() {
                let doc = state.cutover.serving().filter(|_| !state.deleted);
                let sequence = writer.write(name, doc.map(|up| up.doc.clone()));
                state.writing = Some((sequence, state.index()));
            }
        }
        *self.recording() = Recording::Log(Arc::new(writer));
    }

    /// The next process serves. From now on this one follows it.
    pub(crate) fn relieve(&self) {
        *self.recording() = Recording::Relieved;
        let mut inner = self.lock();
        inner.locals.clear();
        for state in inner.services.values_mut() {
            state.stop_probing();
            if state.writing.take().is_some() && !state.deleted {
                state.confirmed = state.index();
            }
        }
    }

    /// The next process switched.
    pub(crate) fn follow_change(&self, change: Change) {
        let upstream = change
            .doc
            .map(|doc| self.upstream(&change.name, passed(doc)));
        let mut inner = self.lock();
        match upstream {
            Some(Ok(upstream)) => inner.document(self, Arc::new(upstream), now()),
            Some(Err(problem)) => {
                tracing::error!(service = %change.name, %problem, "the process that took over serves a document that is not valid here");
                return;
            }
            None => inner.deleted(self, &change.name),
        }
        if let Some(state) = inner.services.get_mut(&change.name) {
            state.stop_probing();
        }
        drop(inner);
        self.followed.store(change.number, Ordering::Release);
    }

    /// What this process still has open on peers that leave.
    pub(crate) fn tail(&self) -> TailSide {
        // What a process before this one does not follow yet, this one does not either.
        let followed = self.followed.load(Ordering::Acquire);
        let number = match self.formers.are_behind() {
            true => self.told.load(Ordering::Acquire),
            false => followed,
        };
        self.told.store(number, Ordering::Release);
        let mut open = self.services();
        open.retain(|_, report| !report.draining.is_empty());
        TailSide { number, open }
    }

    /// Another process is to be followed than until now: what that one was told does not count. Answers which services there are, too.
    pub(crate) fn found(&self) -> (TailSide, Vec<String>) {
        self.followed.store(0, Ordering::Release);
        self.told.store(0, Ordering::Release);
        let names = self
            .lock()
            .services
            .keys()
            .map(ToString::to_string)
            .collect();
        (self.tail(), names)
    }

    /// A former process that routes for `names`, by whatever it was told before, is told everything.
    pub(crate) fn tell_everything(&self, former: &Arc<Former>, names: &[String]) {
        let inner = self.lock();
        let there = inner.services.iter().map(|(name, state)| -> Set {
            let up = state.cutover.serving().filter(|_| !state.deleted);
            let told = state.confirmed > DocIndex(0) || state.index() > DocIndex(0);
            (name.to_string(), told, up.map(|up| up.doc.clone()))
        });
        let gone = names
            .iter()
            .filter(|name| !inner.services.contains_key(name.as_str()));
        let gone = gone.map(|name| (name.clone(), true, None));
        self.formers.join(former, there.chain(gone));
    }

    /// What probes know.
    pub(crate) fn known_peers(&self) -> Verdicts {
        let inner = self.lock();
        let each = inner.services.iter().filter(|(_, s)| !s.health.is_empty());
        let verdicts = |s: &ServiceState| {
            let known = s.health.iter();
            known.map(|(k, h)| (k.clone(), h.clone())).collect()
        };
        each.map(|(name, s)| (name.clone(), verdicts(s))).collect()
    }

    /// What probes know of the node's own instances.
    pub(crate) fn known_locals(&self, known: &mut Known) {
        let judged = self.lock().judged().into_iter();
        let judged = judged.filter_map(|(id, (spec, condition))| Some((id, spec, condition?)));
        known.locals = judged.collect();
    }

    /// Ends every session, however long it may still want to last.
    pub(crate) fn end_sessions(&self) {
        let inner = self.lock();
        inner
            .services
            .values()
            .for_each(ServiceState::end_all_sessions);
    }
}

impl Inner {
    /// What the process before this one knew of a service.
    pub(super) fn remember(state: &mut ServiceState, known: &mut Verdicts) {
        let known = known.remove(&*state.service.name);
        state.health = known.into_iter().flatten().collect();
    }
}

/// The document, with nobody to be passed first: the next process has.
fn passed(doc: Arc<UpstreamDoc>) -> Arc<UpstreamDoc> {
    match &doc.hancock {
        Some(member) if !member.added.is_empty() => {
            let mut doc = UpstreamDoc::clone(&doc);
            if let Some(member) = &mut doc.hancock {
                member.added.clear();
            }
            Arc::new(doc)
        }
        _ => doc,
    }
}
