//! The former process, as the one that serves sees it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use hancock_balancer_core::overlap::Overlap;
use hancock_proto::report::ServiceReport;
use hancock_proto::upstream::UpstreamDoc;

use super::{Change, Found, Tail, TailSide};
use crate::handle::Handle;

/// What a service routes by: its name, whether a master hears of it, its document. None: it is gone.
pub(crate) type Set = (String, bool, Option<Arc<UpstreamDoc>>);

/// One side of a former process. Gone from the node's reports once it has ended.
pub(crate) struct Former {
    over_tcp: bool,
    state: Mutex<State>,
    /// There is something to send.
    wake: Arc<Notify>,
}

struct State {
    overlap: Overlap,
    /// What is to be sent, by number; of a service only the newest waits.
    waiting: BTreeMap<u64, Change>,
    numbers: BTreeMap<String, u64>,
}

impl Former {
    fn new(side: TailSide, over_tcp: bool, wake: Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            over_tcp,
            state: Mutex::new(State {
                overlap: Overlap::new(side.open),
                waiting: BTreeMap::new(),
                numbers: BTreeMap::new(),
            }),
            wake,
        })
    }

    /// A service switched; `told`: a master hears of it.
    fn switched(&self, name: &str, told: bool, doc: Option<&Arc<UpstreamDoc>>) {
        let mut state = self.lock();
        let number = state.overlap.switched(name, told);
        if let Some(older) = state.numbers.insert(name.to_owned(), number) {
            state.waiting.remove(&older);
        }
        let change = Change {
            over_tcp: self.over_tcp,
            number,
            name: name.to_owned(),
            doc: doc.cloned(),
        };
        state.waiting.insert(number, change);
        self.wake.notify_one();
    }

    fn take(&self) -> Vec<Change> {
        let mut state = self.lock();
        state.numbers.clear();
        std::mem::take(&mut state.waiting).into_values().collect()
    }

    fn heard(&self, side: TailSide) -> bool {
        self.lock().overlap.heard(side.number, side.open)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of them, of one side.
#[derive(Default)]
pub(crate) struct Formers(Mutex<Vec<Arc<Former>>>);

impl Formers {
    /// A service switched; `told`: a master hears of it.
    pub(crate) fn switched(&self, name: &str, told: bool, doc: Option<&Arc<UpstreamDoc>>) {
        for former in self.lock().iter() {
            former.switched(name, told, doc);
        }
    }

    /// One more, which knows nothing of what is served here. Nothing may switch meanwhile.
    pub(crate) fn join(&self, former: &Arc<Former>, everything: impl Iterator<Item = Set>) {
        for (name, told, doc) in everything {
            former.switched(&name, told, doc.as_ref());
        }
        self.lock().push(former.clone());
    }

    /// Takes them into what this process says of its services.
    pub(crate) fn merge(&self, mine: &mut BTreeMap<String, ServiceReport>) {
        for former in self.lock().iter() {
            former.lock().overlap.merge(mine);
        }
    }

    /// Whether one of them may route by an older set than this process does.
    pub(crate) fn are_behind(&self) -> bool {
        self.lock().iter().any(|f| f.lock().overlap.is_behind())
    }

    /// Services that one of them may hold back.
    pub(crate) fn names(&self) -> Vec<String> {
        let formers = self.lock();
        let each = formers.iter().map(|former| {
            let state = former.lock();
            state.overlap.names().cloned().collect::<Vec<_>>()
        });
        each.flatten().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Former>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way between this balancer and a former process; whoever holds it carries what goes over it.
pub struct FormerLink {
    handle: Handle,
    sides: [Arc<Former>; 2],
    wake: Arc<Notify>,
}

impl FormerLink {
    /// From now on the process that said `tail` counts as part of this balancer. It serves the same.
    pub(crate) fn new(handle: &Handle, tail: Tail) -> Self {
        let link = Self::to(handle, tail);
        for (control, side) in handle.controls().zip(&link.sides) {
            control.formers.join(side, std::iter::empty());
        }
        link
    }

    /// The same of one that followed another process until now: it is told everything that is served here, and counts as behind until it
    /// routes by that.
    pub fn found(handle: &Handle, found: Found) -> Self {
        let link = Self::to(handle, found.tail);
        let sides = link.sides.iter().zip(&found.names);
        for (control, (side, names)) in handle.controls().zip(sides) {
            control.tell_everything(side, names);
        }
        link
    }

    fn to(handle: &Handle, tail: Tail) -> Self {
        let wake = Arc::<Notify>::default();
        Self {
            handle: handle.clone(),
            sides: [
                Former::new(tail.http, false, wake.clone()),
                Former::new(tail.tcp, true, wake.clone()),
            ],
            wake,
        }
    }

    /// What is to be sent to it next, in this order. Safe to drop and call again.
    pub async fn changes(&self) -> Vec<Change> {
        loop {
            let all: Vec<Change> = self.sides.iter().flat_map(|side| side.take()).collect();
            if !all.is_empty() {
                return all;
            }
            self.wake.notified().await;
        }
    }

    /// What it said.
    pub fn heard(&self, tail: Tail) {
        let changed = [
            self.sides[0].heard(tail.http),
            self.sides[1].heard(tail.tcp),
        ];
        if changed.contains(&true) {
            self.handle.bump();
        }
    }
}

impl Drop for FormerLink {
    /// It has ended: nothing is open in it any more.
    fn drop(&mut self) {
        for (control, side) in self.handle.controls().zip(&self.sides) {
            control.formers.lock().retain(|f| !Arc::ptr_eq(f, side));
        }
        self.handle.bump();
    }
}
