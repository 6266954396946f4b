//! A program that runs beside the test: its output in a file, signals by pid, gone when dropped. What it started belongs to
//! [`Leftovers`], because a daemon's instances outlive it and are meant to.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::proc;
use crate::wait::try_wait_for;

/// Lines of the log told when a test fails.
const TOLD_LINES: usize = 80;

/// A running program.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// Where this start's output begins: a log is shared by all starts on one directory.
    begin: u64,
}

impl Daemon {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let begin = output.metadata().unwrap().len();
        let errors = output.try_clone().unwrap();
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self {
            child,
            log: log.to_owned(),
            begin,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// What it has printed since it was started.
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.begin))?;
            file.read_to_end(&mut bytes)
        });
        read.unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits until a whole line holds `text` and returns the line.
    ///
    /// # Panics
    /// When it does not come in time, or the program ends before.
    #[track_caller]
    pub fn wait_line(&mut self, text: &str, deadline: Duration) -> String {
        let found = try_wait_for(&format!("a line with {text:?}"), deadline, || {
            let output = self.output();
            let complete = &output[..output.rfind('\n').map_or(0, |end| end + 1)];
            match complete.lines().find(|line| line.contains(text)) {
                Some(line) => Ok(Ok(line.to_owned())),
                None => match self.child.try_wait().unwrap() {
                    Some(status) => {
                        Ok(Err(format!("ended ({status}) before a line with {text:?}")))
                    }
                    None => Err("not in its output yet".to_owned()),
                },
            }
        });
        found
            .and_then(|line| line)
            .unwrap_or_else(|late| panic!("{late}; output:\n{}", self.told()))
    }

    /// Sends `signal` to the program alone.
    ///
    /// # Panics
    /// When it has ended before.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not in time.
    #[track_caller]
    pub fn wait_exit(&mut self, deadline: Duration) -> ExitStatus {
        let ended = try_wait_for("the program's end", deadline, || {
            self.child.try_wait().unwrap().ok_or("still running")
        });
        ended.unwrap_or_else(|late| panic!("{late}; output:\n{}", self.told()))
    }

    /// SIGKILL, as a crash would. What it started goes on.
    pub fn crash(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The last lines of its output.
    pub fn told(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(TOLD_LINES)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- last output of process {}:\n{}\n---",
                self.pid(),
                self.told()
            );
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that runs in, for or from a directory: ended on drop. Declare it after the daemons that would start more.
#[derive(Debug)]
pub struct Leftovers(PathBuf);

impl Leftovers {
    /// Of `dir`.
    pub fn of(dir: &Path) -> Self {
        Self(dir.to_owned())
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let ended = try_wait_for(
            "the end of what was left running",
            Duration::from_secs(10),
            || {
                let left = proc::belonging_to(&self.0);
                for process in &left {
                    process.signal(Signal::SIGKILL);
                }
                if left.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{left:?}"))
                }
            },
        );
        if let Err(late) = ended {
            eprintln!("{late}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Daemon {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).current_dir(dir);
        Daemon::start(&mut command, &dir.join("log"))
    }

    #[test]
    fn output_lines_signals_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = shell(
            "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
            dir.path(),
        );
        assert_eq!(daemon.wait_line("read", Duration::from_secs(5)), "ready");
        daemon.signal(Signal::SIGTERM);
        assert_eq!(daemon.wait_exit(Duration::from_secs(5)).code(), Some(3));
        assert!(daemon.output().ends_with("bye\n"));
    }

    #[test]
    fn a_second_start_has_its_own_output() {
        let dir = tempfile::tempdir().unwrap();
        shell("echo first", dir.path()).wait_line("first", Duration::from_secs(5));
        let mut second = shell("echo second", dir.path());
        second.wait_line("second", Duration::from_secs(5));
        assert!(!second.output().contains("first"));
    }

    #[test]
    fn nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = shell("setsid sleep 600 & echo $!", dir.path());
        daemon.wait_exit(Duration::from_secs(5));
        let pid: i32 = daemon.output().trim().parse().unwrap();
        let left = proc::Process::find(pid).unwrap();
        drop(Leftovers::of(dir.path()));
        assert!(!left.is_alive());
    }
}
