//! Starts an instance by starting its shim, and hears from the shim what came of it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use hancock_agent_core::environment::StartSpec;

use super::RuntimeError;
use super::cgroup;
use super::files::{Answer, Folder, Order};
use super::proc::Process;
use crate::runtime::given;

/// Time the shim has to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// What a process gets of the daemon's environment, beside what its spec says.
const INHERITED: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER"];

/// Variable with the folder that the files of a spec are below.
const FILES: &str = "HANCOCK_FILES";

/// Starts it; one that runs already is left alone. The process whose end is the instance's end.
pub(super) async fn launch(
    folder: &Folder,
    spec: &StartSpec,
    shim: &[OsString],
) -> Result<Process, RuntimeError> {
    let failed = |e: std::io::Error| RuntimeError::failed("start", &spec.instance, e);
    if let Some(process) = folder.alive() {
        return Ok(process);
    }
    not_anothers(folder, spec)?;
    fs::create_dir_all(folder.path()).map_err(failed)?;
    let unlimited = |e: std::io::Error| {
        let reason = format!("its limits cannot be set on this node: {e}");
        RuntimeError::elsewhere("start", &spec.instance, reason)
    };
    let given = folder.path().join("files");
    given::put(&spec.files, |_, file| below(&given, &file.target)).map_err(failed)?;
    let order = Order {
        spec: with_folder(with_inherited(spec), &given),
        cgroups: cgroup::create(folder.path(), spec).map_err(unlimited)?,
    };
    // A shim that holds the folder reads its order only once; replacing it under its hands is harmless, taking its traces is not.
    if !folder.is_up() {
        folder.begin(&order).map_err(failed)?;
    }
    let mut child = spawn(folder, shim).map_err(failed)?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer(&mut child)).await;
    if let Ok(Ok(Some(Answer::NotStarted { .. }))) = &answer {
        // It holds the folder until it is gone, and a held folder reads as an instance that is up.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, child.wait()).await;
    }
    // Collected when it ends; it outlives us when we end first.
    tokio::spawn(async move { child.wait().await });
    match answer {
        Ok(Ok(Some(answer))) => judge(folder, spec, answer),
        Ok(Ok(None)) => Err(RuntimeError::failed(
            "start",
            &spec.instance,
            format!("the shim ended without a word: {}", last_words(folder)),
        )),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(RuntimeError::failed(
            "start",
            &spec.instance,
            "the shim did not answer within 20 s",
        )),
    }
}

/// A folder of another cluster's instance of that name is not touched.
fn not_anothers(folder: &Folder, spec: &StartSpec) -> Result<(), RuntimeError> {
    match folder.order() {
        Ok(order) if order.spec.owner != spec.owner => Err(RuntimeError::impossible(
            "start",
            &spec.instance,
            format!(
                "{} belongs to cluster {}; move it away",
                folder.path().display(),
                order.spec.owner.cluster
            ),
        )),
        _ => Ok(()),
    }
}

fn with_inherited(spec: &StartSpec) -> StartSpec {
    let mut spec = spec.clone();
    for name in INHERITED {
        if let Ok(value) = std::env::var(name) {
            spec.environment.entry(name.to_owned()).or_insert(value);
        }
    }
    spec
}

/// A process sees the node's file system: a file is where it would be if `folder` were the root, and the app is told that folder.
fn below(folder: &Path, target: &str) -> PathBuf {
    folder.join(target.trim_start_matches('/'))
}

fn with_folder(mut spec: StartSpec, folder: &Path) -> StartSpec {
    if !spec.files.is_empty() {
        let folder = folder.display().to_string();
        spec.environment.insert(FILES.to_owned(), folder);
    }
    spec
}

fn spawn(folder: &Folder, shim: &[OsString]) -> std::io::Result<Child> {
    let (program, args) = shim
        .split_first()
        .ok_or_else(|| std::io::Error::other("no shim command is configured"))?;
    let words = File::options()
        .create(true)
        .append(true)
        .open(folder.shim_log())?;
    Command::new(program)
        .args(args)
        .arg(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(words)
        .kill_on_drop(false)
        .spawn()
}

/// None: the shim ended without one.
async fn answer(child: &mut Child) -> std::io::Result<Option<Answer>> {
    let Some(out) = child.stdout.take() else {
        return Ok(None);
    };
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    serde_json::from_str(&line)
        .map(Some)
        .map_err(std::io::Error::other)
}

fn judge(folder: &Folder, spec: &StartSpec, answer: Answer) -> Result<Process, RuntimeError> {
    match answer {
        Answer::Started(running) => Ok(running.shim),
        // Whoever started it, it is this instance: adopted.
        Answer::Busy => folder.alive().ok_or_else(|| {
            let reason = "another shim is just starting or ending it";
            RuntimeError::failed("start", &spec.instance, reason)
        }),
        Answer::NotStarted {
            permanent: true,
            reason,
        } => Err(RuntimeError::impossible("start", &spec.instance, reason)),
        Answer::NotStarted {
            permanent: false,
            reason,
        } => Err(RuntimeError::failed("start", &spec.instance, reason)),
    }
}

fn last_words(folder: &Folder) -> String {
    let text = fs::read_to_string(folder.shim_log()).unwrap_or_default();
    text.lines().last().unwrap_or("nothing logged").to_owned()
}
