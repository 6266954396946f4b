//! Defaults of the app spec, each with its reason, in one place.
use super::{Placement, PlacementStrategy, Restart, Stop, Strategy, Update};
use crate::units::Span;

impl Default for Update {
    fn default() -> Self {
        Self {
            strategy: Strategy::BlueGreen,
            // Readiness has passed `rise` times already; more only slows every deployment down.
            min_healthy_time: Span::seconds(0),
            healthy_deadline: Span::seconds(120),
            progress_deadline: Span::seconds(600),
            max_unavailable: 0,
            accept_timeout: Span::seconds(10),
            ack_timeout: Span::seconds(10),
            hold_unconfirmed: Span::seconds(300),
        }
    }
}

impl Update {
    /// The default for an app whose readiness somebody judges, or nobody: that one counts as ready whenever it is up, so it has to stay
    /// up for a moment, or one that ends at once would pass.
    pub fn judged(by_somebody: bool) -> Self {
        let min_healthy_time = match by_somebody {
            true => Span::seconds(0),
            false => Span::seconds(3),
        };
        Self {
            min_healthy_time,
            ..Self::default()
        }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: "SIGTERM".to_owned(),
            drain_timeout: Span::seconds(30),
            session_drain_timeout: Span::seconds(3600),
            grace_period: Span::seconds(10),
        }
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self {
            strategy: PlacementStrategy::Spread,
            max_per_node: None,
        }
    }
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            attempts: 3,
            interval: Span::seconds(600),
            delay: Span::seconds(2),
            max_delay: Span::seconds(60),
        }
    }
}
