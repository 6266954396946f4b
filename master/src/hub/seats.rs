//! Which instances have a job just now, as the leader that gave them knows it, and who waits for one to be through.
//!
//! An instance runs one job at a time. A leader of before may have given it one as well: then the second waits at the node for its turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hancock_proto::ids::{AppName, InstanceId, NodeId};
use tokio::sync::Notify;

/// Jobs that may wait for an instance of one app.
const MOST_WAITING: usize = 1024;

/// Seats of all apps that have jobs.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    apps: Mutex<BTreeMap<AppName, Table>>,
}

/// The seats of one app.
#[derive(Debug, Default)]
struct Table {
    taken: BTreeSet<InstanceId>,
    /// Jobs that wait or run: the last one takes the table away.
    guests: usize,
    waiting: usize,
    freed: Arc<Notify>,
}

impl Seats {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<AppName, Table>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Comes for a job of `app`. None: too many wait already.
    pub(crate) fn enter(self: &Arc<Self>, app: &AppName) -> Option<Guest> {
        let mut apps = self.lock();
        let table = apps.entry(app.clone()).or_default();
        if table.waiting >= MOST_WAITING {
            return None;
        }
        table.guests += 1;
        table.waiting += 1;
        Some(Guest {
            seats: Arc::clone(self),
            app: app.clone(),
            freed: Arc::clone(&table.freed),
            seat: None,
        })
    }
}

/// A job that waits for an instance or has one; dropped, it is through.
#[derive(Debug)]
pub(crate) struct Guest {
    seats: Arc<Seats>,
    app: AppName,
    freed: Arc<Notify>,
    seat: Option<InstanceId>,
}

impl Guest {
    /// Takes one of the instances that has no job, on the node where the fewest have one; None: each has one.
    pub(crate) fn take(&mut self, places: &[(NodeId, InstanceId)]) -> Option<(NodeId, InstanceId)> {
        let mut apps = self.seats.lock();
        let table = apps.get_mut(&self.app)?;
        let mut busy: BTreeMap<&NodeId, usize> = BTreeMap::new();
        for (node, _) in places.iter().filter(|(_, id)| table.taken.contains(id)) {
            *busy.entry(node).or_default() += 1;
        }
        let free = places.iter().filter(|(_, id)| !table.taken.contains(id));
        let (node, instance) = free.min_by_key(|(node, _)| busy.get(node).copied())?;
        table.taken.insert(instance.clone());
        table.waiting -= 1;
        self.seat = Some(instance.clone());
        Some((node.clone(), instance.clone()))
    }

    /// Waits until an instance of the app may have become free; who waits longest comes first.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut apps = self.seats.lock();
        let Some(table) = apps.get_mut(&self.app) else {
            return;
        };
        match &self.seat {
            Some(seat) => {
                table.taken.remove(seat);
                self.freed.notify_one();
            }
            None => table.waiting -= 1,
        }
        table.guests -= 1;
        if table.guests == 0 {
            apps.remove(&self.app);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::poll;

    use super::*;

    fn places(all: &[(&str, &str)]) -> Vec<(NodeId, InstanceId)> {
        let place = |(node, id): &(&str, &str)| (node.parse().unwrap(), id.parse().unwrap());
        all.iter().map(place).collect()
    }

    fn app() -> AppName {
        "resize".parse().unwrap()
    }

    #[test]
    fn jobs_spread_over_nodes_and_an_instance_has_one() {
        let seats = Arc::new(Seats::default());
        let all = places(&[("n1", "r-1"), ("n1", "r-2"), ("n2", "r-3")]);
        let mut guests: Vec<_> = (0..4).map(|_| seats.enter(&app()).unwrap()).collect();
        let taken: Vec<_> = guests.iter_mut().map(|g| g.take(&all)).collect();
        let ids: Vec<_> = taken
            .iter()
            .map(|t| t.as_ref().map(|(_, id)| id.as_str()))
            .collect();
        assert_eq!(ids, [Some("r-1"), Some("r-3"), Some("r-2"), None]);
        guests.remove(1);
        assert_eq!(guests[2].take(&all).unwrap().1.as_str(), "r-3");
        drop(guests);
        assert!(seats.lock().is_empty(), "nothing is remembered");
    }

    #[tokio::test]
    async fn who_waits_longest_is_woken_and_one_that_left_passes_it_on() {
        let seats = Arc::new(Seats::default());
        let all = places(&[("n1", "r-1")]);
        let mut first = seats.enter(&app()).unwrap();
        first.take(&all).unwrap();
        let (second, third) = (seats.enter(&app()).unwrap(), seats.enter(&app()).unwrap());
        let mut of_second = Box::pin(second.freed());
        let mut of_third = Box::pin(third.freed());
        assert!(poll!(&mut of_second).is_pending() && poll!(&mut of_third).is_pending());
        drop(first);
        drop(of_second);
        assert!(poll!(&mut of_third).is_ready());
    }

    #[test]
    fn so_many_may_wait_and_no_more() {
        let seats = Arc::new(Seats::default());
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| seats.enter(&app()).unwrap())
            .collect();
        assert!(seats.enter(&app()).is_none());
        assert!(seats.enter(&"other".parse().unwrap()).is_some());
        drop(waiting);
        assert!(seats.enter(&app()).is_some());
    }
}
