//! The cases of jobs: instances that wait for them run one at a time, and nothing of it stays.

use std::process::Command;
use std::time::{Duration, Instant};

use futures::StreamExt;
use hancock_agent::runtime::{Exec, RuntimeError};
use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::{Ending, StopRule};
use hancock_proto::app::{Volume, VolumeKind};
use hancock_proto::exec::Order;
use hancock_proto::units::Span;
use tokio::io::AsyncWriteExt;

use crate::bench::{Behave, Bench, wait_for};
use crate::exec::{Program, SOON, finish};
use crate::suite;

/// An instance that waits for jobs; its own command says so. None: plain processes refuse it, by name.
async fn waiting(bench: &Bench) -> Option<StartSpec> {
    let mut spec = bench.spec(1, Behave::Serve);
    spec.command = Program::Echo("own").command(bench);
    started(bench, spec).await
}

/// With a program that takes a process out of its job's group; it is not in the image.
fn with_setsid(bench: &Bench) -> StartSpec {
    let mut spec = bench.spec(1, Behave::Serve);
    spec.command = Program::Echo("own").command(bench);
    if bench.is_docker() {
        let setsid = "/usr/bin/setsid".to_owned();
        spec.volumes = vec![Volume {
            kind: VolumeKind::Bind,
            source: setsid.clone(),
            target: setsid,
            read_only: true,
            size: None,
            exclusive: false,
        }];
    }
    spec
}

async fn started(bench: &Bench, mut spec: StartSpec) -> Option<StartSpec> {
    spec.reuse = true;
    if bench.runtime.kind() == "process" {
        for error in [
            bench.runtime.prepare(&spec).await.unwrap_err(),
            bench.runtime.start(&spec).await.unwrap_err(),
        ] {
            assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{error}");
            assert!(error.to_string().contains("task.reuse"), "{error}");
        }
        return None;
    }
    bench.start(&spec).await.unwrap();
    Some(spec)
}

fn job(command: Vec<String>) -> Order {
    Order {
        command,
        job: true,
        ..Order::default()
    }
}

