//! What happens, told while `hancock dev` runs.

use std::time::Duration;

use hancock_proto::event::Event;

use super::voice::Voice;
use crate::cli::args::clock;
use crate::cli::client::{Client, ClientError};
use crate::cli::events::message;
use crate::cli::out::Out;

/// How long one request waits for the next event.
const POLL: Duration = Duration::from_secs(10);
/// Time between tries while the master does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Most events told of one answer.
const MOST: usize = 20;

/// Tells events as they happen, from now on.
pub async fn follow(client: &Client, voice: &Voice, out: &Out) -> ! {
    let mut last = None;
    loop {
        match next(client, last).await {
            Ok(events) => {
                // The first answer is the past.
                if last.is_some() {
                    tell(&events, voice, out);
                }
                last = Some(events.last().map_or(last.unwrap_or(0), |e| e.number));
            }
            // The system runs on all the same.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn next(client: &Client, last: Option<u64>) -> Result<Vec<Event>, ClientError> {
    match last {
        Some(last) => client.events(last, POLL).await,
        None => client.events(0, Duration::ZERO).await,
    }
}

fn tell(events: &[Event], voice: &Voice, out: &Out) {
    // That it runs, or why not, follows at once.
    let worth = events.iter().filter(|e| e.kind != "instance_placed");
    let worth: Vec<&Event> = worth.collect();
    let before = worth.len().saturating_sub(MOST);
    if before > 0 {
        voice.say(format!("… {before} events; `hancock events` lists them"));
    }
    for event in &worth[before..] {
        voice.say(format!("{}  {}", clock(event.at), message(event, out)));
    }
}
