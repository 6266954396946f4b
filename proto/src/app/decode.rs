//! Reads an app spec from a JSON value and finds every mistake at once: types, unknown fields, missing ones, contradictions.
//!
//! One file per section; each names its fields once, through [`reader::Section`], so that a field that is not read is unknown.

mod check;
mod container;
mod health;
mod later;
mod lifecycle;
mod ports;
mod proxy;
mod reader;
mod shell;
mod storage;
mod task;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AppSpec, CheckKind, Kind, Limits, PullPolicy, Resources, Update};
use crate::template;
use crate::units::{Cpu, Size};
use later::Shape;
use reader::{Field, Section, Sink};

pub use check::host_problem;

/// One thing wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Where, like `ports[1].container`; empty for the document.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Kinds of work.
const KINDS: [(&str, Kind); 2] = [("service", Kind::Service), ("task", Kind::Task)];
/// Instances one app may have.
const MOST_REPLICAS: u64 = 10_000;
/// Least memory a container engine accepts.
const LEAST_MEMORY: Size = Size::mib(6);
/// Least processor time a container engine accepts as a limit.
const LEAST_CPU: Cpu = Cpu::millicores(10);
/// Processes Linux can number.
const MOST_PIDS: u64 = 1 << 22;

pub(super) fn decode(value: &Value) -> Result<AppSpec, Vec<Problem>> {
    let sink = Sink::default();
    let spec = Field::root(value, &sink).section().and_then(app);
    shell::variables(&Field::root(value, &sink));
    match (spec, sink.into_problems()) {
        (Some(spec), problems) if problems.is_empty() => Ok(spec),
        (_, problems) => Err(problems),
    }
}

/// `None` only after a problem was reported.
fn app(mut top: Section<'_>) -> Option<AppSpec> {
    let app = top.field("app").required("app: web").parsed();
    let kind = top
        .field("kind")
        .word(&KINDS, &["daemon", "cron"])
        .unwrap_or(Kind::Service);
    let image = top.field("image");
    let command = top.field("command");
    if !image.is_present() && !command.is_present() {
        top.problem("an app needs `image`, or `command` where nodes run plain processes, or both");
    }
    task::fits(kind, &mut top);
    let (image, command) = (image.word_text(), texts(&command));
    let pull_policy = pull_policy(&top.field("pull_policy"));
    let workdir = top.field("workdir").folder();
    let user = top.field("user").word_text();
    let environment = top.field("environment");
    let labels = table(&top.field("labels"));
    let replicas = top.field("replicas").whole(0..=MOST_REPLICAS).unwrap_or(1);
    let resources = resources(&top.field("resources"));
    let limits = limits(&top.field("limits"), &resources);
    let ports = ports::ports(&top.field("ports"));
    placeholders(&top.field("command"), &environment, &ports);
    let environment = self::environment(&environment);
    let service = ports::services(&top.field("service"), &ports);
    let healthcheck = health::check(&top.field("healthcheck"), &ports);
    let own = healthcheck.as_ref();
    let fall = own.filter(|c| c.kind != CheckKind::None).map(|c| c.fall);
    let judged = !service.is_empty() || fall.is_some();
    // The image may bring a check of its own.
    let checked = judged || (image.is_some() && own.is_none());
    let liveness = health::liveness(&top.field("liveness"), checked.then_some(fall));
    let default = Update::judged(judged);
    let single = storage::single_writer(&top.field("volumes"));
    let update = lifecycle::update(&top.field("update"), replicas, single, default);
    let stop = lifecycle::stop(&top.field("stop"));
    let placement = lifecycle::placement(&top.field("placement"));
    let restart = lifecycle::restart(&top.field("restart"));
    let task = task::task(&top.field("task"), kind);
    let disconnect = lifecycle::disconnect(&top.field("disconnect"));
    let volumes = storage::volumes(&top.field("volumes"));
    let files = storage::files(&top.field("files"), &ports);
    let container = container::container(&top.field("container"), &ports);
    beside(&mut top);
    later(&mut top);
    top.end();
    Some(AppSpec {
        app: app?,
        kind,
        task,
        image,
        pull_policy,
        command,
        workdir,
        user,
        environment,
        labels,
        // In range, so nothing is cut off.
        replicas: replicas as u32,
        resources,
        limits,
        ports: ports.list,
        service,
        healthcheck,
        liveness,
        update,
        stop,
        placement,
        restart,
        disconnect,
        volumes,
        files,
        container,
    })
}

/// Only where the spec's file is there are files beside it.
fn beside(top: &mut Section<'_>) {
    if let Some(field) = top.aside("env_file") {
        field.problem("is read by the command line, which adds it to `environment`; send that");
    }
}

