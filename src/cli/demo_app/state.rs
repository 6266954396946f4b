//! What all connections share.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

/// Who answers.
#[derive(Debug, Clone)]
pub struct Identity {
    version: String,
    app: String,
    instance: String,
    node: String,
}

impl Identity {
    /// From what the node told this instance.
    pub fn learn(version: Option<&str>) -> Self {
        let told = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let numbered = || told("HANCOCK_VERSION").map(|number| format!("v{number}"));
        Self {
            version: version
                .map(str::to_owned)
                .or_else(numbered)
                .unwrap_or_else(|| "v0".to_owned()),
            app: told("HANCOCK_APP").unwrap_or_else(|| "demo".to_owned()),
            instance: told("HANCOCK_INSTANCE").unwrap_or_else(|| "demo".to_owned()),
            node: told("HANCOCK_NODE").unwrap_or_else(|| "no-node".to_owned()),
        }
    }

    /// The body of a plain answer.
    pub fn hello(&self) -> String {
        let Self {
            version,
            app,
            instance,
            node,
        } = self;
        format!("{version} hello from {instance} on {node} (app {app})\n")
    }

    /// How the log calls it.
    pub fn name(&self) -> String {
        format!("{} {}", self.version, self.instance)
    }
}

/// How far on its way out the app is; only goes forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// As normal.
    Serving,
    /// Told to stop and still serving; connections are not kept.
    Draining,
    /// No new connections; what is open ends.
    Closing,
}

/// Shared by all connections.
pub struct State {
    /// Who answers.
    pub identity: Identity,
    /// The echo says first who answers.
    pub echo_greets: bool,
    unhealthy: AtomicBool,
    after_sigterm: AtomicBool,
    phase: watch::Sender<Phase>,
}

impl State {
    /// At the start.
    pub fn new(identity: Identity, unhealthy: bool) -> Self {
        Self {
            identity,
            echo_greets: false,
            unhealthy: AtomicBool::new(unhealthy),
            after_sigterm: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Serving),
        }
    }

    /// Whether the health path answers well.
    pub fn is_healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }

    /// Decides about the health path.
    pub fn set_healthy(&self, healthy: bool) {
        self.unhealthy.store(!healthy, Ordering::Relaxed);
    }

    /// Whether SIGTERM has come: answers say so, and tests count them.
    pub fn is_after_sigterm(&self) -> bool {
        self.after_sigterm.load(Ordering::Relaxed)
    }

    /// SIGTERM has come.
    pub fn note_sigterm(&self) {
        self.after_sigterm.store(true, Ordering::Relaxed);
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Goes on to `phase`.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Returns when no new work is taken any more.
    pub async fn closing(&self) {
        // The sender lives as long as this value, so waiting cannot fail.
        let _ = self
            .phase
            .subscribe()
            .wait_for(|phase| *phase == Phase::Closing)
            .await;
    }
}
