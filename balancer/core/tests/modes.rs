//! What the modes beyond the original's promise, over whole views: who is left out, what moves, and who gets how much.

#[path = "modes/excluded.rs"]
mod excluded;
#[path = "modes/latency.rs"]
mod latency;
#[path = "modes/maglev.rs"]
mod maglev;
#[path = "modes/slow_start.rs"]
mod slow_start;
#[path = "modes/world.rs"]
mod world;