fn script(text: &str) -> Order {
    job(["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

async fn begin(bench: &Bench, spec: &StartSpec, order: &Order) -> Exec {
    let begun = bench.runtime.exec(&bench.owner, &spec.instance, order);
    let begun = tokio::time::timeout(SOON, begun).await;
    begun.expect("its begin").unwrap()
}

/// Its two outputs and its code.
async fn done(bench: &Bench, spec: &StartSpec, order: &Order) -> (String, String, i32) {
    finish(begin(bench, spec, order).await).await
}

pub async fn a_job_has_two_outputs_and_a_code(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let of = |program: Program| job(program.command(&bench));
    let out = done(&bench, &spec, &of(Program::Echo("out"))).await;
    assert_eq!(out, ("out\n".into(), String::new(), 0));
    let err = done(&bench, &spec, &of(Program::Warn("err"))).await;
    assert_eq!(err, (String::new(), "err\n".into(), 0));
    assert_eq!(done(&bench, &spec, &of(Program::Exit(7))).await.2, 7);
    let missing = done(&bench, &spec, &of(Program::Missing)).await;
    assert!(
        missing.2 == 127 && missing.1.contains("such"),
        "{missing:?}"
    );
    let own = done(&bench, &spec, &job(Vec::new())).await;
    assert_eq!(own, ("own\n".into(), String::new(), 0));
    if bench.is_docker() {
        assert_eq!(done(&bench, &spec, &script("kill -9 $$")).await.2, 137);
        let long = script(&format!(": {}", "x".repeat(120_000)));
        assert_eq!(done(&bench, &spec, &long).await.2, 0);
        let piped = script("kill -PIPE $$; kill -TERM $$");
        let told = done(&bench, &spec, &piped).await.2;
        assert_eq!(told, 141, "a job has signals as every program has");
    }
    bench.clear().await;
}

pub async fn a_job_reads_to_the_end_of_its_input(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let order = Order {
        stdin: true,
        ..job(Program::Cat.command(&bench))
    };
    let mut cat = begin(&bench, &spec, &order).await;
    cat.input.write_all(b"one\n").await.unwrap();
    cat.input.flush().await.unwrap();
    let next = tokio::time::timeout(SOON, cat.output.next()).await;
    assert_eq!(next.expect("the line").unwrap().unwrap().data, b"one\n");
    cat.input.shutdown().await.unwrap();
    cat.input = Box::pin(tokio::io::sink());
    assert_eq!(finish(cat).await, (String::new(), String::new(), 0));
    // Without input it reads an end, and does not wait.
    let none = done(&bench, &spec, &job(Program::Cat.command(&bench))).await;
    assert_eq!(none.2, 0);
    bench.clear().await;
}

pub async fn nothing_of_a_job_is_left_to_the_next(bench: Bench) {
    let spec = with_setsid(&bench);
    let Some(spec) = started(&bench, spec).await else {
        return;
    };
    if bench.is_docker() {
        let stay = format!("trap '' TERM HUP; echo stays; sleep 1000; : {}", bench.mark);
        let again = "read host </etc/hostname; echo $host";
        let first = done(&bench, &spec, &script(again)).await.0;
        for leave in ["", "setsid ", "setsid setsid "] {
            let leave =
                format!("({leave}sh -c \"{stay}\" &) | while read -r line; do exit 4; done");
            let left = done(&bench, &spec, &script(&leave)).await;
            assert_eq!(left.2, 4, "{left:?}");
            assert!(!bench.runs_commands(), "it was told to have ended");
        }
        let last = done(&bench, &spec, &script(again)).await;
        assert_eq!((last.0, last.2), (first, 0), "the same container");
    }
    bench.clear().await;
}

pub async fn a_second_job_waits_for_the_first(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let mut yes = begin(&bench, &spec, &job(Program::Yes.command(&bench))).await;
    yes.output.next().await.unwrap().unwrap();
    let order = job(Program::Echo("second").command(&bench));
    let mut second = Box::pin(begin(&bench, &spec, &order));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "two at a time");
    drop(yes);
    let (out, _, code) = finish(second.await).await;
    assert_eq!((out.as_str(), code), ("second\n", 0));
    bench.clear().await;
}

pub async fn a_job_nobody_waits_for_is_ended(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let mut yes = begin(&bench, &spec, &job(Program::Yes.command(&bench))).await;
    yes.output.next().await.unwrap().unwrap();
    assert!(bench.runs_commands());
    drop(yes);
    wait_for("its end", || async { !bench.runs_commands() }).await;
    let next = done(&bench, &spec, &job(Vec::new())).await;
    assert_eq!(next.0, "own\n", "the instance goes on");
    bench.clear().await;
}

pub async fn a_person_takes_no_jobs_place(bench: Bench) {
    let Some(spec) = started(&bench, with_setsid(&bench)).await else {
        return;
    };
    let look = Order {
        job: false,
        ..job(Program::Yes.command(&bench))
    };
    let mut person = begin(&bench, &spec, &look).await;
    person.output.next().await.unwrap().unwrap();
    let beside = done(&bench, &spec, &job(Vec::new())).await;
    assert_eq!(beside.0, "own\n");
    if bench.is_docker() {
        let messy = script("(setsid sleep 1000 &)");
        assert_eq!(done(&bench, &spec, &messy).await.2, 0);
    }
    assert!(bench.runs_commands(), "a job's end is not a person's");
    person.output.next().await.unwrap().unwrap();
    drop(person);
    bench.clear().await;
}

pub async fn another_runtime_gives_jobs_to_what_waits(mut bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let own = job(Vec::new());
    assert_eq!(done(&bench, &spec, &own).await.0, "own\n");
    bench.runtime = (bench.again)();
    for _ in 0..2 {
        assert_eq!(done(&bench, &spec, &own).await.0, "own\n");
    }
    bench.clear().await;
}

pub async fn a_stop_lets_a_job_finish(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    if bench.is_docker() {
        let order = Order {
            stdin: true,
            ..script("echo begun; read word; echo done $word; exit 5")
        };
        let mut job = begin(&bench, &spec, &order).await;
        job.output.next().await.unwrap().unwrap();
        let stop = bench.runtime.stop(&bench.owner, &spec.instance, &spec.stop);
        let end = async {
            job.input.write_all(b"well\n").await.unwrap();
            finish(job).await
        };
        let begun = Instant::now();
        let (stopped, end) = tokio::join!(stop, end);
        stopped.unwrap();
        assert_eq!((end.0.as_str(), end.2), ("done well\n", 5));
        let took = begun.elapsed();
        assert!(took < spec.stop.grace.duration(), "killed, after {took:?}");
        let how = suite::exited(&bench, &spec.instance).await;
        assert_eq!(how, Ending::Code(0));
    }
    bench.clear().await;
}

pub async fn a_job_has_the_grace_period_and_no_more(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let mut yes = begin(&bench, &spec, &job(Program::Yes.command(&bench))).await;
    yes.output.next().await.unwrap().unwrap();
    let rule = StopRule {
        grace: Span::seconds(1),
        ..spec.stop.clone()
    };
    let begun = Instant::now();
    let stopped = bench.runtime.stop(&bench.owner, &spec.instance, &rule);
    stopped.await.unwrap();
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "killed early"
    );
    if bench.is_docker() {
        let output: Vec<_> = yes.output.collect().await;
        drop(output);
        let lost = tokio::time::timeout(SOON, yes.control.ended()).await;
        let lost = lost.expect("an answer").unwrap_err();
        assert!(lost.to_string().contains("ended before it"), "{lost}");
    }
    bench.clear().await;
}

pub async fn jobs_go_on_after_a_restart_and_end_with_it(bench: Bench) {
    let Some(spec) = waiting(&bench).await else {
        return;
    };
    let own = job(Vec::new());
    for _ in 0..2 {
        assert_eq!(done(&bench, &spec, &own).await.0, "own\n");
        let (runtime, id) = (&bench.runtime, &spec.instance);
        runtime.kill(&bench.owner, id).await.unwrap();
        let none = runtime.exec(&bench.owner, id, &own);
        let none = tokio::time::timeout(SOON, none).await.expect("an answer");
        let error = none.err().expect("it has ended");
        assert!(error.to_string().contains("does not run"), "{error}");
        bench.start(&spec).await.unwrap();
    }
    bench.clear().await;
    let gone = bench.runtime.exec(&bench.owner, &spec.instance, &own);
    gone.await.err().expect("it is gone");
}

pub async fn who_was_not_started_for_jobs_takes_none(bench: Bench) {
    let spec = bench.spec(1, Behave::Serve);
    bench.start(&spec).await.unwrap();
    let order = job(Program::Echo("x").command(&bench));
    let error = bench.runtime.exec(&bench.owner, &spec.instance, &order);
    let error = error.await.err().expect("a refusal");
    assert!(error.to_string().contains("takes no jobs"), "{error}");
    bench.clear().await;
}

pub async fn a_job_needs_no_root_and_no_place_to_write(bench: Bench) {
    let mut spec = bench.spec(1, Behave::Serve);
    spec.command = Program::Echo("own").command(&bench);
    spec.user = (bench.runtime.kind() != "process").then(|| "65534:65534".to_owned());
    spec.container.read_only = bench.runtime.kind() != "process";
    // Of the engine's own init there must be none: ours is the first process.
    spec.container.init = spec.container.read_only;
    let Some(spec) = started(&bench, spec).await else {
        return;
    };
    assert_eq!(done(&bench, &spec, &job(Vec::new())).await.0, "own\n");
    if bench.is_docker() {
        let see = "while read -r n a b; do [ \"$n\" = Uid: ] && echo $a; done </proc/self/status; (: >/x) && echo wrote; echo err >/dev/stderr; \
            while read -r n a b; do [ \"$n\" = SigBlk: ] && echo $a; done </proc/self/status; (: >/.hancock/x) && echo wrote";
        let (out, err, _) = done(&bench, &spec, &script(see)).await;
        assert_eq!(out, "65534\n0000000000000000\n");
        assert!(err.ends_with("err\n") || err.contains("\nerr\n"), "{err}");
    }
    bench.clear().await;
}

pub async fn a_job_runs_in_an_image_of_its_program_alone(bench: Bench) {
    if !bench.is_docker() {
        return;
    }
    let mut spec = bench.spec(1, Behave::Serve);
    spec.image = Some(image_of_one_program());
    spec.command = vec!["/program".to_owned()];
    let spec = started(&bench, spec).await.unwrap();
    let own = done(&bench, &spec, &job(Vec::new())).await;
    assert_eq!(own, ("alone\n".into(), String::new(), 3));
    let none = done(&bench, &spec, &script("true")).await;
    assert!(none.2 == 127 && none.1.contains("/bin/sh"), "{none:?}");
    bench.clear().await;
}

/// FROM scratch, with one static program that prints and exits.
fn image_of_one_program() -> String {
    const BUILD: &str = "docker image inspect hancock-alone:1 >/dev/null 2>&1 && exit 0; cd \"$(mktemp -d)\" && \
        echo 'int puts(const char *); int main(void) { puts(\"alone\"); return 3; }' | gcc -static -x c -o program - && \
        tar -c program | docker import - hancock-alone:1; status=$?; rm -r \"$PWD\"; exit $status";
    let built = Command::new("/bin/sh")
        .args(["-c", BUILD])
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    "hancock-alone:1".to_owned()
}
