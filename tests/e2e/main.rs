//! End to end: the shipped binary as users run it, under load and under faults.
//!
//! Every test has a system of its own (`hancock dev` with a fresh data directory and ports from the OS) and leaves nothing behind.
//! What must hold in both container runtimes is written once and run in both.
#![allow(clippy::unwrap_used)]

mod agents;
mod balancer;
mod checks;
mod crash;
mod demo;
mod doctor;
mod engine;
mod etcd;
mod exec;
mod failing;
mod footprint;
mod images;
mod import;
mod jobs;
mod liveness;
mod masters;
mod operate;
mod recreate;
mod refuse;
mod rollout;
mod runtime;
mod single;
mod spec;
mod start;
mod streams;
mod systemd;
mod tell;
mod upgrade;
mod world;
mod zones;
