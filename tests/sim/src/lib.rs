//! The three cores in one seeded world.

mod agent;
mod balancer;
mod clients;
mod cluster;
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

pub use run::{Run, STEPS, run};
pub use world::World;
