//! The leader's turn: what state and leader's view ask for, now. Plans nothing that `apply` would not check again.

mod cutovers;
mod deployments;
mod format;
mod heal;
mod nodes;
mod registry;

pub(crate) use deployments::{manner, obstacle, peers};

use std::collections::BTreeSet;

use hancock_proto::ids::{AppName, DocIndex, InstanceId};
use hancock_proto::registry::Batch;
use hancock_proto::time::Timestamp;

use crate::command::{Command, Purpose};
use crate::desired;
use crate::leader::{LEASE, LeaderView};
use crate::schedule::{Board, Choice, Demand, Misfits};
use crate::state::{App, Instance, State};

/// What the leader shall do now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To propose, in order. Each is checked again when applied; a refusal only means that the state moved on.
    pub commands: Vec<Command>,
    /// To write to the registry, one at a time per app, then to report as [`Command::Published`].
    pub publish: Vec<Publication>,
    /// When to plan again if nothing happens before.
    pub wake_at: Option<Timestamp>,
}

/// One app's documents, to be written in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The app.
    pub app: AppName,
    /// Index of the documents.
    pub index: DocIndex,
    /// The documents.
    pub batch: Batch,
}

/// The leader's turn. `seed` is for choices that nothing else decides; the ones there are today are all decided by name.
pub fn plan(state: &State, view: &LeaderView, now: Timestamp, seed: u64) -> Plan {
    let _ = seed;
    let mut turn = Turn::new(state, view, now);
    nodes::plan(&mut turn);
    registry::plan(&mut turn);
    format::plan(&mut turn);
    for app in busy(state) {
        one(&mut turn, app);
    }
    Plan {
        commands: turn.commands,
        publish: publications(state),
        wake_at: turn.wake_at,
    }
}

/// Apps with something under way or missing: a turn has nothing to do for any other.
fn busy(state: &State) -> impl Iterator<Item = &App> {
    let names = state.index.busy.iter();
    names.filter_map(|name| state.apps.get(name)).map(|a| &**a)
}

fn one<'a>(turn: &mut Turn<'a>, app: &'a App) {
    let before = turn.commands.len();
    cutovers::plan(turn, app);
    deployments::plan(turn, app);
    // What was just planned may change what is missing: healing has the next turn, which follows at once.
    if turn.commands.len() == before {
        heal::plan(turn, app);
    }
}

/// Apps that a turn would pass over and has something to do for: none.
pub(crate) fn passed_over(state: &State, view: &LeaderView, now: Timestamp) -> Vec<AppName> {
    let idle = state.apps.values();
    let idle = idle.filter(|app| !state.index.busy.iter().any(|name| *name == app.name));
    let has_work = |app: &&App| {
        let mut turn = Turn::new(state, view, now);
        one(&mut turn, app);
        !turn.commands.is_empty() || turn.wake_at.is_some()
    };
    let passed = idle.map(|app| &**app).filter(has_work);
    passed.map(|app| app.name.clone()).collect()
}

fn publications(state: &State) -> Vec<Publication> {
    let kept = state.kept.unpublished().map(|(index, batch)| Publication {
        app: batch.app.clone(),
        index,
        batch,
    });
    let behind = busy(state).filter(|a| !a.routes.is_published());
    behind
        .filter_map(|app| {
            Some(Publication {
                app: app.name.clone(),
                index: app.routes.index,
                batch: desired::batch(state, &app.name)?,
            })
        })
        .chain(kept)
        .collect()
}

/// One plan being made.
struct Turn<'a> {
    state: &'a State,
    view: &'a LeaderView,
    now: Timestamp,
    commands: Vec<Command>,
    wake_at: Option<Timestamp>,
    board: Option<Board<'a>>,
    /// Highest instance number after the commands planned so far.
    last_instance: u64,
}

impl<'a> Turn<'a> {
    fn new(state: &'a State, view: &'a LeaderView, now: Timestamp) -> Self {
        Self {
            state,
            view,
            // The state's clock never goes back, whoever leads.
            now: now.max(state.clock),
            commands: Vec::new(),
            wake_at: None,
            board: None,
            last_instance: state.last_instance,
        }
    }

    fn propose(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// Whether `at` has come; if not, the next plan is made then at the latest.
    fn due(&mut self, at: Timestamp) -> bool {
        if self.now >= at {
            return true;
        }
        self.wake_at = Some(self.wake_at.map_or(at, |have| have.min(at)));
        false
    }

    /// As [`Turn::due`], but never before the term is one lease old: silence from before the term proves nothing.
    fn overdue(&mut self, at: Timestamp) -> bool {
        self.due(at.max(self.view.since() + LEASE))
    }

    fn instance(&self, id: &InstanceId) -> Option<&'a Instance> {
        self.state.instances.get(id).map(|i| &**i)
    }

    /// Looks for places on the board as the plan so far leaves it. `whole`: all or none.
    fn seek(
        &mut self,
        demand: Demand<'_>,
        count: usize,
        whole: bool,
    ) -> (Vec<Choice>, Option<Misfits>) {
        let (state, view, now) = (self.state, self.view, self.now);
        let board = self
            .board
            .get_or_insert_with(|| Board::new(state, view, now));
        let mut trial = board.clone();
        let (choices, misfits) = trial.place(state, demand, count);
        if whole && misfits.is_some() {
            return (Vec::new(), misfits);
        }
        *board = trial;
        (choices, misfits)
    }

    fn place(&mut self, purpose: Purpose, choices: Vec<Choice>) {
        if choices.is_empty() {
            return;
        }
        let first = self.last_instance + 1;
        self.last_instance += choices.len() as u64;
        let at = self.now;
        self.propose(Command::Place {
            purpose,
            first,
            placements: choices.into_iter().map(|c| c.placement).collect(),
            at,
        });
    }

    /// Live instances of the app that can be counted on.
    fn live(&self, app: &'a App) -> impl Iterator<Item = &'a Instance> + use<'a> {
        let state = self.state;
        state
            .instances_of(app)
            .map(|i| &**i)
            .filter(move |i| is_counted(state, i))
    }
}

/// Whether a live instance counts as a replica.
fn is_counted(state: &State, instance: &Instance) -> bool {
    instance.stage == crate::state::Stage::Live
        && !instance.replace
        && !instance.is_over()
        && !state.is_lost(&instance.node)
}

/// Ids of instances.
fn ids<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> BTreeSet<InstanceId> {
    instances.into_iter().map(|i| i.id.clone()).collect()
}
