//! Commands inside instances, as an operator runs them.

mod terminal;

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hancock_testkit::{proc, wait, wait_for};

use self::terminal::Terminal;
use crate::runtime::{Runtime, in_both_runtimes};
use crate::spec::Spec;
use crate::world::{LATE, SOON, World};

in_both_runtimes!(
    a_command_runs_as_if_it_ran_here,
    a_terminal_is_passed_through,
    output_nobody_reads_waits_in_the_instance
);

/// One instance that serves, with a shell beside its program.
fn world(runtime: Runtime) -> World {
    let world = World::start(runtime);
    let mut spec = Spec::web(runtime).replicas(1);
    spec.image = runtime.image_with_shell();
    spec.environment = vec![("WORD".to_owned(), "hello".to_owned())];
    world.apply(&spec);
    world
}

/// Runs it with `input` on standard input.
#[track_caller]
fn fed(world: &World, args: &[&str], input: &str) -> crate::world::Ran {
    let file = world.write("input", input);
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "exec \"$@\" < \"$0\"", &file, crate::world::BINARY])
        .args(args)
        .env("HANCOCK_MASTER", format!("http://{}", world.api));
    world.finish(&mut command)
}

fn a_command_runs_as_if_it_ran_here(runtime: Runtime) {
    let world = world(runtime);
    let id = world.wait_serving("web", 1)[0].id.to_string();
    let both = world.run(&[
        "exec",
        "web",
        "--",
        "/bin/sh",
        "-c",
        "echo out $WORD; echo err >&2",
    ]);
    assert_eq!(
        (both.out.as_str(), both.err.as_str()),
        ("out hello\n", "err\n")
    );
    assert_eq!(both.code, Some(0));
    // Codes of Hancock's own say something else here.
    for code in [1, 3, 4, 125] {
        let script = format!("exit {code}");
        world
            .run(&["exec", &id, "/bin/sh", "-c", &script])
            .fails(code);
    }
    let ended = world.run(&["exec", "web", "/bin/sh", "-c", "kill -TERM $$"]);
    assert_eq!(ended.code, Some(128 + 15), "{ended:?}");

    let input = format!("{}end", "0123456789\n".repeat(100_000));
    let back = fed(&world, &["exec", "-i", "web", "cat"], &input);
    assert_eq!((back.code, back.out.len()), (Some(0), input.len()));
    assert!(back.out == input, "what came back is something else");
    let script = fed(&world, &["exec", "-i", "web", "sh"], "echo read; exit 9");
    assert_eq!((script.out.as_str(), script.code), ("read\n", Some(9)));
    // Without -i it reads nothing.
    assert_eq!(fed(&world, &["exec", "web", "cat"], "lost").ok(), "");

    let moved = world.run(&[
        "exec",
        "-w",
        "/",
        "-e",
        "WORD=bye",
        "--env=MORE=a b",
        "web",
        "--",
        "/bin/sh",
        "-c",
        "echo $PWD $WORD $MORE",
    ]);
    assert_eq!(moved.ok(), "/ bye a b\n");
    let uid = "while read -r n a b; do [ \"$n\" = Uid: ] && echo $a; done </proc/self/status; true";
    let other = world.run(&[
        "exec",
        "-u",
        "65534:65534",
        "-w",
        "/",
        "web",
        "--",
        "/bin/sh",
        "-c",
        uid,
    ]);
    match runtime == Runtime::Docker || nix::unistd::Uid::effective().is_root() {
        true => assert_eq!(other.ok(), "65534\n"),
        false => assert!(other.fails(125).contains("only root")),
    }
    for (option, value) in [("-u", "no-such-user"), ("-w", "/no/such/folder")] {
        let told = world.run(&[
            "exec",
            option,
            value,
            "web",
            "--",
            "/bin/sh",
            "-c",
            "echo it-began",
        ]);
        assert!(matches!(told.code, Some(125..=127)), "{told:?}");
        let text = format!("{}{}", told.out, told.err);
        assert!(text.contains(value) && !text.contains("it-began"), "{text}");
    }
    let relative = world.run(&["exec", "-w", "srv", "web", "true"]).fails(125);
    assert!(relative.contains("workdir \"srv\""), "{relative}");

    let missing = world.run(&["exec", "web", "/no/such/program"]);
    assert!(
        [Some(126), Some(127)].contains(&missing.code),
        "{missing:?}"
    );
    let told = format!("{}{}", missing.out, missing.err).to_lowercase();
    assert!(told.contains("no such file"), "{told}");
    let nobody = world.run(&["exec", "nobody", "true"]).fails(125);
    assert!(
        nobody.contains("neither an instance nor an app"),
        "{nobody}"
    );
    let no_terminal = world.run(&["exec", "-it", "web", "sh"]).fails(125);
    assert!(no_terminal.contains("needs a terminal"), "{no_terminal}");

    world.run(&["app", "stop", "web", "--wait"]).ok();
    world.run(&["exec", "web", "true"]).fails(125);
}

