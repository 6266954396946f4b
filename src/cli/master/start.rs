//! `hancock master init` and `join`: a data directory becomes a master's.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use hancock_master::{found_cluster, join_cluster};
use hancock_tls::Pin;
use serde::Serialize;

use super::place::{self, Args};
use crate::cli::out::Out;
use crate::cli::token;

/// Options of `hancock master join`.
#[derive(Debug, clap::Args)]
pub struct JoinArgs {
    /// The peers address of any master of the cluster, like 10.0.0.1:7402
    contact: String,
    #[command(flatten)]
    place: Args,
}

/// What `init` prints.
#[derive(Debug, Serialize)]
struct Founded {
    cluster: String,
    operator_token: String,
    join_token: String,
    /// Whether the masters speak TLS.
    encrypted: bool,
}

/// What `join` prints.
#[derive(Debug, Serialize)]
struct Joined {
    cluster: String,
}

pub(super) fn init(args: Args, out: &Out) -> anyhow::Result<ExitCode> {
    let place = args.place()?;
    let data = place.open()?;
    let (cluster, credentials) = found_cluster(&place::folder(&data), !place.insecure)?;
    let founded = Founded {
        cluster: cluster.to_string(),
        encrypted: credentials.is_encrypted(),
        operator_token: credentials.operator,
        join_token: credentials.join,
    };
    out.print(&founded, |founded| {
        format!(
            "cluster         {}\noperator token  {}\njoin token      {}\n\n\
             The operator token is for people, programs and new masters (HANCOCK_TOKEN), the join token for agents. Keep them: they are\n\
             not printed again. {}\n`hancock master run` with the same options starts the master.\n",
            founded.cluster, founded.operator_token, founded.join_token, what_they_carry(founded.encrypted)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn join(
    args: JoinArgs,
    token_file: Option<&Path>,
    out: &Out,
) -> anyhow::Result<ExitCode> {
    let place = args.place.place()?;
    let Some(token) = token::given(token_file)? else {
        bail!(
            "joining needs the operator's token: give it with --token-file FILE or HANCOCK_TOKEN"
        );
    };
    let encrypted = Pin::of_token(&token).is_some();
    if !encrypted && !place.insecure && !is_here(&args.contact) {
        bail!(
            "the token carries no fingerprint, so its cluster has no certificates, and the way to {} is not encrypted: accept with \
             --insecure that who can read the network can read the tokens",
            args.contact
        );
    }
    place.must_be_closed(encrypted)?;
    let data = place.open()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the asynchronous runtime")?;
    let folder = place::folder(&data);
    let joining = join_cluster(&folder, &place.name, &args.contact, &token);
    let joined = Joined {
        cluster: runtime.block_on(joining)?.to_string(),
    };
    out.print(&joined, |joined| {
        format!(
            "{} may enter cluster {}; `hancock master run` with the same options takes it in\n",
            place.name, joined.cluster
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn what_they_carry(encrypted: bool) -> &'static str {
    match encrypted {
        true => {
            "What follows the dot is the fingerprint of the cluster's authority:\nwho shows a token speaks TLS, and to masters of this cluster only."
        }
        false => {
            "The cluster has no certificates: its masters speak plain for ever,\nand who can read the network can read the tokens."
        }
    }
}

fn is_here(contact: &str) -> bool {
    let address = contact.parse::<SocketAddr>();
    address.is_ok_and(|address| address.ip().is_loopback())
}
