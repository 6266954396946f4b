//! Processes that do not take over, whatever they do instead: the one before serves as if nothing had happened.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use hancock_testkit::{Load, http};
use nix::sys::signal::Signal;

use super::Ports;
use super::sessions::Callers;
use crate::world::SOON;

/// What a hand-over looks like to a process that takes part in it: it reads messages from its standard input until `until`.
const PARTNER: &str = r#"#!/usr/bin/env python3
import array, json, os, signal, socket, struct, sys
wire = socket.socket(fileno=0)
def say(message):
    body = json.dumps(message).encode()
    wire.sendall(struct.pack(">IH", len(body), 0) + body)
def hear():
    global held, arrived
    while True:
        if len(arrived) >= 6:
            length, _ = struct.unpack(">IH", arrived[:6])
            if len(arrived) >= 6 + length:
                message, arrived = json.loads(arrived[6:6 + length]), arrived[6 + length:]
                return message
        data, ancillary, _, _ = wire.recvmsg(65536, socket.CMSG_SPACE(4 * 253))
        if not data:
            sys.exit(3)
        for _, _, descriptors in ancillary:
            held += array.array("i", descriptors[:len(descriptors) // 4 * 4]).tolist()
        arrived += data
held, arrived = [], b""
def hello(format=1, command="balancer"):
    say({"hello": {"format": format, "command": command, "version": "test"}})
def everything():
    while "state" not in hear():
        pass
def hang():
    while True:
        signal.pause()
"#;

/// A script in place of the binary.
fn script(world: &Ports, name: &str, text: &str) -> String {
    let path = PathBuf::from(world.alone.path(name));
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn the_one_before_serves() {
    let world = Ports::serving(20);
    let before = world.serves();
    let load = Load::to(world.alone.http, "web.localhost").start();
    let callers = Callers::start(&world.ports);
    for (name, text, told) in [
        ("ends", "#!/bin/sh\nexit 7\n", "exit status: 7"),
        (
            "hangs",
            "#!/bin/sh\nexec sleep 600\n",
            "has not said hello in time",
        ),
        ("elder", &partner("hello(format=99)\nhang()"), "format 99"),
        (
            "other",
            &partner("hello(command='agent')\nhang()"),
            "runs as agent",
        ),
        (
            "noise",
            &partner("wire.sendall(b'HTTP/1.1 400 Bad Request\\r\\n\\r\\n')\nhang()"),
            "cannot be understood",
        ),
        (
            "full",
            &partner("hello()\neverything()\nhang()"),
            "has not served in time",
        ),
        (
            "killed",
            &partner("hello()\neverything()\nos.kill(os.getpid(), signal.SIGKILL)"),
            "signal: 9",
        ),
        (
            "dead",
            &partner("hello()\nhear()\nos._exit(4)"),
            "exit status: 4",
        ),
        ("no program", "nothing that can be run", "cannot start"),
    ] {
        let binary = script(&world, name, text);
        let failed = world
            .try_upgrade(&["--binary", &binary, "--timeout", "2s"])
            .fails(1);
        assert!(
            failed.contains(told) && failed.contains("serves as before"),
            "{name}: {failed}"
        );
        assert_eq!(world.serves(), before, "{name}");
        // Changes are taken and kept as before, over both interfaces.
        world.alone.put("again.localhost", world.ports[0], false);
        assert!(
            http::get(world.alone.admin, "admin", "/upstreams")
                .unwrap()
                .body
                .contains("again.localhost")
        );
    }
    let missing = world
        .try_upgrade(&["--binary", "/nowhere/hancock"])
        .fails(1);
    assert!(missing.contains("--binary FILE"), "{missing}");
    assert_eq!(world.processes(), [before], "nobody is left");

    // After all that the right one takes over, and has heard of the last change.
    let now = world.upgrade();
    assert!(
        http::get(world.alone.admin, "admin", "/upstreams")
            .unwrap()
            .body
            .contains("again.localhost")
    );
    callers.wait(20);
    let (tally, told) = (load.stop(), callers.finish());
    tally.assert_none_failed();
    assert!(told.failures.is_empty(), "{told}");
    world.wait_formers(0);
    assert_eq!(world.processes(), [now]);
}

fn partner(script: &str) -> String {
    format!("{PARTNER}{script}\n")
}

#[test]
fn the_next_one_may_be_killed_at_any_moment() {
    let world = Ports::serving(50);
    let load = Load::to(world.alone.http, "web.localhost").start();
    let callers = Callers::start(&world.ports);
    let mut killed = 0;
    // From before its first word until after it serves.
    for step in 0..20_u64 {
        world.wait_formers(1);
        let before = world.serves();
        let pause = format!("0.{:03}", step * 2);
        let text = format!(
            "#!/bin/sh\n(sleep {pause}; kill -9 $$) >/dev/null 2>&1 </dev/null &\nexec {} \"$@\"\n",
            crate::world::BINARY
        );
        let binary = script(&world, "killed", &text);
        let ran = world.try_upgrade(&["--binary", &binary]);
        if ran.code == Some(1) {
            assert_eq!(world.serves(), before, "{ran:?}");
            callers.wait(5);
            assert!(callers.failures().is_empty(), "{:?}", callers.failures());
            load.so_far().assert_none_failed();
            killed += 1;
        } else {
            // It served, for a moment: nobody holds the sockets any more once it is killed.
            ran.ok();
            break;
        }
    }
    println!("{killed} killed before they served");
    assert!(killed > 0);
    drop((load, callers));
}

#[test]
fn two_wishes_at_once_are_two_upgrades() {
    let world = Ports::serving(20);
    let load = Load::to(world.alone.http, "web.localhost").start();
    let callers = Callers::start(&world.ports);
    callers.wait(5);
    let first = world.serves();
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| scope.spawn(|| world.try_upgrade(&[])));
        for ran in both {
            ran.join().unwrap().ok();
        }
    });
    let third = world.serves();
    // A signal is a wish, too.
    third.signal(Signal::SIGUSR2);
    hancock_testkit::wait_for("another process", SOON, || match world.serves() {
        other if other != third && other != first => Ok(()),
        same => Err(format!("{same:?}")),
    });
    callers.wait(20);
    let (tally, told) = (load.stop(), callers.finish());
    tally.assert_none_failed();
    assert!(told.failures.is_empty(), "{told}");
    world.wait_formers(0);
}

#[test]
fn sessions_of_former_processes_end_with_their_time_or_the_daemon() {
    use std::io::{Read, Write};
    let world = Ports::serving(2);
    let connect = || {
        let mut stream =
            std::net::TcpStream::connect(hancock_testkit::port::local(world.ports[0])).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(b"word\n").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        stream
    };
    let mut short = connect();
    world.try_upgrade(&["--drain", "1s"]).ok();
    let mut rest = Vec::new();
    short.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "a plain end");
    drop(short);
    world.wait_formers(0);

    // As many as may be.
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect());
        world.upgrade();
    }
    let refused = world.try_upgrade(&[]).fails(1);
    assert!(refused.contains("3 former processes"), "{refused}");
    for stream in &mut held {
        stream.write_all(b"word\n").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
    }
    world.serves().signal(Signal::SIGTERM);
    for mut stream in held {
        stream.read_to_end(&mut rest).unwrap();
    }
    hancock_testkit::wait_for(
        "the end of all",
        SOON + Duration::from_secs(10),
        || match world.processes().len() {
            0 => Ok(()),
            left => Err(left),
        },
    );
}
