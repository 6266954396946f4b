//! Slow, silent and greedy clients over real sockets and TLS, with short deadlines.

mod crowd;
mod readers;
mod slow;
mod world;
