//! Renders the API's structures from state and leader's view. What is shown is what is decided upon: the same facts, the same words.

mod apps;
mod deployments;
mod instances;
mod jobs;
mod nodes;
mod preview;
mod registry;
mod waiting;
mod zones;

use hancock_proto::event::Event;
use hancock_proto::time::Timestamp;

use crate::leader::LeaderView;
use crate::state::State;

pub use apps::{app, apps, history};
pub use deployments::{deployment, newest_deployment};
pub use instances::instances;
pub use jobs::{JobPlaces, job_places};
pub use nodes::{nodes, status};
pub use preview::preview;
pub use registry::registry;
pub use zones::{top, upstreams, zone, zones};

/// State, what the leader saw, and the time: everything a view is rendered from. A follower passes an empty leader's view.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The state.
    pub state: &'a State,
    /// What the leader saw.
    pub leader: &'a LeaderView,
    /// The time.
    pub now: Timestamp,
}

/// Events with a number above `after`, oldest first.
pub fn events_after(state: &State, after: u64) -> Vec<Event> {
    let newer = state.events.iter().rev().take_while(|e| e.number > after);
    let mut events: Vec<_> = newer.map(|e| (**e).clone()).collect();
    events.reverse();
    events
}
