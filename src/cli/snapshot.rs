//! `hancock snapshot`: the whole cluster as one file, for the day its masters are lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hancock_master::{Backup, Counts, Head};
use serde::Serialize;

use super::Context;
use super::args::{age, bytes};
use super::master::RestoreArgs;
use super::out::Out;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Save the running cluster into a file, tokens included: keep it as safe as they are
    Save(Named),
    /// Make an empty data directory the first master's of the cluster in a file
    Restore(Box<RestoreArgs>),
    /// Check a file to its end, and say what is in it
    Inspect(Named),
}

/// A file.
#[derive(Debug, clap::Args)]
pub struct Named {
    /// The file
    file: PathBuf,
}

/// What `save` and `inspect` print.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    head: Head,
    format: u32,
    bytes: u64,
    checksum: String,
    counts: Counts,
}

/// Saves the cluster.
///
/// # Errors
/// No master can be reached, or the file cannot be written. Then no file, or the former one, is there.
pub async fn save(context: &Context, args: &Named) -> anyhow::Result<ExitCode> {
    let part = args.file.with_added_extension("part");
    let cannot = || format!("cannot write {}", part.display());
    let mut file = create(&part).with_context(cannot)?;
    let mut pieces = context.client.snapshot().await?;
    while let Some(piece) = pieces.next().await? {
        file.write_all(&piece).with_context(cannot)?;
    }
    file.sync_all().with_context(cannot)?;
    // What arrived is checked before it takes the place of a former file.
    let summary = summary(&part)?;
    put(&part, &args.file).with_context(|| format!("cannot write {}", args.file.display()))?;
    context.out.print(&summary, text)?;
    Ok(ExitCode::SUCCESS)
}

/// Checks a file.
///
/// # Errors
/// It is damaged, of a newer format, or cannot be read.
pub fn inspect(args: &Named, out: &Out) -> anyhow::Result<ExitCode> {
    out.print(&summary(&args.file)?, text)?;
    Ok(ExitCode::SUCCESS)
}

fn summary(file: &Path) -> anyhow::Result<Summary> {
    let backup = Backup::read(file)?;
    Ok(Summary {
        format: backup.format,
        bytes: backup.bytes,
        checksum: format!("{:08x}", backup.sum),
        counts: backup.counts(),
        head: backup.head,
    })
}

/// Readable for its owner only: there are tokens in it.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

fn put(part: &Path, place: &Path) -> io::Result<()> {
    fs::rename(part, place)?;
    let folder = place.parent().filter(|path| !path.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn text(summary: &Summary) -> String {
    let Summary { head, counts, .. } = summary;
    format!(
        "cluster     {}\nas of       entry {} in term {}\ntaken       {} ago, by version {}\nformat      {}\ncontent     {}, checksum {}\n\
         holds       {} apps, {} instances, {} nodes, {} zones, {} deployments, {} upstreams kept by hand\n",
        head.cluster,
        head.index,
        head.term,
        age(head.at),
        head.version,
        summary.format,
        bytes(summary.bytes),
        summary.checksum,
        counts.apps,
        counts.instances,
        counts.nodes,
        counts.zones,
        counts.deployments,
        counts.upstreams,
    )
}
