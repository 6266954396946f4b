//! Finds the facts out: reads files of the kernel, asks the engine and a master. What cannot be read is left out, or told as it is.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use hancock_agent::runtime::docker::{About, DockerOptions};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::facts::{Cgroups, Facts, Listener, Room, Skew};
use crate::cli::agent::{self, Needs};
use crate::cli::client::Client;

/// Settings of the kernel that checks look at.
const SYSCTLS: [&str; 16] = [
    "fs.file-max",
    "fs.file-nr",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "kernel.keys.maxkeys",
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "net.bridge.bridge-nf-call-iptables",
    "net.core.somaxconn",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_tw_reuse",
    "net.netfilter.nf_conntrack_count",
    "net.netfilter.nf_conntrack_max",
];

/// Everything that is looked at.
pub async fn facts(config: Option<&Path>, master: Option<Client>) -> Facts {
    let read = config.map(agent::Args::of_file);
    let told = config.zip(read.as_ref()).map(|(path, read)| {
        let problem = read
            .as_ref()
            .map(drop)
            .map_err(|error| format!("{error:#}"));
        (path.display().to_string(), problem)
    });
    let needs = match read {
        Some(Ok(args)) => args.needs(),
        _ => agent::Args::default().needs(),
    };
    let engine = match needs.docker {
        true => Some(engine().await),
        false => None,
    };
    let skew = match master {
        None => Skew::NotAsked,
        Some(master) => match master.ahead().await {
            Ok(ahead) => Skew::Ahead(ahead),
            Err(error) => Skew::Unknown(error.to_string()),
        },
    };
    let files = getrlimit(Resource::RLIMIT_NOFILE);
    Facts {
        config: told,
        docker: needs.docker,
        rooms: rooms(&needs, engine.as_ref()),
        engine,
        sysctls: sysctls(),
        key_users: fs::read_to_string("/proc/key-users").unwrap_or_default(),
        cgroups: cgroups(),
        // Not to be had: not to be judged.
        files: files.unwrap_or((u64::MAX, u64::MAX)),
        ports: needs.ports,
        listens: needs.listens.into(),
        listeners: listeners(),
        privileged: nix::unistd::geteuid().is_root(),
        skew,
    }
}

async fn engine() -> Result<About, String> {
    let socket = DockerOptions::socket_of_environment().map_err(|error| error.to_string())?;
    let about = About::ask(&socket).await;
    about.map_err(|error| error.to_string())
}

fn sysctls() -> BTreeMap<String, String> {
    let read = |key: &str| {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let text = fs::read_to_string(path).ok()?;
        Some((key.to_owned(), text.trim().to_owned()))
    };
    SYSCTLS.into_iter().filter_map(read).collect()
}

fn cgroups() -> Option<Cgroups> {
    if let Ok(all) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        return Some(Cgroups {
            version: 2,
            controllers: all.split_whitespace().map(str::to_owned).collect(),
        });
    }
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mounted = mounts
        .lines()
        .any(|line| line.split(' ').nth(2) == Some("cgroup"));
    let table = fs::read_to_string("/proc/cgroups")
        .ok()
        .filter(|_| mounted)?;
    // Name, hierarchy, groups, whether it is enabled.
    let enabled = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next().filter(|name| !name.starts_with('#'))?;
        (fields.nth(2) == Some("1")).then(|| name.to_owned())
    });
    Some(Cgroups {
        version: 1,
        controllers: enabled.collect(),
    })
}

fn rooms(needs: &Needs, engine: Option<&Result<About, String>>) -> Vec<(&'static str, Room)> {
    let data = room(&needs.data_dir).map(|room| ("data directory", room));
    let root = engine.and_then(|engine| engine.as_ref().ok());
    let root = root.and_then(|about| room(Path::new(&about.root_dir)));
    data.into_iter()
        .chain(root.map(|room| ("engine", room)))
        .collect()
}

/// The file system of a folder, which may not be there yet: its nearest parent is on the same one.
fn room(path: &Path) -> Option<Room> {
    let there = path.ancestors().find(|parent| parent.is_dir())?;
    let stat = statvfs(there).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Some(Room {
        path: there.display().to_string(),
        bytes: (bytes(stat.blocks()), bytes(stat.blocks_available())),
        files: (stat.files(), stat.files_available()),
    })
}

/// Who listens on this machine.
fn listeners() -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(fs::read_to_string);
    let tables: Vec<String> = tables.into_iter().flatten().collect();
    let sockets: Vec<(SocketAddr, u64)> = tables
        .iter()
        .flat_map(|table| table.lines())
        .filter_map(listening)
        .collect();
    let holders = holders();
    let listener = |(at, inode): (SocketAddr, u64)| Listener {
        at,
        by: holders.get(&inode).cloned(),
    };
    sockets.into_iter().map(listener).collect()
}

/// Address and inode of a line of /proc/net/tcp or tcp6, when its state is LISTEN (0A).
fn listening(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let ("0A", inode) = (*fields.get(3)?, fields.get(9)?) else {
        return None;
    };
    let (ip, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(address(ip)?, port), inode.parse().ok()?))
}

/// An address as the kernel prints it: words of four bytes, each in the machine's own order.
fn address(hex: &str) -> Option<IpAddr> {
    let words =
        (0..hex.len() / 8).map(|n| u32::from_str_radix(hex.get(n * 8..n * 8 + 8)?, 16).ok());
    let bytes: Vec<u8> = words
        .collect::<Option<Vec<u32>>>()?
        .iter()
        .flat_map(|w| w.to_ne_bytes())
        .collect();
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?).to_canonical()),
        16 => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(
                ip.to_ipv4_mapped()
                    .map_or(ip.into(), |ip: Ipv4Addr| ip.into()),
            )
        }
        _ => None,
    }
}

/// Processes by the sockets they hold; those of others only root sees.
fn holders() -> BTreeMap<u64, (u32, String)> {
    let mut holders = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for file in fs::read_dir(process.path().join("fd"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let link = fs::read_link(file.path()).unwrap_or_default();
            let inode = link.to_str().and_then(|link| link.strip_prefix("socket:["));
            let inode = inode.and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode {
                holders.insert(inode, (pid, name.trim().to_owned()));
            }
        }
    }
    holders
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(at) else {
                continue;
            };
            let at = listener.local_addr().unwrap();
            let found = listeners().into_iter().find(|l| l.at == at);
            let by = found.unwrap().by.unwrap();
            assert_eq!(by.0, std::process::id(), "{at}");
        }
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0";
        let told = Some(("127.0.0.1:8080".parse().unwrap(), 4711));
        assert_eq!(
            listening(line),
            told.filter(|_| cfg!(target_endian = "little"))
        );
        for other in [
            "",
            "x",
            &line.replace(" 0A ", " 01 "),
            "sl local_address rem_address st",
        ] {
            assert_eq!(listening(other), None, "{other}");
        }
        assert_eq!(
            address("00000000000000000000000000000000"),
            Some("::".parse().unwrap())
        );
        assert_eq!(address("0"), None);
    }
}
