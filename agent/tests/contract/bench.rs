//! What the suite runs on: a runtime, a second view of the same instances, and programs that behave as asked.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hancock_agent::runtime::ContainerRuntime;
use hancock_agent::runtime::RuntimeError;
use hancock_agent::runtime::docker::{DockerOptions, DockerRuntime};
use hancock_agent::runtime::fake::{FakeRuntime, Script};
use hancock_agent::runtime::process::{ProcessOptions, ProcessRuntime};
use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::observed::{Ending, Observed, Owner, StopRule};
use hancock_proto::app::{Container, Limits, PullPolicy, Resources};
use hancock_proto::ids::{AppName, InstanceId, Version};
use hancock_proto::units::{Size, Span};

/// How a program behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behave {
    /// Prints "started" and its environment's WORD; ends politely at SIGTERM.
    Serve,
    /// Prints "one" and "two", exits with this code.
    Exit(i32),
    /// Prints "deaf", does not care for SIGTERM.
    Deaf,
    /// Does not exist.
    Missing,
}

type Again = Box<dyn Fn() -> Arc<dyn ContainerRuntime> + Send + Sync>;

pub struct Bench {
    pub runtime: Arc<dyn ContainerRuntime>,
    pub again: Again,
    pub owner: Owner,
    /// A word in the commands of this bench alone.
    pub mark: String,
    image: Option<String>,
    fake: Option<Arc<FakeRuntime>>,
    _folder: Option<tempfile::TempDir>,
}

fn mark() -> String {
    static MARKS: AtomicU64 = AtomicU64::new(0);
    let number = MARKS.fetch_add(1, Ordering::Relaxed);
    format!("mark-{}-{number}-", std::process::id())
}

fn owner(node: String) -> Owner {
    Owner {
        cluster: "contract".parse().unwrap(),
        node: node.parse().unwrap(),
    }
}

impl Bench {
    pub fn fake(engine: Arc<FakeRuntime>) -> Self {
        let second = engine.clone();
        Self {
            runtime: engine.clone(),
            again: Box::new(move || second.clone()),
            owner: owner("fake".into()),
            mark: mark(),
            image: None,
            fake: Some(engine),
            _folder: None,
        }
    }

