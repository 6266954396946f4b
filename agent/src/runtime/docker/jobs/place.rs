//! What a container for jobs finds in it: a folder with its first process and the socket that one takes jobs from.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bollard::models::{Mount, MountType};
use hancock_runner::wire::SOCKET;
use tokio::net::UnixListener;

/// The first process, as built for this agent.
static RUNNER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hancock-runner"));

/// Where it is inside.
pub(in super::super) const PROGRAM: &str = "/.hancock/runner";

/// Where its folder is inside.
const INSIDE: &str = "/.hancock";

/// Name of that folder outside, among the files of the container; those have numbers.
const FOLDER: &str = "jobs";

/// How the names of programs begin that containers share.
const SHARED: &str = "runner-";

/// How it is stopped, whatever the app's own signal is: it lets a job finish.
pub(in super::super) const STOP_SIGNAL: &str = "SIGTERM";

pub(in super::super) fn entry_point() -> Vec<String> {
    vec![PROGRAM.to_owned(), format!("{INSIDE}/{SOCKET}")]
}

pub(in super::super) fn mount(files: &Path) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(files.join(FOLDER).display().to_string()),
        target: Some(INSIDE.to_owned()),
        // Who can connect needs not to write; nobody inside can put something else there.
        read_only: Some(true),
        ..Mount::default()
    }
}

/// Puts the folder there, with this agent's own first process. `all` has the files of all containers, `files` those of this one.
pub(in super::super) fn put(all: &Path, files: &Path) -> io::Result<()> {
    // Nobody else on the node may look; the folder itself is for whoever runs inside.
    let mut private = fs::DirBuilder::new();
    private.recursive(true).mode(0o700).create(files)?;
    let folder = files.join(FOLDER);
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
    let inside = folder.join("runner");
    if fs::read(&inside).is_ok_and(|there| there == RUNNER) {
        return Ok(());
    }
    remove_file(&inside)?;
    // A link: a thousand containers share one file.
    fs::hard_link(shared(all)?, inside)
}

/// The file all of them share, named by its content.
fn shared(all: &Path) -> io::Result<PathBuf> {
    let name = format!("{SHARED}{:08x}", crc32fast::hash(RUNNER));
    let path = all.join(&name);
    if fs::read(&path).is_ok_and(|there| there == RUNNER) {
        return Ok(path);
    }
    let fresh = tempname(&path);
    remove_file(&fresh)?;
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&fresh)?;
    file.write_all(RUNNER)?;
    file.set_permissions(Permissions::from_mode(0o755))?;
    fs::rename(&fresh, &path)?;
    remove_others(all, &name)?;
    Ok(path)
}

/// Those of other versions; containers that have one keep it.
fn remove_others(all: &Path, own: &str) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(SHARED) && !name.starts_with(own) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// Two starts at a time write a file each; which one stays does not matter.
fn tempname(path: &Path) -> PathBuf {
    path.with_extension(format!("new-{:?}", std::thread::current().id()))
}

/// Listens for the first process of the container with these files. None: it was not started for jobs.
pub(super) fn listen(files: &Path) -> io::Result<Option<UnixListener>> {
    let folder = match File::open(files.join(FOLDER)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        folder => folder?,
    };
    // By descriptor: a socket's path may have 107 bytes only.
    let path = format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd());
    remove_file(Path::new(&path))?;
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    Ok(Some(listener))
}

/// None is fine.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn one_program_is_there_for_all_and_comes_back() {
        let all = tempfile::tempdir().unwrap();
        let folders = ["one", "two"].map(|name| all.path().join(name));
        for folder in &folders {
            put(all.path(), folder).unwrap();
            assert_eq!(mode(folder), 0o700);
            assert_eq!(mode(&folder.join(FOLDER)), 0o755);
            assert_eq!(mode(&folder.join("jobs/runner")), 0o755);
        }
        let [one, two] = folders.map(|folder| folder.join("jobs/runner"));
        let inode = |path: &Path| fs::metadata(path).unwrap().ino();
        assert_eq!(inode(&one), inode(&two));
        // That of another version, say.
        fs::remove_file(&one).unwrap();
        fs::write(&one, "old").unwrap();
        put(all.path(), &all.path().join("one")).unwrap();
        assert_eq!(inode(&one), inode(&two));
        // Of versions before there is nothing but what containers have.
        let programs = || {
            let all = fs::read_dir(all.path()).unwrap().flatten();
            let names = all.map(|entry| entry.file_name().into_string().unwrap());
            names.filter(|name| name.starts_with("runner-")).collect()
        };
        let now: Vec<String> = programs();
        fs::rename(all.path().join(&now[0]), all.path().join("runner-00000000")).unwrap();
        put(all.path(), &all.path().join("three")).unwrap();
        assert_eq!(programs(), now);
        assert!(one.exists());
    }

    #[tokio::test]
    async fn a_socket_may_lie_deep_and_anyone_inside_may_connect() {
        let all = tempfile::tempdir().unwrap();
        let files = all.path().join("a".repeat(100)).join("b".repeat(100));
        assert!(listen(&files).unwrap().is_none(), "it takes no jobs");
        put(all.path(), &files).unwrap();
        let first = listen(&files).unwrap().unwrap();
        let socket = files.join("jobs").join(SOCKET);
        assert_eq!(mode(&socket), 0o666);
        // Another agent takes over while the first one still ends.
        let second = listen(&files).unwrap().unwrap();
        drop(first);
        let near = format!(
            "/proc/self/fd/{}/{SOCKET}",
            File::open(files.join("jobs")).map(keep).unwrap()
        );
        let connected = tokio::net::UnixStream::connect(near);
        let (accepted, connected) = tokio::join!(second.accept(), connected);
        accepted.and(connected).unwrap();
    }

    /// Open for as long as the test runs.
    fn keep(file: File) -> i32 {
        std::os::fd::IntoRawFd::into_raw_fd(file)
    }
}
