//! `hancock snapshot restore` and `hancock master recover`: a cluster goes on after its masters, or most of them, are lost.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use hancock_master::{Backup, Member, Survivor, restore_cluster};
use serde::Serialize;

use super::place::{self, Args};
use crate::cli::out::Out;
use crate::cli::table::Table;

/// Longest a master may take to accept a connection, before it counts as one that does not answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Options of `hancock snapshot restore`.
#[derive(Debug, clap::Args)]
pub struct RestoreArgs {
    /// A file that `hancock snapshot save` has written
    file: PathBuf,
    /// Begin a new cluster with the same content, to try the file out: no agent of the first cluster follows it
    #[arg(long)]
    copy: bool,
    #[command(flatten)]
    place: Args,
}

/// Options of `hancock master recover`.
#[derive(Debug, clap::Args)]
pub struct RecoverArgs {
    /// Masters that will never come back, by name: all but this one. Without it, only shows what is there
    #[arg(long, value_name = "NAME", num_args = 1..)]
    i_lost: Vec<String>,
    #[command(flatten)]
    place: Args,
}

/// What `snapshot restore` prints.
#[derive(Debug, Serialize)]
struct Restored {
    cluster: String,
    index: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    operator_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_token: Option<String>,
}

/// What `master recover` prints.
#[derive(Debug, Serialize)]
struct Looked {
    cluster: String,
    /// Newest entry of this master's log.
    index: u64,
    others: Vec<Other>,
    /// Where the former log is; None: nothing was changed.
    kept: Option<PathBuf>,
}

/// Another master.
#[derive(Debug, Serialize)]
struct Other {
    name: String,
    peers: String,
    voter: bool,
    answers: bool,
}

/// Makes an empty directory the first master's of the cluster in a file.
///
/// # Errors
/// The file is damaged, or the directory is not empty.
pub fn restore(args: RestoreArgs, out: &Out) -> anyhow::Result<ExitCode> {
    let place = args.place.place()?;
    let backup = Backup::read(&args.file)?;
    let data = place.open()?;
    let folder = place::folder(&data);
    let revived = restore_cluster(&folder, backup, place.member(), args.copy)?;
    let (operator_token, join_token) = revived.drawn.map(|d| (d.operator, d.join)).unzip();
    let restored = Restored {
        cluster: revived.cluster.to_string(),
        index: revived.index.0,
        operator_token,
        join_token,
    };
    out.print(&restored, restored_text)?;
    Ok(ExitCode::SUCCESS)
}

fn restored_text(restored: &Restored) -> String {
    let mut text = format!("cluster         {}\n", restored.cluster);
    if let (Some(operator), Some(join)) = (&restored.operator_token, &restored.join_token) {
        text += &format!("operator token  {operator}\njoin token      {join}\n");
    } else {
        text += "tokens          as they were\n";
    }
    text += &format!(
        "\nRestored as of entry {}. `hancock master run` with the same options starts the master; further ones join with empty directories.\n\
         Instances begun since then are stopped when agents connect, and those that are gone are started again.\n",
        restored.index
    );
    text
}

/// Makes a master that does not run the only one of its cluster.
///
/// # Errors
/// A majority may live, or somebody thought lost answers.
pub fn recover(args: RecoverArgs, out: &Out) -> anyhow::Result<ExitCode> {
    let place = args.place.place()?;
    let data = place.open()?;
    let folder = place::folder(&data);
    let survivor = Survivor::read(&folder)?;
    let others: Vec<Other> = survivor.others().into_iter().map(look).collect();
    let mut looked = Looked {
        cluster: survivor.cluster().to_string(),
        index: survivor.index().0,
        others,
        kept: None,
    };
    if !args.i_lost.is_empty() {
        judge(&looked.others, &args.i_lost)?;
        looked.kept = Some(survivor.become_only_master(&folder, place.member())?);
    }
    out.print(&looked, |looked| looked_text(looked, out))?;
    Ok(ExitCode::SUCCESS)
}

