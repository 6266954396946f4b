//! App specs for tests, as the YAML a user would write.

use std::fmt::Write as _;

use crate::runtime::Runtime;

/// An app that runs the demo app.
#[derive(Debug, Clone)]
pub struct Spec {
    pub app: String,
    pub version: String,
    pub replicas: u32,
    pub image: Option<String>,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// More top-level lines, verbatim.
    pub more: String,
    /// A default that is left out.
    without: &'static str,
}

impl Spec {
    /// Three instances of `web`, version `v1`, reached as `web.localhost`.
    pub fn web(runtime: Runtime) -> Self {
        Self {
            app: "web".to_owned(),
            version: "v1".to_owned(),
            replicas: 3,
            image: runtime.image().map(str::to_owned),
            command: vec![runtime.program().to_owned(), "demo-app".to_owned()],
            environment: Vec::new(),
            more: String::new(),
            without: "",
        }
    }

    pub fn app(mut self, app: &str) -> Self {
        app.clone_into(&mut self.app);
        self
    }

    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    pub fn replicas(mut self, replicas: u32) -> Self {
        self.replicas = replicas;
        self
    }

    /// Arguments of the demo app.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }

    /// Another program.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|c| (*c).to_owned()).collect();
        self
    }

    /// More top-level lines.
    pub fn more(mut self, lines: &str) -> Self {
        let _ = writeln!(self.more, "{lines}");
        self
    }

    /// Without the usual `healthcheck`.
    pub fn unchecked(mut self) -> Self {
        self.without = "healthcheck";
        self
    }

    pub fn text(&self) -> String {
        let mut text = format!("app: {}\n", self.app);
        if let Some(image) = &self.image {
            let _ = writeln!(text, "image: {image}");
        }
        // JSON is YAML, quoting included.
        let _ = writeln!(text, "command: {}", serde_json::json!(self.command));
        let _ = writeln!(text, "environment:\n  DEMO_VERSION: {}", self.version);
        for (name, value) in &self.environment {
            let _ = writeln!(text, "  {name}: {}", serde_json::json!(value));
        }
        let _ = writeln!(text, "replicas: {}", self.replicas);
        let _ = writeln!(text, "resources: {{cpu: 0.05, memory: 64MiB}}");
        for (key, line) in DEFAULTS {
            let replaced = |l: &str| l.starts_with(&format!("{key}:"));
            if key != self.without && !self.more.lines().any(replaced) {
                let line = line.replace("APP", &self.app);
                let _ = writeln!(text, "{key}: {line}");
            }
        }
        text.push_str(&self.more);
        text
    }
}

/// What [`Spec::more`] may replace.
const DEFAULTS: [(&str, &str); 4] = [
    ("ports", "[{name: http}]"),
    ("service", "[{port: http, hosts: [APP.localhost]}]"),
    (
        "healthcheck",
        "{type: http, port: http, path: /healthz, interval: 500ms, start_interval: 50ms, timeout: 500ms}",
    ),
    ("stop", "{drain_timeout: 10s, grace_period: 5s}"),
];