fn a_terminal_is_passed_through(runtime: Runtime) {
    let world = world(runtime);
    let mut terminal = Terminal::open(30, 90);
    let before = terminal.settings();
    let mut shell = terminal.run(&world.client(&["exec", "-it", "web", "/bin/sh"]));
    // What is typed too early is typed ahead, as on any terminal; its echo is the far end's once this one is raw.
    terminal.wait_raw();
    terminal.type_line("stty size");
    terminal.wait_shows("30 90");
    terminal.resize(41, 101);
    terminal.wait_until("the new size", |terminal| {
        terminal.type_line("stty size");
        terminal.shows("41 101")
    });
    // Ctrl-C is the command's, not ours.
    terminal.type_line("echo begun-$((20 + 1)); sleep 1000");
    terminal.wait_shows("begun-21");
    terminal.type_text("\u{3}");
    terminal.type_line("echo still-$((40 + 2))");
    terminal.wait_shows("still-42");
    terminal.type_line("exit 7");
    let status = wait_for("the end", SOON, || shell.try_wait().unwrap().ok_or("none"));
    assert_eq!(status.code(), Some(7), "{}", terminal.text());
    assert_eq!(terminal.settings(), before, "the terminal is not as it was");
}

fn output_nobody_reads_waits_in_the_instance(runtime: Runtime) {
    let mut world = world(runtime);
    let mut yes = unread(&world);
    let pid = world.daemon().pid();
    let memory = || proc::resident_kib(pid).ok_or("gone");
    let begun = wait_for("its memory", SOON, memory);
    wait::stays("the daemon keeps nothing", Duration::from_secs(5), || {
        let now = memory()?;
        // A second of this output is hundreds of times as much.
        if now < begun + 16 * 1024 {
            Ok(())
        } else {
            Err("it grows")
        }
    });
    // Others are served meanwhile.
    world.run(&["exec", "web", "true"]).ok();
    assert!(running(&world.node));
    yes.kill().unwrap();
    yes.wait().unwrap();
    wait_for(
        "the end of the command nobody waits for",
        LATE,
        || match running(&world.node) {
            true => Err("it runs"),
            false => Ok(()),
        },
    );
    world.wait_serving("web", 1);
}

/// A command that prints for ever, into a pipe that is full soon.
fn unread(world: &World) -> Child {
    // A comment by which it is found.
    let script = format!(
        "while :; do echo yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy; done # {}",
        world.node
    );
    let mut command = world.client(&["exec", "web", "/bin/sh", "-c", &script]);
    let errors = File::create(world.dir().join("unread")).unwrap();
    let command = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors);
    let child = command.spawn().unwrap();
    wait_for("the command", SOON, || match running(&world.node) {
        true => Ok(()),
        false => Err("it does not run"),
    });
    child
}

/// Whether a shell runs a script with this in it, here or in a container.
fn running(text: &str) -> bool {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        let line = String::from_utf8_lossy(&line);
        line.starts_with("/bin/sh\0-c\0") && line.contains(text)
    })
}