/// Every other master must be lost for ever, and must behave like it.
fn judge(others: &[Other], lost: &[String]) -> anyhow::Result<()> {
    if others.is_empty() {
        bail!(
            "this is the only master of its cluster: there is nothing to recover from; start it with `hancock master run`"
        );
    }
    if let Some(stranger) = lost
        .iter()
        .find(|name| !others.iter().any(|o| o.name == **name))
    {
        let known: Vec<&str> = others.iter().map(|other| other.name.as_str()).collect();
        bail!(
            "{stranger} is none of the other masters, which are {}",
            known.join(", ")
        );
    }
    for other in others {
        let Other { name, peers, .. } = other;
        if other.answers {
            bail!(
                "{name} is not lost: something answers at {peers}. While a majority of the masters lives nothing needs to be recovered: \
                 `hancock master run`; otherwise end {name} for ever first"
            );
        }
        if !lost.contains(name) {
            bail!(
                "{name} was not named: two masters that go on by themselves would be two clusters. Start it if it lives, or add it to \
                 --i-lost if it never will"
            );
        }
    }
    Ok(())
}

fn look((member, voter): (Member, bool)) -> Other {
    Other {
        answers: answers(&member.peers),
        name: member.name,
        peers: member.peers,
        voter,
    }
}

/// Whether anybody accepts connections there, whoever it is.
fn answers(address: &str) -> bool {
    let addresses = address.to_socket_addrs().into_iter().flatten();
    let mut reached = addresses.map(|at| TcpStream::connect_timeout(&at, ANSWER));
    reached.any(|connected| connected.is_ok())
}

fn looked_text(looked: &Looked, out: &Out) -> String {
    if let Some(kept) = &looked.kept {
        return format!(
            "This master alone is cluster {} now, as of entry {}. `hancock master run` starts it; new masters join with empty directories.\n\
             What only the lost masters had is gone. The former log stays in {}.\n",
            looked.cluster,
            looked.index,
            kept.display()
        );
    }
    let mut table = Table::new(&["MASTER", "PEERS", "ROLE", "ANSWERS"]);
    for other in &looked.others {
        let role = if other.voter { "voter" } else { "follows" };
        let answers = if other.answers { "yes" } else { "no" };
        table.row([
            (&other.name).into(),
            (&other.peers).into(),
            role.into(),
            answers.into(),
        ]);
    }
    format!(
        "cluster {}, this master's log ends with entry {}; the others are\n{}\
         Nothing was changed. --i-lost NAME… names those that never come back, which must be all of them. Of several that are left,\n\
         recover the one with the highest entry, and have the others join again with empty directories.\n",
        looked.cluster,
        looked.index,
        table.render(out)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn other(name: &str, answers: bool) -> Other {
        Other {
            name: name.to_owned(),
            peers: "10.0.0.1:7402".to_owned(),
            voter: true,
            answers,
        }
    }

    fn refused(others: &[Other], lost: &[&str]) -> String {
        let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
        judge(others, &lost).unwrap_err().to_string()
    }

    #[test]
    fn only_who_is_left_alone_goes_on_alone() {
        let both = [other("m2", false), other("m3", false)];
        judge(&both, &["m2".to_owned(), "m3".to_owned()]).unwrap();
        assert!(refused(&both, &["m2"]).contains("m3 was not named"));
        assert!(refused(&both, &["m9"]).contains("which are m2, m3"));
        let one = [other("m2", false), other("m3", true)];
        assert!(refused(&one, &["m2", "m3"]).contains("m3 is not lost"));
        assert!(refused(&one, &["m2"]).contains("m3 is not lost"));
        assert!(refused(&[], &["m2"]).contains("only master"));
    }

    #[test]
    fn who_listens_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert!(answers(&address));
        drop(listener);
        assert!(!answers(&address));
        assert!(!answers(""));
    }
}
