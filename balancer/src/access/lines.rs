//! Writes lines to a file or to standard output, on a thread of its own: a slow disk holds up nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::Lines;
use super::queue::Queue;

const FLUSH: Duration = Duration::from_secs(1);

enum Target {
    Stdout,
    File { path: PathBuf, file: File },
}

/// Starts the thread.
pub(super) fn start(lines: Lines, queue: Arc<Queue>) -> io::Result<JoinHandle<()>> {
    let mut target = match lines {
        Lines::Stdout => Target::Stdout,
        Lines::File(path) => Target::File {
            file: open(&path)?,
            path,
        },
    };
    let thread = std::thread::Builder::new().name("access-log".to_owned());
    thread.spawn(move || {
        let mut failing = false;
        while let Some(lines) = queue.next_blocking(FLUSH) {
            let written = target.write(&lines);
            if let (Err(error), false) = (&written, failing) {
                tracing::error!(%error, "cannot write access records, they are lost until it works again");
            }
            failing = written.is_err();
        }
    })
}

impl Target {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        match self {
            Target::Stdout => io::stdout().lock().write_all(lines),
            Target::File { path, file } => {
                if moved(path, file) {
                    *file = open(path)?;
                }
                file.write_all(lines)
            }
        }
    }
}

/// Whether the path names another file by now, or none.
fn moved(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(ours)) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
        _ => true,
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
