//! An instance's output on disk: one line each with time and stream, in three files of a limited size.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hancock_proto::hub::{LogLine, Stream};
use hancock_proto::ids::InstanceId;
use hancock_proto::time::{Clock, SystemClock, Timestamp};

/// Size at which a file is put aside.
const MAX_SIZE: u64 = 10 << 20;

/// A longer line is cut into pieces.
const MAX_LINE: usize = 16 << 10;

/// The files of one log, oldest first.
pub(super) fn files(log: &Path) -> [PathBuf; 3] {
    [
        log.with_extension("2"),
        log.with_extension("1"),
        log.to_owned(),
    ]
}

/// Writes the lines of both streams.
pub(super) struct Output {
    path: PathBuf,
    file: Mutex<Option<(File, u64)>>,
    max_size: u64,
}

impl Output {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            file: Mutex::new(None),
            max_size: MAX_SIZE,
        }
    }

    /// Copies a stream until it ends. What cannot be written is lost: the app must never wait for a full disk.
    pub(super) fn copy(&self, mut from: impl Read, stream: Stream) {
        let mut chunk = vec![0; MAX_LINE];
        let mut line = Vec::new();
        loop {
            match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => self.take(&chunk[..n], &mut line, stream),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if !line.is_empty() {
            self.write(&format(&line, stream));
        }
    }

    fn take(&self, bytes: &[u8], line: &mut Vec<u8>, stream: Stream) {
        let mut text = Vec::new();
        for byte in bytes {
            if *byte == b'\n' || line.len() >= MAX_LINE {
                text.extend(format(line, stream));
                line.clear();
            }
            if *byte != b'\n' {
                line.push(*byte);
            }
        }
        if !text.is_empty() {
            self.write(&text);
        }
    }

    fn write(&self, text: &[u8]) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if file.is_none() {
            *file = open(&self.path).ok();
        }
        let Some((out, size)) = file.as_mut() else {
            return;
        };
        if out.write_all(text).is_ok() {
            *size += text.len() as u64;
        }
        if *size >= self.max_size {
            // Not put aside: goes on in the same file and tries again with the next line.
            if rotate(&self.path).is_ok() {
                *file = None;
            }
        }
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn rotate(path: &Path) -> io::Result<()> {
    let [oldest, older, newest] = files(path);
    if older.exists() {
        fs::rename(&older, oldest)?;
    }
    fs::rename(newest, older)
}

fn format(line: &[u8], stream: Stream) -> Vec<u8> {
    let mark = match stream {
        Stream::Stdout => 'o',
        Stream::Stderr => 'e',
    };
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    std::format!("{} {mark} {text}\n", SystemClock.now().0).into_bytes()
}

/// Reads a line back; None: it is not one, as after a power cut.
pub(super) fn parse(line: &str, instance: &InstanceId) -> Option<LogLine> {
    let (at, rest) = line.split_once(' ')?;
    let (mark, text) = rest.split_once(' ')?;
    Some(LogLine {
        instance: instance.clone(),
        at: Timestamp(at.parse().ok()?),
        stream: match mark {
            "o" => Stream::Stdout,
            "e" => Stream::Stderr,
            _ => return None,
        },
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn lines_come_back_and_files_stay_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut output = Output::new(folder.path().join("log"));
        output.max_size = 4096;
        let text: String = (0..1000).map(|n| std::format!("line {n}\r\n")).collect();
        for piece in text.as_bytes().chunks(100) {
            output.copy(piece, Stream::Stderr);
        }
        let sizes: Vec<_> = files(&output.path)
            .iter()
            .filter_map(|f| f.metadata().ok())
            .map(|m| m.len())
            .collect();
        assert!(sizes.len() == 3 && sizes.iter().all(|s| *s < 4096 + 20_000));
        let newest = fs::read_to_string(folder.path().join("log.1")).unwrap();
        let id: InstanceId = "a-1".parse().unwrap();
        let line = parse(newest.lines().last().unwrap(), &id).unwrap();
        assert_eq!(line.stream, Stream::Stderr);
    }

    #[test]
    fn long_and_unended_lines_are_kept_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("log"));
        output.copy(&vec![b'x'; MAX_LINE + 5][..], Stream::Stdout);
        let text = fs::read_to_string(folder.path().join("log")).unwrap();
        let lengths: Vec<_> = text
            .lines()
            .map(|l| l.rsplit(' ').next().unwrap().len())
            .collect();
        assert_eq!(lengths, [MAX_LINE, 5]);
    }
}
