//! Documents and picks.

use std::sync::Arc;

use hancock_balancer_core::key::RequestKey;
use hancock_balancer_core::pick::{self, Tried};
use hancock_balancer_core::table::{Peers, View};
use hancock_balancer_core::upstream::Upstream;
use hancock_proto::time::Timestamp;
use serde_json::{Value, json};

pub fn upstream(doc: Value) -> Result<Upstream, String> {
    let doc = serde_json::from_value(doc).expect("a document");
    Upstream::new("web", Arc::new(doc)).map_err(|problem| problem.to_string())
}

/// One level of servers on ports from 1 up.
pub fn level(weights: &[f64]) -> Value {
    let server =
        |(at, weight): (usize, &f64)| json!({"host": "10.0.0.1", "port": at + 1, "weight": weight});
    let servers: Vec<Value> = weights.iter().enumerate().map(server).collect();
    json!({"servers": servers})
}

pub fn view(peers: &mut Peers, doc: Value) -> View {
    View::new(&upstream(doc).expect("a valid document"), peers)
}

/// Picks for a path.
pub fn pick(view: &View, path: &str, tried: &Tried, now: u64, random: u64) -> Option<usize> {
    let key = RequestKey {
        target: path.as_bytes(),
        client: None,
        header: None,
    };
    pick::pick(view, &key, tried, Timestamp(now), random)
}

/// SplitMix64: the same numbers in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let bits = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// From 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}
