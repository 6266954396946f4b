//! The cases of commands run inside instances.

use std::time::Duration;

use futures::StreamExt;
use hancock_agent::runtime::Exec;
use hancock_agent::runtime::exec::Piece;
use hancock_proto::exec::{Order, Window};
use hancock_proto::hub::Stream;
use hancock_proto::ids::InstanceId;
use tokio::io::AsyncWriteExt;

use crate::bench::{Behave, Bench, wait_for};

/// Time for what takes a moment.
pub const SOON: Duration = Duration::from_secs(30);

/// What to run, on every runtime the same.
#[derive(Debug, Clone, Copy)]
pub enum Program {
    /// Prints what it reads.
    Cat,
    /// Prints its words.
    Echo(&'static str),
    /// Prints its words on standard error.
    Warn(&'static str),
    /// Ends with this code.
    Exit(i32),
    /// Prints for ever.
    Yes,
    /// Prints the size of its terminal, again when that changes.
    Size,
    /// Prints its user's number, its working directory and the variable of this name.
    Where(&'static str),
    /// Does not exist.
    Missing,
}

impl Program {
    pub fn command(self, bench: &Bench) -> Vec<String> {
        if bench.is_fake() {
            let words = match self {
                Self::Cat => "cat".to_owned(),
                Self::Echo(words) => format!("echo {words}"),
                Self::Warn(words) => format!("warn {words}"),
                Self::Exit(code) => format!("exit {code}"),
                Self::Yes => "yes".to_owned(),
                Self::Size => "size".to_owned(),
                Self::Where(name) => format!("where {name}"),
                Self::Missing => "no-such-program".to_owned(),
            };
            return words.split(' ').map(str::to_owned).collect();
        }
        let script = match self {
            // No `cat` in the image: the shell reads and prints.
            Self::Cat => {
                "while IFS= read -r line; do echo \"$line\"; done; printf %s \"$line\"".to_owned()
            }
            Self::Echo(words) => format!("echo {words}"),
            Self::Warn(words) => format!("echo {words} >&2"),
            Self::Exit(code) => format!("exit {code}"),
            Self::Yes => format!("while :; do echo {}; done", bench.mark),
            Self::Size => {
                "trap 'stty size' WINCH; stty size; while :; do sleep 0.05; done".to_owned()
            }
            // The image has no `id`.
            Self::Where(name) => format!(
                "while read -r n a b; do [ \"$n\" = Uid: ] && uid=$a; done </proc/self/status; echo $uid $PWD ${name}"
            ),
            Self::Missing => return vec!["/no/such/program".to_owned()],
        };
        ["/bin/sh", "-c", &script].map(str::to_owned).to_vec()
    }

    fn order(self, bench: &Bench) -> Order {
        Order {
            command: self.command(bench),
            stdin: matches!(self, Self::Cat),
            ..Order::default()
        }
    }
}

/// A bench with one running instance.
pub async fn serving(bench: &Bench) {
    bench.start(&bench.spec(1, Behave::Serve)).await.unwrap();
}

async fn begin(bench: &Bench, order: &Order) -> Exec {
    let id = bench.spec(1, Behave::Serve).instance;
    bench.runtime.exec(&bench.owner, &id, order).await.unwrap()
}

/// What it printed on standard output and standard error, and its exit code.
pub async fn finish(exec: Exec) -> (String, String, i32) {
    let Exec {
        output, control, ..
    } = exec;
    let ended = async {
        let pieces: Vec<_> = output.map(Result::unwrap).collect().await;
        let of = |stream| {
            let mine = pieces
                .iter()
                .filter(move |piece: &&Piece| piece.stream == stream);
            let bytes: Vec<u8> = mine.flat_map(|piece| piece.data.clone()).collect();
            String::from_utf8(bytes).unwrap()
        };
        let code = control.ended().await.unwrap();
        (of(Stream::Stdout), of(Stream::Stderr), code)
    };
    tokio::time::timeout(SOON, ended).await.expect("its end")
}

/// What this script prints beside an instance that runs; the engine in memory runs none.
pub async fn told(bench: &Bench, id: &InstanceId, script: &str) -> String {
    if bench.is_fake() {
        return String::new();
    }
    let order = Order {
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        ..Order::default()
    };
    let exec = bench.runtime.exec(&bench.owner, id, &order).await;
    finish(exec.unwrap()).await.0
}

pub async fn a_command_has_two_outputs_and_a_code(bench: Bench) {
    serving(&bench).await;
    let echo = begin(&bench, &Program::Echo("out").order(&bench)).await;
    assert_eq!(finish(echo).await, ("out\n".into(), String::new(), 0));
    let warn = begin(&bench, &Program::Warn("err").order(&bench)).await;
    assert_eq!(finish(warn).await, (String::new(), "err\n".into(), 0));
    let exit = begin(&bench, &Program::Exit(7).order(&bench)).await;
    assert_eq!(finish(exit).await.2, 7);
    bench.clear().await;
}

pub async fn a_command_reads_to_the_end_of_its_input(bench: Bench) {
    serving(&bench).await;
    let mut cat = begin(&bench, &Program::Cat.order(&bench)).await;
    for line in ["one\n", "two\n"] {
        cat.input.write_all(line.as_bytes()).await.unwrap();
        cat.input.flush().await.unwrap();
        // It is alive and reads while more may come.
        let next = tokio::time::timeout(SOON, cat.output.next()).await;
        let piece = next.expect("the line").unwrap().unwrap();
        assert_eq!(piece.data, line.as_bytes());
    }
    cat.input.shutdown().await.unwrap();
    cat.input = Box::pin(tokio::io::sink());
    assert_eq!(finish(cat).await, (String::new(), String::new(), 0));
    bench.clear().await;
}

pub async fn a_terminal_has_the_size_it_is_given(bench: Bench) {
    serving(&bench).await;
    let tty = Some(Window {
        columns: 91,
        rows: 33,
    });
    let order = Order {
        tty,
        ..Program::Size.order(&bench)
    };
    let mut size = begin(&bench, &order).await;
    read_until(&mut size, "33 91").await;
    let window = Window {
        columns: 70,
        rows: 20,
    };
    size.control.resize(window).await.unwrap();
    read_until(&mut size, "20 70").await;
    bench.clear().await;
}

async fn read_until(exec: &mut Exec, wanted: &str) {
    let mut text = String::new();
    let read = async {
        while !text.contains(wanted) {
            let piece = exec.output.next().await.expect("more").unwrap();
            text.push_str(&String::from_utf8_lossy(&piece.data));
        }
    };
    let read = tokio::time::timeout(SOON, read).await;
    assert!(read.is_ok(), "{wanted:?} did not come: {text:?}");
}

pub async fn a_command_nobody_waits_for_is_ended(bench: Bench) {
    serving(&bench).await;
    let mut yes = begin(&bench, &Program::Yes.order(&bench)).await;
    yes.output.next().await.unwrap().unwrap();
    assert!(bench.runs_commands());
    drop(yes);
    wait_for("its end", || async { !bench.runs_commands() }).await;
    assert!(
        bench
            .seen(&bench.spec(1, Behave::Serve).instance)
            .await
            .unwrap()
            .is_running()
    );
    bench.clear().await;
}

/// What is told of a command that cannot be run.
async fn not_run(bench: &Bench, id: &InstanceId, order: &Order) -> String {
    match bench.runtime.exec(&bench.owner, id, order).await {
        Ok(exec) => {
            let (out, err, code) = finish(exec).await;
            assert!(code == 126 || code == 127, "{code} {out} {err}");
            format!("{out}{err}")
        }
        Err(error) => error.to_string(),
    }
}

pub async fn a_command_that_does_not_exist_is_told(bench: Bench) {
    serving(&bench).await;
    let id = bench.spec(1, Behave::Serve).instance;
    let order = Program::Missing.order(&bench);
    let told = not_run(&bench, &id, &order).await;
    assert!(told.contains("such"), "{told}");
    bench.clear().await;
}

/// As root, as tests of Docker are.
fn is_root() -> bool {
    nix::unistd::Uid::effective().is_root()
}

pub async fn a_command_runs_as_whom_and_where_it_is_told(bench: Bench) {
    serving(&bench).await;
    let plain = || Program::Where("WORD").order(&bench);
    let (out, _, _) = finish(begin(&bench, &plain()).await).await;
    let asked = |name: &str, value: &str| [(name.to_owned(), value.to_owned())].into();
    let order = Order {
        workdir: Some("/proc".to_owned()),
        environment: asked("WORD", "bye \"x\" = y"),
        ..plain()
    };
    let user = out.split(' ').next().unwrap();
    let moved = finish(begin(&bench, &order).await).await;
    assert_eq!(
        moved.0,
        format!("{user} /proc bye \"x\" = y\n"),
        "{moved:?}"
    );
    if bench.is_docker() || is_root() {
        let order = Order {
            user: Some("65534:65534".to_owned()),
            workdir: Some("/".to_owned()),
            environment: asked("MORE", "1"),
            ..Program::Where("MORE").order(&bench)
        };
        let other = finish(begin(&bench, &order).await).await;
        assert_eq!(other.0, "65534 / 1\n", "{other:?}");
    }
    // On a terminal as well.
    let tty = Some(Window {
        columns: 80,
        rows: 24,
    });
    let mut on_terminal = begin(&bench, &Order { tty, ..order }).await;
    read_until(&mut on_terminal, "/proc bye").await;
    bench.clear().await;
}

pub async fn a_user_or_folder_that_is_not_there_is_told(bench: Bench) {
    if bench.is_fake() {
        // It has neither.
        return bench.clear().await;
    }
    serving(&bench).await;
    let id = bench.spec(1, Behave::Serve).instance;
    let user = Order {
        user: Some("no-such-user".to_owned()),
        ..Program::Echo("run").order(&bench)
    };
    let workdir = Order {
        workdir: Some("/no/such/folder".to_owned()),
        ..Program::Echo("run").order(&bench)
    };
    for (order, what) in [(user, "no-such-user"), (workdir, "/no/such/folder")] {
        let told = not_run(&bench, &id, &order).await;
        assert!(told.contains(what), "{told}");
        assert_ne!(told, "run\n");
    }
    bench.clear().await;
}

pub async fn nothing_is_run_where_nothing_runs(bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    let order = Program::Echo("x").order(&bench);
    let run = || bench.runtime.exec(&bench.owner, &spec.instance, &order);
    assert!(run().await.is_err(), "there is none");
    bench.start(&spec).await.unwrap();
    bench
        .runtime
        .kill(&bench.owner, &spec.instance)
        .await
        .unwrap();
    let error = run().await.err().expect("it has ended");
    assert!(error.to_string().contains("run"), "{error}");
    bench.clear().await;
}

pub async fn the_end_of_an_instance_is_the_end_of_its_commands(bench: Bench) {
    if bench.is_fake() {
        // Its programs are no processes that could outlive anything.
        return bench.clear().await;
    }
    serving(&bench).await;
    let mut yes = begin(&bench, &Program::Yes.order(&bench)).await;
    yes.output.next().await.unwrap().unwrap();
    let id = bench.spec(1, Behave::Serve).instance;
    bench.runtime.kill(&bench.owner, &id).await.unwrap();
    wait_for("its end", || async { !bench.runs_commands() }).await;
    bench.clear().await;
}