    pub fn process() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = ProcessOptions {
            shim: vec![env!("CARGO_BIN_EXE_hancock-shim").into()],
            ..ProcessOptions::new(folder.path())
        };
        let again = move || -> Arc<dyn ContainerRuntime> {
            Arc::new(ProcessRuntime::new(options.clone()).unwrap())
        };
        Self {
            runtime: again(),
            again: Box::new(again),
            owner: owner("process".into()),
            mark: mark(),
            image: None,
            fake: None,
            _folder: Some(folder),
        }
    }

    /// None: no engine answers here, and that is allowed here.
    pub async fn docker(case: &str) -> Option<Self> {
        let node = owner(format!("{case}-{}", std::process::id()));
        let folder = tempfile::tempdir().unwrap();
        let options = DockerOptions::from_environment(folder.path()).unwrap();
        let id = node.node.clone();
        let again = move || -> Arc<dyn ContainerRuntime> {
            Arc::new(DockerRuntime::new(id.clone(), options.clone()))
        };
        let runtime = again();
        if let Err(error) = runtime.version().await {
            let ci = std::env::var("CI").is_ok_and(|v| v == "true");
            assert!(!ci, "{error}");
            eprintln!("SKIPPED: {case} on docker: {error}");
            return None;
        }
        Some(Self {
            runtime,
            again: Box::new(again),
            owner: node,
            mark: mark(),
            image: Some(image()),
            fake: None,
            _folder: Some(folder),
        })
    }

    /// A spec of instance `number` that behaves so.
    pub fn spec(&self, number: u64, behave: Behave) -> StartSpec {
        let app: AppName = "contract".parse().unwrap();
        if let Some(fake) = &self.fake {
            fake.script(&app, script(behave));
        }
        StartSpec {
            owner: self.owner.clone(),
            instance: InstanceId::new(&app, number),
            app,
            version: Version(7),
            image: self.image.clone(),
            image_digest: None,
            pull_policy: PullPolicy::Missing,
            command: command(behave),
            workdir: None,
            user: None,
            environment: BTreeMap::from([("WORD".to_owned(), "hello".to_owned())]),
            labels: BTreeMap::new(),
            resources: Resources {
                memory: Size::mib(64),
                ..Resources::default()
            },
            limits: Limits::default(),
            ports: Vec::new(),
            volumes: Vec::new(),
            files: Vec::new(),
            container: Container::default(),
            image_check: false,
            reuse: false,
            stop: StopRule {
                signal: "SIGTERM".into(),
                grace: Span::seconds(20),
            },
        }
    }

    pub async fn start(&self, spec: &StartSpec) -> Result<Observed, RuntimeError> {
        self.runtime.prepare(spec).await?;
        self.runtime.start(spec).await
    }

    pub async fn seen(&self, id: &InstanceId) -> Option<Observed> {
        let list = self.runtime.list().await.unwrap();
        list.into_iter().find(|o| o.instance == *id)
    }

    pub async fn clear(&self) {
        for one in self.runtime.list().await.unwrap() {
            self.runtime.kill(&one.owner, &one.instance).await.unwrap();
            self.runtime
                .remove(&one.owner, &one.instance)
                .await
                .unwrap();
        }
    }

    /// What the engine's own command says.
    pub fn docker_says(&self, words: &[&str]) -> String {
        let out = Command::new("docker").args(words).output().unwrap();
        assert!(out.status.success(), "docker {words:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// A field of the container of `spec`, as the engine's own command tells it.
    pub fn inspect(&self, spec: &StartSpec, format: &str) -> String {
        let own = format!("label=hancock.node={}", spec.owner.node);
        let instance = format!("label=hancock.instance={}", spec.instance);
        let filters = [
            "ps", "--all", "--quiet", "--filter", &own, "--filter", &instance,
        ];
        let id = self.docker_says(&filters);
        self.docker_says(&["inspect", "--format", format, id.trim()])
    }

    /// Whether anything with [`Self::mark`] in its command runs.
    pub fn runs_commands(&self) -> bool {
        if let Some(fake) = &self.fake {
            return fake.commands() > 0;
        }
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        let mut lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
        lines.any(|line| String::from_utf8_lossy(&line).contains(&self.mark))
    }

    pub fn is_fake(&self) -> bool {
        self.fake.is_some()
    }

    pub fn is_docker(&self) -> bool {
        self.image.is_some()
    }

    /// The engine in memory, where it is that.
    pub fn engine(&self) -> Option<&FakeRuntime> {
        self.fake.as_deref()
    }
}

fn command(behave: Behave) -> Vec<String> {
    let script = match behave {
        Behave::Serve => {
            "echo started $WORD; trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done"
        }
        Behave::Exit(_) => "echo one; echo two >&2; exit ",
        Behave::Deaf => "trap '' TERM; echo deaf; while :; do sleep 0.05; done",
        Behave::Missing => return vec!["/no/such/program".into()],
    };
    let script = match behave {
        Behave::Exit(code) => format!("{script}{code}"),
        _ => script.to_owned(),
    };
    vec!["/bin/sh".into(), "-c".into(), script]
}

pub fn script(behave: Behave) -> Script {
    let lines = |lines: &[&str]| lines.iter().map(|l| (*l).to_owned()).collect();
    match behave {
        Behave::Serve => Script {
            lines: lines(&["started hello"]),
            ends_after: Some(Duration::ZERO),
            ..Script::default()
        },
        Behave::Exit(code) => Script {
            lines: lines(&["one", "two"]),
            exit_after: Some((Duration::from_millis(20), Ending::Code(code))),
            ..Script::default()
        },
        Behave::Deaf => Script {
            lines: lines(&["deaf"]),
            ..Script::default()
        },
        Behave::Missing => Script {
            start_error: Some(RuntimeError::Impossible {
                deed: "start",
                what: "it".into(),
                reason: "program \"/no/such/program\" does not exist".into(),
            }),
            ..Script::default()
        },
    }
}

/// An image with a shell, made of this machine's own files: no registry is needed.
fn image() -> String {
    const IMAGE: &str = "hancock-contract:3";
    const BUILD: &str = "programs='/bin/sh /bin/sleep /bin/cat /bin/stty /usr/bin/touch'; docker image inspect hancock-contract:3 >/dev/null 2>&1 && exit 0; \
        files=$( (printf '%s\\n' $programs; ldd $programs | grep -o '/[^ :]*') | sed 's,^/,,' | sort -u); \
        tar -C / -chf - $files | docker import - hancock-contract:3";
    let built = Command::new("/bin/sh")
        .args(["-c", BUILD])
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    IMAGE.to_owned()
}

/// Waits for a condition, at most 30 s.
pub async fn wait_for<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !condition().await {
            again.tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(waited.is_ok(), "waited 30 s for: {what}");
}
