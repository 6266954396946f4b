//! Requests at a fixed rate, half on fresh connections and half on kept ones, and what became of each.
//!
//! A request has failed when it was refused, reset, not completely answered within 5 s, answered with a status other than 2xx, or
//! answered by an instance after its SIGTERM. The rate does not slow down when answers do: clients outside do not either.

mod client;
mod tally;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use crate::wait::wait_for;
use client::Client;
pub use tally::{Cause, Failure, Tally};

/// A kind of load, to be started.
#[derive(Debug, Clone)]
pub struct Load {
    target: SocketAddr,
    host: String,
    path: String,
    rate: u32,
}

impl Load {
    /// `GET /` to `target` with header `Host: host`, 200 times per second.
    pub fn to(target: SocketAddr, host: &str) -> Self {
        Self {
            target,
            host: host.to_owned(),
            path: "/".to_owned(),
            rate: 200,
        }
    }

    /// Another path.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Another number of requests per second.
    #[must_use]
    pub fn rate(mut self, per_second: u32) -> Self {
        self.rate = per_second.max(1);
        self
    }

    /// Starts it on a thread of its own.
    ///
    /// # Panics
    /// When there is no thread to be had.
    pub fn start(self) -> Running {
        let (stop, tally) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(Mutex::new(Tally::new())),
        );
        let (stop_seen, counted) = (stop.clone(), tally.clone());
        let thread = std::thread::Builder::new()
            .name("load".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(drive(self, &stop_seen, counted));
            });
        Running {
            stop,
            tally,
            thread: Some(thread.unwrap()),
        }
    }
}

/// Load that goes on until stopped or dropped.
#[derive(Debug)]
pub struct Running {
    stop: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What has happened up to now.
    pub fn so_far(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until what has happened is `enough`.
    ///
    /// # Panics
    /// When it is not in time.
    #[track_caller]
    pub fn wait_until(&self, what: &str, deadline: Duration, enough: impl Fn(&Tally) -> bool) {
        wait_for(what, deadline, || {
            let tally = self.so_far();
            if enough(&tally) {
                Ok(())
            } else {
                Err(tally.to_string())
            }
        });
    }

    /// Sends nothing more, waits for the answers still to come and tells what happened.
    ///
    /// # Panics
    /// When the load itself broke.
    pub fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.so_far()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn drive(load: Load, stop: &AtomicBool, tally: Arc<Mutex<Tally>>) {
    let client = Arc::new(Client::new(load.target, &load.host, &load.path));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / load.rate);
    // A late tick is made up for: the rate is a promise.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = tokio::task::JoinSet::new();
    let mut fresh = false;
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        fresh = !fresh;
        let (client, tally) = (client.clone(), tally.clone());
        open.spawn(one(client, tally, fresh));
        while open.try_join_next().is_some() {}
    }
    while open.join_next().await.is_some() {}
}

async fn one(client: Arc<Client>, tally: Arc<Mutex<Tally>>, fresh: bool) {
    let sent = Instant::now();
    with(&tally, |t| t.sent(fresh));
    let outcome = client.ask(fresh).await;
    with(&tally, |t| t.ended(sent, fresh, outcome));
}

fn with(tally: &Mutex<Tally>, change: impl FnOnce(&mut Tally)) {
    change(&mut tally.lock().unwrap_or_else(PoisonError::into_inner));
}

#[cfg(test)]
mod tests;