/// Whole sections whose features come later.
fn later(top: &mut Section<'_>) {
    use Shape::{Flag, List, Span, Table, Text, Whole, Word};
    const SECRET: Shape = Shape::Either(&Text, &Table(&[("name", &Text), ("file", &Text)]));
    const HOOK: Shape = Table(&[("command", &List(&Text)), ("timeout", &Span)]);
    const NOTIFY: Shape = Table(&[("on", &List(&Text)), ("webhook", &Text)]);
    const RESCHEDULE: Shape = Table(&[
        ("delay", &Span),
        ("max_delay", &Span),
        ("unlimited", &Flag),
        ("attempts", &Whole),
    ]);
    const CRON: Shape = Table(&[
        ("schedule", &Text),
        ("timezone", &Text),
        ("overlap", &Word(&["allow", "skip", "replace", "queue_one"])),
        ("catch_up", &Text),
        ("start_deadline", &Span),
        ("timeout", &Span),
        ("retries", &Whole),
        ("history", &Whole),
    ]);
    let hooks = Table(&[("pre_deploy", &HOOK), ("post_deploy", &HOOK)]);
    top.field("namespace").later("namespaces", &Text);
    top.field("secrets").later("secrets", &List(&SECRET));
    top.field("depends_on")
        .later("dependencies between apps", &List(&Text));
    top.field("reschedule")
        .later("rescheduling rules of an app's own", &RESCHEDULE);
    top.field("hooks").later("hooks", &hooks);
    top.field("notify").later("notifications", &List(&NOTIFY));
    top.field("cron").later("cron jobs", &CRON);
}

fn resources(field: &Field<'_>) -> Resources {
    let default = Resources::default();
    let Some(mut section) = field.section() else {
        return default;
    };
    let memory = section.field("memory");
    let resources = Resources {
        cpu: section.field("cpu").cores().unwrap_or(default.cpu),
        memory: memory.parsed().unwrap_or(default.memory),
        disk: section.field("disk").parsed().unwrap_or(default.disk),
    };
    if resources.memory < LEAST_MEMORY {
        memory.problem(format!("must be at least {LEAST_MEMORY}"));
    }
    section
        .field("bandwidth")
        .later("bandwidth as a reserved resource", &Shape::Rate);
    section.end();
    resources
}

fn limits(field: &Field<'_>, reserved: &Resources) -> Limits {
    let Some(mut section) = field.section() else {
        return Limits::default();
    };
    let (cpu, memory) = (section.field("cpu"), section.field("memory"));
    let (disk, pids) = (section.field("disk"), section.field("pids"));
    let limits = Limits {
        cpu: cpu.cores(),
        memory: memory.parsed(),
        disk: disk.parsed(),
        pids: pids
            .whole(1..=MOST_PIDS)
            .and_then(|n| u32::try_from(n).ok()),
    };
    not_below(&cpu, reserved.cpu.max(LEAST_CPU), limits.cpu);
    not_below(&memory, reserved.memory, limits.memory);
    not_below(&disk, reserved.disk, limits.disk);
    section.end();
    limits
}

fn not_below<T: PartialOrd + std::fmt::Display>(field: &Field<'_>, least: T, limit: Option<T>) {
    if let Some(limit) = limit.filter(|limit| *limit < least) {
        field.problem(format!("{limit} is less than {least}, which is reserved"));
    }
}

fn pull_policy(field: &Field<'_>) -> PullPolicy {
    let words = [
        ("missing", PullPolicy::Missing),
        ("always", PullPolicy::Always),
        ("never", PullPolicy::Never),
    ];
    field.word(&words, &[]).unwrap_or_default()
}

fn texts(field: &Field<'_>) -> Vec<String> {
    let items = field.items("[\"/bin/web\", \"--verbose\"]");
    items
        .iter()
        .filter_map(Field::text)
        .map(str::to_owned)
        .collect()
}

fn table(field: &Field<'_>) -> BTreeMap<String, String> {
    let entries = field.entries().into_iter();
    entries
        .filter_map(|(name, field)| Some((name.to_owned(), field.text()?.to_owned())))
        .collect()
}

fn environment(field: &Field<'_>) -> BTreeMap<String, String> {
    for (name, entry) in field.entries_silently() {
        if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_whitespace) {
            entry.problem("the name of a variable has no \"=\", no space and is not empty");
        }
    }
    table(field)
}

/// Every `{{ … }}` must name something, or the instance could not start.
fn placeholders(command: &Field<'_>, environment: &Field<'_>, ports: &ports::Ports) {
    filled_in(command, ports);
    for (_, value) in environment.entries_silently() {
        filled_in(&value, ports);
    }
}

/// The same for a text or a list of them.
fn filled_in(field: &Field<'_>, ports: &ports::Ports) {
    let names = ports.names();
    for field in field.items_silently().iter().chain([field]) {
        if let Some(Err(error)) = field.raw_text().map(|text| template::check(text, &names)) {
            field.problem(error);
        }
    }
}

impl Field<'_> {
    /// Processor time in cores.
    fn cores(&self) -> Option<Cpu> {
        let cores = self.number("0.5")?;
        self.accept(Cpu::try_from(cores))
    }
}

#[cfg(test)]
mod tests;
