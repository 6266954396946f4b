//! What `hancock dev` says, printed by a thread of its own: a terminal that is paused, or a pipe that nobody reads, holds up nothing.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;

/// Texts waiting to be printed; what comes on top is left out and counted.
const WAITING: usize = 256;

/// The thread that prints.
pub struct Voice {
    texts: SyncSender<String>,
    unsaid: Arc<AtomicU64>,
    ended: Receiver<()>,
}

impl Voice {
    /// Begins to print to `to`.
    ///
    /// # Errors
    /// There is no room for one more thread.
    pub fn to(to: impl Write + Send + 'static) -> anyhow::Result<Self> {
        let (texts, waiting) = sync_channel(WAITING);
        let (end, ended) = sync_channel(0);
        let unsaid = Arc::new(AtomicU64::new(0));
        let left_out = unsaid.clone();
        let print = move || {
            // Nobody there to read is no reason to stop running apps.
            let _ = print(to, &waiting, &left_out);
            drop(end);
        };
        let thread = thread::Builder::new().name("voice".to_owned()).spawn(print);
        thread.context("cannot start a thread")?;
        Ok(Self {
            texts,
            unsaid,
            ended,
        })
    }

    /// Prints `text` on lines of its own, soon.
    pub fn say(&self, text: impl Into<String>) {
        if self.texts.try_send(text.into()).is_err() {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything is printed, at most for `patience`.
    pub fn close(self, patience: Duration) {
        drop(self.texts);
        // Either the thread has dropped its end, or it took too long.
        let _ = self.ended.recv_timeout(patience);
    }
}

fn print(mut to: impl Write, waiting: &Receiver<String>, unsaid: &AtomicU64) -> io::Result<()> {
    for text in waiting {
        writeln!(to, "{text}")?;
        let left_out = unsaid.swap(0, Ordering::Relaxed);
        if left_out > 0 {
            writeln!(
                to,
                "({left_out} lines were left out here; `hancock events` has them)"
            )?;
        }
        to.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Hands over what is written when there is room for it.
    struct Slow {
        written: SyncSender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            self.written.send(text).map_err(gone)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_printed_before_the_end() {
        let (written, printed) = sync_channel(64);
        let voice = Voice::to(Slow { written }).unwrap();
        voice.say("one");
        voice.say("two");
        voice.close(Duration::from_secs(10));
        assert_eq!(printed.try_iter().collect::<String>(), "one\ntwo\n");
    }

    #[test]
    fn who_does_not_read_holds_up_nobody() {
        let (written, read) = sync_channel(0);
        let voice = Voice::to(Slow { written }).unwrap();
        for n in 0..WAITING * 2 {
            voice.say(format!("{n}"));
        }
        assert!(voice.unsaid.load(Ordering::Relaxed) >= WAITING as u64 / 2);
        voice.close(Duration::from_millis(1));
        let printed: String = read.iter().collect();
        assert!(printed.contains("lines were left out"), "{printed}");
    }
}
