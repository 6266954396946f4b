//! The real service manager, for a test of its own: systemd as the first process of its own name spaces, with this machine's files, whose
//! changes are in memory, and this machine's network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use nix::unistd::Uid;
use tempfile::TempDir;

use crate::daemon::Daemon;
use crate::fixture;
use crate::wait::wait_for;

/// The script that makes the place and becomes systemd.
const BOOT: &str = include_str!("systemd/boot.sh");

/// Time it has to start, and for what it does on demand.
const START: Duration = Duration::from_secs(60);

/// A running systemd. Fields are dropped from the top: with its first process everything in it ends.
#[derive(Debug)]
pub struct Systemd {
    /// Becomes nobody's parent before its group is removed.
    daemon: Option<Daemon>,
    /// Its first process, as this machine numbers it.
    first: i32,
    dir: TempDir,
}

/// Why there can be none here; None: it can be started.
pub fn missing() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("only root may start a systemd".to_owned());
    }
    let there = Path::new("/lib/systemd/systemd").exists();
    if !there {
        return Some("systemd is not installed".to_owned());
    }
    ["unshare", "nsenter", "mount"]
        .iter()
        .find_map(|program| fixture::missing(program))
}

impl Systemd {
    /// Starts one in which `program` lies at `at`, and `files` at their paths; returns when it is up.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(program: &Path, at: &str, files: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hancock-systemd-")
            .tempdir()
            .unwrap();
        fs::create_dir(dir.path().join("files")).unwrap();
        for (path, text) in files {
            write(&dir.path().join("files").join(relative(path)), text);
        }
        fs::write(dir.path().join("boot"), BOOT).unwrap();
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--uts",
                "--ipc",
                "--kill-child",
                "bash",
            ])
            .arg(dir.path().join("boot"))
            .arg(dir.path())
            .arg(program)
            .arg(at);
        let daemon = Daemon::start(&mut command, &dir.path().join("log"));
        let first = first_process(&daemon);
        let systemd = Self {
            daemon: Some(daemon),
            first,
            dir,
        };
        wait_for("a systemd that is up", START, || {
            let ran = systemd.run(&["systemctl", "is-system-running", "--wait"]);
            match String::from_utf8_lossy(&ran.stdout).trim() {
                "running" => Ok(()),
                _ => Err(format!("{ran:?}, {:?}", systemd.daemon)),
            }
        });
        systemd
    }

    /// Runs a command in it.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        let first = self.first.to_string();
        command.args(["--target", &first, "--all", "--root", "--wd=/"]);
        command.args(words).output().unwrap()
    }

    /// `systemctl` with these words, which must succeed; what it printed.
    ///
    /// # Panics
    /// It does not.
    #[track_caller]
    pub fn ctl(&self, words: &[&str]) -> String {
        let ran = self.run(&[&["systemctl"], words].concat());
        assert!(ran.status.success(), "{words:?}: {ran:?}\n{}", self.told());
        String::from_utf8(ran.stdout).unwrap().trim().to_owned()
    }

    /// One property of a unit.
    ///
    /// # Panics
    /// There is no such unit or property.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.ctl(&["show", "--value", "--property", name, unit])
    }

    /// Where a file in it is found from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.first));
        root.join(relative(inside))
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, inside: &str, text: &str) {
        write(&self.path(inside), text);
    }

    /// The end of its journal.
    pub fn told(&self) -> String {
        let ran = self.run(&["journalctl", "--no-pager", "--lines=60"]);
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- its journal:\n{}\n---", self.told());
        }
        self.daemon = None;
        let mut gone = Command::new("unshare");
        gone.args(["--mount", "bash"])
            .arg(self.dir.path().join("boot"));
        gone.arg("--gone").arg(self.dir.path());
        wait_or_tell(gone);
    }
}

/// Its processes may take a moment to be gone, and with them their groups.
fn wait_or_tell(mut gone: Command) {
    let removed = crate::wait::try_wait_for("the end of its control groups", START, || {
        let ran = gone.output().map_err(|e| e.to_string())?;
        match ran.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
        }
    });
    if let Err(late) = removed {
        eprintln!("{late}");
    }
}

fn relative(path: &str) -> &Path {
    Path::new(path.trim_start_matches('/'))
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The one child of `unshare`.
fn first_process(daemon: &Daemon) -> i32 {
    let pid = daemon.pid();
    let path = format!("/proc/{pid}/task/{pid}/children");
    wait_for("the first process", START, || {
        let children = fs::read_to_string(&path).map_err(|e| e.to_string())?;
        let first = children.split_whitespace().next();
        first
            .and_then(|first| first.parse().ok())
            .ok_or_else(|| format!("no child; {}", daemon.told()))
    })
}
