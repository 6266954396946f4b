//! Readers of a registry outside that are no agents: they confirm through the registry, under a lease.

use hancock_proto::time::Timestamp;

use super::{Acks, Confirmed, Last, Who, update};
use crate::leader::{LeaderView, SeenReader, Stand};
use crate::state::{App, Cutover, State};

/// Adds every reader that is known, and the want of knowing any.
pub(super) fn take(
    acks: &mut Acks,
    state: &State,
    view: &LeaderView,
    now: Timestamp,
    app: &App,
    cutover: &Cutover,
) {
    for choice in state.choosing.outside() {
        let store = view.outside().store(choice.number);
        let known = store.and_then(|store| Some((store, store.readers()?)));
        let Some((store, readers)) = known else {
            // One that a switch leads to may not even be there.
            if *choice == state.choosing.now {
                let who = Who::Readers(choice.number, choice.url.to_string());
                acks.lacks(who, unknown(view, now, app, cutover), None);
            }
            continue;
        };
        let known = app.routes.outside.filter(|at| at.choice == choice.number);
        let known = known.map(|at| at.revision);
        let names: Vec<_> = app.carried().into_keys().collect();
        for (name, reader) in readers.iter().filter(|(_, r)| counts(r, app, cutover)) {
            let who = Who::Reader(choice.number, name.clone());
            match store.stands(reader, &app.name, known, &names, cutover.index) {
                Stand::Confirmed(index, since) => {
                    acks.switched = acks.switched.max(since);
                    let index = index.min(app.routes.index);
                    acks.confirmed.insert(who, Confirmed { boot: None, index });
                }
                Stand::Refused(refusal) => {
                    let missing = last(reader).missing(view, now, app, cutover, Some(&refusal));
                    acks.lacks(who, missing, Some(refusal));
                }
                Stand::Behind(why) => {
                    let mut missing = last(reader).missing(view, now, app, cutover, None);
                    if reader.is_there {
                        missing.why = why.to_owned();
                    }
                    acks.lacks(who, missing, None);
                }
            }
        }
    }
}

/// One whose lease was over before may still serve, for as long as a silent node may.
fn counts(reader: &SeenReader, app: &App, cutover: &Cutover) -> bool {
    let hold = update(app).hold_unconfirmed.duration();
    reader.is_there || cutover.published_at.unwrap_or_default() < reader.heard + hold
}

fn last(reader: &SeenReader) -> Last {
    Last {
        heard: reader.heard,
        is_alive: reader.is_there,
    }
}

fn unknown(view: &LeaderView, now: Timestamp, app: &App, cutover: &Cutover) -> super::Missing {
    let last = Last {
        heard: view.since(),
        is_alive: false,
    };
    let missing = last.missing(view, now, app, cutover, None);
    let why = "is not known, as the registry has not answered yet".to_owned();
    super::Missing { why, ..missing }
}
