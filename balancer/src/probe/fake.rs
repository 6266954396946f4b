//! A prober that answers from a script, per peer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use hancock_balancer_core::health::ProbeResult;

use super::{Answer, Probe, Prober};

/// Answers every probe of a peer with what was last set for it; peers never set fail.
#[derive(Debug, Default)]
pub struct FakeProber {
    answers: Mutex<HashMap<u16, ProbeResult>>,
    asked: Mutex<HashMap<u16, u64>>,
}

impl FakeProber {
    /// What probes of `port` find from now on.
    pub fn set(&self, port: u16, result: ProbeResult) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(port, result);
    }

    /// How often `port` was probed.
    pub fn asked(&self, port: u16) -> u64 {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&port).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Prober for FakeProber {
    async fn probe(&self, probe: &Probe) -> Answer {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry(probe.port).or_default() += 1;
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let unset = || ProbeResult::Failed(Some("not scripted".to_owned()));
        Answer::from(answers.get(&probe.port).cloned().unwrap_or_else(unset))
    }
}
