//! Looking at processes through /proc: who listens on a port, who belongs to a data directory, how much memory one has.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Start time in clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process `pid`, when it is there and not a zombie.
    pub fn find(pid: i32) -> Option<Self> {
        let stat = stat(pid)?;
        (stat.state != 'Z').then_some(Self {
            pid,
            started: stat.started,
        })
    }

    /// Whether it is still this one.
    pub fn is_alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    /// Sends `signal`; a process that has gone is no error.
    ///
    /// # Panics
    /// When the signal may not be sent.
    pub fn signal(self, signal: Signal) {
        if self.is_alive()
            && let Err(error) = kill(Pid::from_raw(self.pid), signal)
        {
            assert_eq!(error, nix::errno::Errno::ESRCH, "{signal} to {}", self.pid);
        }
    }
}

struct Stat {
    state: char,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything; fields count from behind it.
    let fields: Vec<&str> = text[text.rfind(')')? + 2..].split(' ').collect();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// Every process id there is.
fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The process that listens on TCP `port` of any IPv4 address of this network namespace.
pub fn listener(port: u16) -> Option<Process> {
    let inodes = listening_inodes(port);
    let holds = |pid: i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        fds.flatten().any(|fd| {
            let target = fs::read_link(fd.path()).unwrap_or_default();
            inodes.contains(target.to_string_lossy().as_ref())
        })
    };
    let mut holders: Vec<Process> = pids()
        .into_iter()
        .filter(|pid| holds(*pid))
        .filter_map(Process::find)
        .collect();
    // A parent that handed the socket down started earlier; the one that serves is the youngest.
    holders.sort_by_key(|p| (p.started, p.pid));
    holders.pop()
}

fn listening_inodes(port: u16) -> BTreeSet<String> {
    let suffix = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"]
        .map(|path| fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    let listening = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&suffix) && *fields.get(3)? == "0A";
        listens.then(|| format!("socket:[{}]", fields[9]))
    });
    listening.collect()
}

/// Which of `pids` has the end `near` of the connection between `near` and `far`, both IPv4.
pub fn connected(near: SocketAddr, far: SocketAddr, pids: &[i32]) -> Option<i32> {
    let table = fs::read_to_string("/proc/net/tcp").ok()?;
    let (near, far) = (table_form(near)?, table_form(far)?);
    let inode = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = *fields.get(1)? == near && *fields.get(2)? == far;
        is_it.then(|| format!("socket:[{}]", fields[9]))
    })?;
    let has = |pid: &&i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut fds = fds.into_iter().flatten().flatten();
        fds.any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.as_os_str() == inode.as_str()))
    };
    pids.iter().find(has).copied()
}

/// An address as the kernel's table has it.
fn table_form(address: SocketAddr) -> Option<String> {
    let SocketAddr::V4(address) = address else {
        return None;
    };
    let bytes = u32::from_ne_bytes(address.ip().octets());
    Some(format!("{bytes:08X}:{:04X}", address.port()))
}

/// Processes whose command line, environment or working directory names `dir`, and everything they started.
pub fn belonging_to(dir: &Path) -> Vec<Process> {
    let all = pids();
    let mut found: BTreeSet<i32> = all.iter().copied().filter(|pid| names(*pid, dir)).collect();
    loop {
        let children = all.iter().copied().filter(|pid| {
            !found.contains(pid) && stat(*pid).is_some_and(|s| found.contains(&s.parent))
        });
        let children: Vec<i32> = children.collect();
        if children.is_empty() {
            break;
        }
        found.extend(children);
    }
    found.remove(&i32::try_from(std::process::id()).unwrap());
    found.into_iter().filter_map(Process::find).collect()
}

fn names(pid: i32, dir: &Path) -> bool {
    let dir = dir.as_os_str().as_encoded_bytes();
    let holds = |file: &str| {
        let content = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        content.windows(dir.len()).any(|w| w == dir)
    };
    let inside = fs::read_link(format!("/proc/{pid}/cwd"))
        .is_ok_and(|cwd| cwd.as_os_str().as_encoded_bytes().starts_with(dir));
    inside || holds("cmdline") || holds("environ")
}

/// Resident memory of `pid` in KiB.
pub fn resident_kib(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|l| l.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_by_its_port_and_has_memory() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let me = i32::try_from(std::process::id()).unwrap();
        let found = listener(socket.local_addr().unwrap().port()).unwrap();
        assert_eq!(found.pid, me);
        assert!(found.is_alive());
        assert!(resident_kib(me).unwrap() > 100);
    }

    #[test]
    fn a_child_is_found_by_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(dir.path())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        crate::wait_for("the child", std::time::Duration::from_secs(5), || {
            let found = belonging_to(dir.path());
            if found.iter().any(|p| p.pid == pid) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(belonging_to(dir.path()).is_empty());
    }
}
