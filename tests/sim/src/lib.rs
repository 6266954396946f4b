//! The three cores in one seeded world.
//!
//! - **Role**: plays the real master core, agent cores, balancer cores and registry watchers against each other, in virtual time, with
//!   clients, owners and faults, and judges every step. What is not a core (Raft, streams, disks, engines, networks, the loops of the
//!   daemons) is a small model here, built like the real one.
//! - **Data in**: one number, the seed; how much is to happen. **Data out**: a verdict, what was judged how often, a trace.
//! - **Invariants**: the same seed gives the same run, event by event; the oracle only looks, it never changes what happens.
//! - **Never**: reads a clock, opens anything, draws a random number from elsewhere. The crate of the watcher brings an asynchronous
//!   runtime along; nothing here starts it.
//!
//! # Runs
//! `cargo test -p hancock-sim` plays 128 seeds. `SIM_SEEDS=5000` plays more, from `SIM_FIRST` on; `SIM_STEPS` says how much happens in
//! each; `SIM_SEED=17` plays one and prints what happens. A failing run names its seed and the command that shows it again.
//! A third of the seeds are calm: leaders come and go, disks are slow, mail comes late and twice, engines and stores fail, and *no*
//! request may fail. The others have everything below. After the faults everything must find its place in bounded time, and one
//! more rollout must succeed without a failed request.
//!
//! A world of its own (`cuts`) cuts nodes off a thousand times, each time for less than it takes to be lost: nothing that is well is touched.
//!
//! # Faults, by the rule of acknowledged cutover they try
//! | rule | fault |
//! |---|---|
//! | drained means three zeros | requests that stay between loading a view and picking from it, sessions of up to a minute, two cutovers at once |
//! | make before break | nodes that do not reach each other, versions that never become ready, that end at once, that drop a host |
//! | confirm only what survives a crash | disks that take seconds to flush, daemons that end before that |
//! | never somebody else's app | few host ports, nodes that are away while ports are given back |
//! | fence | former leaders that go on publishing and assigning, and one that writes everything it knows again |
//! | unknown is not failed | stores that lose answers or questions, or are away |
//! | absence is not removal | compaction, a store that loses everything or is put back to an earlier state, lists and changes in any mixture |
//! | who must confirm, and who does not | apps that move between zones, nodes that change their labels, nodes off, cut off, with a slow disk; leaders that change at any step, clocks that jump |
//! | dead agent, living instance | daemons that end and come back while their instances and deeds go on |
//! | terms everywhere | assignments that come late, twice, from a former leader |
//! | one writer | versions that run alone, volumes and folders with a single writer, one folder for both apps, among all of the above |
//!
//! # The net
//! Bugs put in by hand, each caught within 256 seeds, and by what:
//!
//! | bug | said |
//! |---|---|
//! | a routing phase on a former view does not count | "told to stop as drained, n1 has a request that concerns it" |
//! | open sessions do not count | the same |
//! | confirmed before it is durable | "confirms web.test at 28, on its disk is 0" |
//! | the registry ignores the fence | "the registry took a write of term 2, its fence is 3" |
//! | the leader takes every index for the confirmed one | "not settled": what it proposes is refused when applied |
//! | an agent listens to former terms, or to former generations | "n1 took generation 6 of term 5 after …" |
//! | a balancer switches before the added peers pass | "switched api.test to 139, of which it reaches nobody" |
//! | a list that lacks a service removes it | "routes to nobody on n1, which nobody wished" |
//! | ports are given out again at once | "port 20001 goes to web-20, n1 remembers api-14 there" |
//! | a lost node's instances leave the documents | "no longer routes to web-10, which may be alive" |
//! | silent balancers' instances are not held | "api-13 is told to stop while n3, in contact, uses it", and failed requests |
//! | masters do not wait for a stop, and place beside a writer | "n3 starts web-11 beside web-9" |
//! | documents offer whom the zone has left, and a balancer goes back to them | "told to stop (drained), n1 routes to it" |
//!
//! What is not caught, because something else prevents it as well: an agent that orders a start while the outcome of one is open
//! (engines leave alone what runs); evidence of a former boot (the leader's view voids it before the log could); a balancer that goes back
//! to peers it left, as long as no document offers them.

mod agent;
mod balancer;
mod clients;
mod cluster;
mod cuts;
mod deeds;
mod documents;
mod engine;
mod host;
mod hub;
mod lead;
mod machine;
mod oracle;
mod publish;
mod queue;
mod rng;
mod run;
mod settings;
mod settle;
mod specs;
mod store;
mod world;

pub use cuts::{Cuts, cuts};
pub use run::{Run, STEPS, run};
pub use world::World;
