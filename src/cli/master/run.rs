//! `hancock master run`: one of several masters.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use hancock_master::{ClusterOptions, Master};

use super::place::{self, Args, Place};
use crate::boot::{self, Stop};

/// Time everything has to end after the first Ctrl-C.
const STOP_DEADLINE: Duration = Duration::from_secs(10);

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let place = args.place()?;
    boot::tracing("info");
    boot::open_many_files();
    boot::run(serve(place))
}

async fn serve(place: Place) -> anyhow::Result<ExitCode> {
    let mut stop = Stop::listen()?;
    let data = place.open()?;
    let encrypted = hancock_master::is_encrypted(&place::folder(&data))?;
    place.must_be_closed(encrypted)?;
    let options = ClusterOptions {
        data_dir: place::folder(&data),
        member: place.member(),
        api: boot::bind(place.api, "--api ADDR")?,
        agents: boot::bind(place.agents, "--agents ADDR")?,
        peers: boot::bind(place.peers, "--peers ADDR")?,
        registries: place.registries.clone(),
    };
    let master = Master::take_part(options).await?;
    println!(
        "hancock master {}, {} of cluster {}\n  API {}://{}   agents {}   peers {}",
        env!("CARGO_PKG_VERSION"),
        place.name,
        master.cluster(),
        if encrypted { "https" } else { "http" },
        place.api,
        place.agents,
        place.peers,
    );
    let ended = tokio::select! {
        () = stop.asked() => None,
        () = master.failed() => Some(
            "the master cannot write its log any more (the line above says why); make room or mend the disk, then start again",
        ),
        () = master.removed() => Some(
            "this master was removed from its cluster; move its data directory away before it joins again",
        ),
    };
    tokio::select! {
        () = master.shutdown(STOP_DEADLINE) => {}
        () = stop.asked() => {}
    }
    match ended {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => bail!(reason),
    }
}
