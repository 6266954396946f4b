//! The shim: one small process beside each instance. It starts the app, catches its output, waits for its end, ends what the app left
//! behind, and writes down how it ended. It knows nothing of the daemon and outlives it.

mod app;
mod exec;
mod reap;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ExitCode};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use hancock_proto::hub::Stream;
use hancock_proto::time::{Clock, SystemClock};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stdout, setsid};

use hancock_agent_core::observed::{Ending, Exit};

use super::cgroup;
use super::files::{Answer, Folder, Order, Running};
use super::output::Output;
use super::proc::Process;

pub(super) use exec::{EXEC, variable};

/// Stack of the threads that copy output; they do little.
const STACK: usize = 64 << 10;

/// Time the output has to end once everything of the instance has.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the shim of one instance, or of one command beside it, to its end. To be called before any other thread exists. `args`: the
/// instance's folder, or what this crate put there for a command.
pub fn shim_main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<_> = args.into_iter().collect();
    if let Some(ended) = exec::main(&args) {
        return ended;
    }
    let Some(folder) = args.into_iter().next() else {
        eprintln!("the shim is started by the agent, with an instance's folder");
        return ExitCode::from(2);
    };
    match run(&Folder::new(PathBuf::from(folder))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} shim: {error}", SystemClock.now());
            ExitCode::FAILURE
        }
    }
}

fn run(folder: &Folder) -> io::Result<()> {
    // A session of its own: no terminal and no signal to the daemon's group reaches it. Fails only when it has one already.
    let _ = setsid();
    let Some(_lock) = folder.lock()? else {
        return answer(&Answer::Busy);
    };
    // What the app leaves behind becomes ours, so that it can be ended with it.
    prctl::set_child_subreaper(true)?;
    let order = folder.order()?;
    let kills = cgroup::memory_kills(&order.cgroups);
    let (child, running) = match begin(folder, &order) {
        Ok(begun) => begun,
        Err(not_started) => return answer(&not_started),
    };
    answer(&Answer::Started(running))?;
    let exit = attend(folder, child)?;
    let killed = exit.how == Ending::Signal(9) && cgroup::memory_kills(&order.cgroups) > kills;
    let how = match killed {
        true => Ending::OutOfMemory,
        false => exit.how,
    };
    folder.set_exit(&Exit { how, ..exit })
}

fn begin(folder: &Folder, order: &Order) -> Result<(Child, Running), Answer> {
    let mut child = app::spawn(folder, order)?;
    let pid = i32::try_from(child.id()).unwrap_or(i32::MAX);
    let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
    let recorded = Process::of(own).zip(Process::of(pid)).map(|(shim, app)| {
        let since = SystemClock.now();
        Running { shim, app, since }
    });
    let recorded = recorded.ok_or_else(|| io::Error::other("/proc does not show the process"));
    match recorded.and_then(|running| folder.set_running(&running).map(|()| running)) {
        Ok(running) => Ok((child, running)),
        // Not recorded, it would be lost to everybody: better not at all.
        Err(error) => {
            let _ = child.kill();
            Err(Answer::NotStarted {
                permanent: false,
                reason: format!("cannot record what runs: {error}"),
            })
        }
    }
}

/// Looks after the running app until nothing of it is left.
fn attend(folder: &Folder, mut child: Child) -> io::Result<Exit> {
    ignore_signals()?;
    std::env::set_current_dir("/")?;
    let output = Arc::new(Output::new(folder.log()));
    let streams = [
        copy(&output, child.stdout.take(), Stream::Stdout)?,
        copy(&output, child.stderr.take(), Stream::Stderr)?,
    ];
    let how = reap::wait(i32::try_from(child.id()).unwrap_or(i32::MAX))?;
    let exit = Exit {
        at: SystemClock.now(),
        how,
        tail: Vec::new(),
    };
    reap::end_the_rest();
    let deadline = Instant::now() + OUTPUT_TIMEOUT;
    for done in streams {
        let left = deadline.saturating_duration_since(Instant::now());
        // Late: a process that could not be ended holds the pipe. What it prints is lost.
        let _ = done.recv_timeout(left);
    }
    Ok(exit)
}

/// Blocked here and not before: the app would inherit it.
fn ignore_signals() -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGPIPE,
        Signal::SIGQUIT,
    ] {
        signals.add(signal);
    }
    Ok(signals.thread_block()?)
}

/// Its sender is dropped when the stream has ended.
fn copy(
    output: &Arc<Output>,
    from: Option<impl Read + Send + 'static>,
    stream: Stream,
) -> io::Result<Receiver<()>> {
    let (done, ended) = mpsc::sync_channel::<()>(1);
    let output = Arc::clone(output);
    thread::Builder::new().stack_size(STACK).spawn(move || {
        if let Some(from) = from {
            output.copy(from, stream);
        }
        drop(done);
    })?;
    Ok(ended)
}

/// Tells the daemon, which may be gone by now, and lets go of its pipe.
fn answer(answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_string(answer)?;
    line.push('\n');
    let mut out = io::stdout();
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    let nowhere = std::fs::File::options().write(true).open("/dev/null")?;
    Ok(dup2_stdout(nowhere)?)
}
