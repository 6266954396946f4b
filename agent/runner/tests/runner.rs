//! The program itself, as an agent uses it. As the first process of a container it is tried there.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hancock_runner::wire;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Time for what takes a moment.
const SOON: Duration = Duration::from_secs(20);

struct Runner {
    child: Child,
    listener: UnixListener,
    _folder: TempDir,
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner {
    fn start(own: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(wire::SOCKET);
        let listener = UnixListener::bind(&socket).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_hancock-runner"))
            .arg(&socket)
            .args(own)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            listener,
            _folder: folder,
        }
    }

    fn connection(&self) -> UnixStream {
        let (connection, _) = self.listener.accept().unwrap();
        connection.set_read_timeout(Some(SOON)).unwrap();
        connection
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

/// Gives a job; its output, and its input when that is wanted.
fn give(mut to: &UnixStream, command: &[&str]) -> (File, File) {
    let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
    let words = wire::words(&command).unwrap();
    let ((read_in, write_in), (read_out, write_out)) = (pipe(), pipe());
    let files = [read_in.as_fd(), write_out.as_fd(), write_out.as_fd()];
    wire::send_head(to, words.len(), files).unwrap();
    to.write_all(&words).unwrap();
    let mut taken = [0];
    to.read_exact(&mut taken).unwrap();
    assert_eq!(taken, [wire::TAKEN]);
    (write_in, read_out)
}

fn pipe() -> (File, File) {
    let (read, write) = std::io::pipe().unwrap();
    let files = [read.into(), write.into()].map(|fd: std::os::fd::OwnedFd| File::from(fd));
    files.into()
}

fn code(mut from: &UnixStream) -> i32 {
    let mut code = [0; 4];
    from.read_exact(&mut code).unwrap();
    i32::from_le_bytes(code)
}

fn text(mut output: File) -> String {
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn jobs_run_one_after_the_other_over_one_connection() {
    let runner = Runner::start(&["/bin/echo", "own"]);
    let connection = runner.connection();
    let cases: [(&[&str], &str, i32); 6] = [
        (&[], "own\n", 0),
        (&["echo", "a b"], "a b\n", 0),
        (&["sh", "-c", "exit 7"], "", 7),
        (&["sh", "-c", "kill -9 $$"], "", 137),
        (&["sh", "-c", "kill -PIPE $$"], "", 141),
        (&["sh", "-c", "kill -s 40 $$"], "", 168),
    ];
    for (command, output, ended) in cases {
        let (input, read) = give(&connection, command);
        drop(input);
        assert_eq!((code(&connection), text(read)), (ended, output.to_owned()));
    }
}

#[test]
fn a_program_that_cannot_be_started_is_told() {
    let runner = Runner::start(&[]);
    let connection = runner.connection();
    for (command, told, ended) in [
        (&["no-such-program"][..], "No such file", 127),
        (&["/etc/passwd"], "denied", 126),
        (&[], "no command", 127),
    ] {
        let (_, read) = give(&connection, command);
        assert_eq!(code(&connection), ended);
        let text = text(read);
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn what_a_job_leaves_in_its_group_has_ended_before_it_is_told() {
    let runner = Runner::start(&[]);
    let connection = runner.connection();
    let (_, read) = give(&connection, &["sh", "-c", "sleep 1000 & echo left"]);
    assert_eq!(code(&connection), 0);
    // The output is open as long as one of them runs.
    assert_eq!(text(read), "left\n");
}

#[test]
fn a_job_ends_with_its_connection_and_the_next_one_comes_over_another() {
    let runner = Runner::start(&["echo", "next"]);
    let connection = runner.connection();
    let (_input, read) = give(&connection, &["sh", "-c", "echo begun; sleep 1000"]);
    drop(connection);
    assert!(["", "begun\n"].contains(&&*text(read)));
    let connection = runner.connection();
    let (_, read) = give(&connection, &[]);
    assert_eq!((code(&connection), text(read)), (0, "next\n".to_owned()));
}

#[test]
fn sigterm_lets_a_job_finish() {
    let mut runner = Runner::start(&[]);
    let connection = runner.connection();
    let (mut input, mut read) = give(
        &connection,
        &["sh", "-c", "echo begun; read word; echo $word; exit 5"],
    );
    let mut begun = [0; 6];
    read.read_exact(&mut begun).unwrap();
    runner.terminate();
    input.write_all(b"well\n").unwrap();
    assert_eq!((code(&connection), text(read)), (5, "well\n".to_owned()));
    assert!(runner.ended().success());
}

#[test]
fn sigterm_ends_one_that_waits() {
    let mut with = Runner::start(&[]);
    let connection = with.connection();
    // A job before: it is known to listen to signals.
    let (_, read) = give(&connection, &["true"]);
    assert_eq!((code(&connection), text(read)), (0, String::new()));
    with.terminate();
    assert!(with.ended().success());
}

#[test]
fn what_is_no_order_costs_the_connection_only() {
    let runner = Runner::start(&["echo", "own"]);
    let mut connection = runner.connection();
    connection.write_all(&[0xff; 64]).unwrap();
    let mut word = [0];
    // An end or a reset.
    assert!(!matches!(connection.read(&mut word), Ok(1)));
    let connection = runner.connection();
    let (_, read) = give(&connection, &[]);
    assert_eq!((code(&connection), text(read)), (0, "own\n".to_owned()));
}
