//! What is known of one connection, and the crowd of all of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::admission::Admitted;
use crate::api::limits::Limits;

/// Why a connection is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// It began no request, or did not end a request's head.
    Head,
    /// It had no request for long.
    Idle,
    /// It does not read an answer.
    Reader,
}

/// One connection. Every field is told by whoever sees it; [`Guest::overdue`] looks.
#[derive(Debug)]
pub(super) struct Guest {
    clock: Clock,
    /// Requests being answered.
    open: AtomicUsize,
    /// It has had a request.
    asked: AtomicBool,
    /// It carries several requests at a time.
    multiplexed: AtomicBool,
    /// It is no HTTP any more.
    upgraded: AtomicBool,
    /// Since when it has had no request.
    quiet: AtomicU64,
    /// Since when the head of a request is under way; 0: none is.
    head: AtomicU64,
    /// Whose turn it is in answers over several requests at a time.
    turns: Mutex<Vec<Weak<Turn>>>,
    /// Held for as long as an upgraded connection.
    kept: Mutex<Option<Admitted>>,
    /// It is to be closed.
    pub(super) cut: CancellationToken,
}

/// Counts milliseconds from the connection's begin; never 0.
#[derive(Debug, Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
        let passed = self.0.elapsed().as_millis();
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }

    fn after(self, at: u64, span: Duration) -> Instant {
        self.0 + Duration::from_millis(at.saturating_sub(1)) + span
    }
}

/// Whose turn it is with one answer: the reader's since then, or, at 0, ours.
#[derive(Debug)]
pub(super) struct Turn {
    clock: Clock,
    readers: AtomicU64,
}

impl Turn {
    pub(super) fn ours(&self) {
        self.readers.store(0, Ordering::Relaxed);
    }

    pub(super) fn readers(&self) {
        self.readers.store(self.clock.now(), Ordering::Relaxed);
    }
}

/// A request being answered, until it is dropped.
#[derive(Debug)]
pub(super) struct Answering(Arc<Guest>);

impl Answering {
    /// Watches whether the answer is read, where the connection alone does not tell.
    pub(super) fn turn(&self) -> Option<Arc<Turn>> {
        let guest = &self.0;
        guest.multiplexed.load(Ordering::Relaxed).then(|| {
            let turn = Arc::new(Turn {
                clock: guest.clock,
                readers: AtomicU64::new(0),
            });
            guest.turns().push(Arc::downgrade(&turn));
            turn
        })
    }

    /// The connection becomes something else, and what was admitted is with it.
    pub(super) fn upgraded(&self, admitted: Admitted) {
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(admitted);
        self.0.upgraded.store(true, Ordering::Relaxed);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let guest = &self.0;
        guest.quiet.store(guest.clock.now(), Ordering::Relaxed);
        guest.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Guest {
    fn new() -> Self {
        Self {
            clock: Clock(Instant::now()),
            open: AtomicUsize::new(0),
            asked: AtomicBool::new(false),
            multiplexed: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            quiet: AtomicU64::new(1),
            head: AtomicU64::new(0),
            turns: Mutex::default(),
            kept: Mutex::default(),
            cut: CancellationToken::new(),
        }
    }

    fn turns(&self) -> MutexGuard<'_, Vec<Weak<Turn>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request's head is complete.
    pub(super) fn asks(self: &Arc<Self>, multiplexed: bool) -> Answering {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
        if !self.asked.swap(true, Ordering::Relaxed) {
            self.multiplexed.store(multiplexed, Ordering::Relaxed);
        }
        Answering(self.clone())
    }

    /// Bytes have come.
    pub(super) fn heard(&self) {
        let none = self.open.load(Ordering::Relaxed) == 0;
        if none && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(self.clock.now(), Ordering::Relaxed);
        }
    }

    /// Longest a reader may take.
    pub(super) fn patience(&self, limits: &Limits) -> Duration {
        match self.upgraded.load(Ordering::Relaxed) {
            true => limits.session_reader,
            false => limits.reader,
        }
    }

    fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && !self.upgraded.load(Ordering::Relaxed)
    }

    /// What it will be late with next, and when.
    fn due(&self, limits: &Limits) -> Option<(Instant, Late)> {
        let mut turns = self.turns();
        turns.retain(|turn| turn.strong_count() > 0);
        let readers = turns.iter().filter_map(Weak::upgrade);
        let since = readers.map(|turn| turn.readers.load(Ordering::Relaxed));
        let unread = since.filter(|at| *at > 0).min();
        let unread = unread.map(|at| (self.clock.after(at, limits.reader), Late::Reader));
        drop(turns);
        let idle = self.is_idle().then(|| self.idle_until(limits));
        unread.into_iter().chain(idle).min_by_key(|(at, _)| *at)
    }

    fn idle_until(&self, limits: &Limits) -> (Instant, Late) {
        let head = self.head.load(Ordering::Relaxed);
        if !self.asked.load(Ordering::Relaxed) {
            (self.clock.after(1, limits.head), Late::Head)
        } else if head > 0 && !self.multiplexed.load(Ordering::Relaxed) {
            (self.clock.after(head, limits.head), Late::Head)
        } else {
            let quiet = self.quiet.load(Ordering::Relaxed);
            (self.clock.after(quiet, limits.idle), Late::Idle)
        }
    }

    /// Returns when it is late with something. Nothing wakes this: it looks a few times in the shortest deadline.
    pub(super) async fn overdue(&self, limits: &Limits) -> Late {
        loop {
            let now = Instant::now();
            let look = now + limits.head.min(limits.reader) / 4;
            match self.due(limits) {
                Some((at, late)) if at <= now => return late,
                Some((at, _)) => tokio::time::sleep_until(at.min(look)).await,
                None => tokio::time::sleep_until(look).await,
            }
        }
    }
}

/// Every open connection.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    guests: BTreeMap<u64, Arc<Guest>>,
}

/// A connection's place in the crowd, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    crowd: Arc<Crowd>,
    pub(super) guest: Arc<Guest>,
}

impl Crowd {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place. When all are taken, whoever was idle for longest is sent away; None: all are being answered.
    pub(super) fn enter(self: &Arc<Self>, most: usize) -> Option<Seat> {
        let mut inner = self.lock();
        if inner.guests.len() >= most {
            let idle = inner.guests.iter().filter(|(_, guest)| guest.is_idle());
            let since = |guest: &Guest| {
                guest
                    .clock
                    .after(guest.quiet.load(Ordering::Relaxed), Duration::ZERO)
            };
            let (oldest, _) = idle.min_by_key(|(_, guest)| since(guest))?;
            let oldest = *oldest;
            let sent_away = inner.guests.remove(&oldest)?;
            sent_away.cut.cancel();
        }
        inner.next += 1;
        let number = inner.next;
        let guest = Arc::new(Guest::new());
        inner.guests.insert(number, guest.clone());
        Some(Seat {
            number,
            crowd: self.clone(),
            guest,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.lock().guests.remove(&self.number);
    }
}
