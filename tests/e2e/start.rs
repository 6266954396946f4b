//! Starting where something is in the way: taken ports, taken or newer data directories, a torn log.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use hancock_testkit::port::local;

use crate::runtime::Runtime;
use crate::world::{SOON, World};

#[test]
fn a_port_in_use_names_address_and_flag() {
    let taken = TcpListener::bind(local(0)).unwrap();
    let address = taken.local_addr().unwrap();
    for flag in ["--http", "--admin", "--api"] {
        let mut world = World::at_rest(Runtime::Process);
        match flag {
            "--http" => world.http = address,
            "--admin" => world.admin = address,
            _ => world.api = address,
        }
        let told = world.finish(&mut world.dev()).fails(1);
        assert!(
            told.contains(&address.to_string()) && told.contains(flag) && told.contains("in use"),
            "{told}"
        );
        assert!(!told.contains("panicked"), "{told}");
    }
}

#[test]
fn a_second_daemon_on_the_data_directory_names_the_first() {
    let mut first = World::start(Runtime::Process);
    let mut second = World::at_rest(Runtime::Process);
    second.data_dir.clone_from(&first.data_dir);
    let told = second.finish(&mut second.dev()).fails(1);
    assert!(
        told.contains(&first.daemon().pid().to_string()) && told.contains("--data-dir"),
        "{told}"
    );
    // The first one has not noticed.
    first.ask::<serde_json::Value>("/v1/status").unwrap();
}

#[test]
fn a_newer_data_directory_is_refused() {
    let world = World::at_rest(Runtime::Process);
    fs::write(world.data_dir.join("format"), "99\n").unwrap();
    let told = world.finish(&mut world.dev()).fails(1);
    assert!(told.contains("99") && told.contains("newer"), "{told}");
}

#[test]
fn a_torn_last_record_is_cut_off_and_nothing_else_is_lost() {
    let mut world = World::serving(Runtime::Process);
    let before = world.processes("web", 3);
    world.crash();
    let log = newest_raft_file(&world.data_dir);
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    // The beginning of a record whose rest was never written.
    file.write_all(&[0x40, 0, 0, 0, 0xde, 0xad]).unwrap();
    drop(file);
    world.up(&[]);
    world.wait_answer("web", "v1");
    assert_eq!(world.processes("web", 3), before);
    let warned = world.daemon().output();
    assert!(
        warned.contains("WARN") && warned.contains("cut off the end of the raft log"),
        "{warned}"
    );
    // The log goes on behind the cut, also over one more start.
    world.run(&["app", "scale", "web", "2", "--wait"]).ok();
    world.crash();
    world.up(&[]);
    world.wait_serving("web", 2);
}

/// The file of the Raft log that was written last.
fn newest_raft_file(data: &Path) -> PathBuf {
    let mut files = Vec::new();
    collect(data, &mut files);
    let log = files.into_iter().filter(|path| {
        let path = path
            .strip_prefix(data)
            .unwrap()
            .to_string_lossy()
            .into_owned();
        path.contains("raft") && path.contains("log")
    });
    log.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
        .expect("a file of the Raft log")
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)
        } else {
            files.push(path)
        }
    }
}

#[test]
fn sigterm_stops_as_ctrl_c_does() {
    let mut world = World::serving(Runtime::Process);
    let before = world.processes("web", 3);
    world.daemon().signal(nix::sys::signal::Signal::SIGTERM);
    assert!(world.daemon().wait_exit(SOON).success());
    assert!(before.iter().all(|(_, process)| !process.is_alive()));
}
