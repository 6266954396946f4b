//! Golden scenarios: a script of what people and faults do, and the readable plan that answers.
//!
//! One word per line and its arguments: `node NAME`, `apply APP key=value…`, `plan APP key=value…`, `scale APP N`, `restart|stop|start|delete|rollback APP`,
//! `abort ID`, `replace INSTANCE`, `run TIME`, `settle`, `kill INSTANCE`, `cut|mend|off|on|mute|unmute|blind|see|reboot NODE`, `open|sessions NODE INSTANCE N`,
//! `zone NAME LABEL=VALUE… [settle=TIME]`, `unzone NAME`, `label NODE LABEL=VALUE…` (its daemon starts again with these), `show carried|zones|upstreams`,
//! `reader NAME` (reads a registry outside; takes `cut|mend|mute|unmute|blind|see|end` and `open|sessions` as a node does), `registry URL`, `filled REVISION` (what its keeper says), `show registry`, `keep ZONE NAME HOST:PORT`, `drop ZONE NAME` (upstreams kept by hand),
//! `elect`, `show deployment|ps|docs|history|events|apps APP`. `#` begins a comment.

use std::fmt::Write;

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::view::{self, Context};
use hancock_proto::app::{
    AppSpec, Balance, Disconnect, Kind, Service, ServiceProtocol, Strategy, Task, Volume,
    VolumeKind,
};
use hancock_proto::ids::{AppName, DeploymentId, InstanceId, Revision, ZoneName};
use hancock_proto::report::Draining;
use hancock_proto::units::Span;
use hancock_proto::upstream::Server;
use hancock_proto::zone::Zone;

use crate::world::{Outsider, Running, World};

/// Runs a script; everything that happened, as text.
pub fn run(text: &str) -> String {
    let mut player = Player {
        world: World::new(),
        out: String::new(),
    };
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        player.flush();
        writeln!(player.out, "> {line}").unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        player.play(&words);
        player.flush();
    }
    player.out
}

struct Player {
    world: World,
    out: String,
}

impl Player {
    fn flush(&mut self) {
        for line in self.world.log.drain(..) {
            writeln!(self.out, "  {line}").unwrap();
        }
    }

    fn play(&mut self, words: &[&str]) {
        match words {
            ["node", id] => self.world.join(id),
            ["reader", name] => {
                let readers = &mut self.world.readers;
                readers.insert((*name).to_owned(), Outsider::default());
            }
            ["apply", app, rest @ ..] => {
                let reply = self.world.apply_spec(spec(app, rest));
                self.say(reply);
            }
            ["plan", app, rest @ ..] => {
                for line in plan(self.context(), &spec(app, rest)) {
                    writeln!(self.out, "  {line}").unwrap();
                }
            }
            ["run", time] => self.world.run(time.parse::<Span>().unwrap().duration()),
            ["settle"] => self.settle(),
            ["elect"] => self.world.elect(),
            ["kill", instance] => self.change(instance, |i| i.killed = true),
            ["ail", instance] => self.change(instance, |i| i.ails = true),
            ["taken", node, port] => {
                let taken = &mut self.world.node(node).taken;
                taken.insert(port.parse().unwrap());
            }
            ["label", node, labels @ ..] => self.label(node, labels),
            ["open", node, peer, n] => self.open(node, peer, n.parse().unwrap(), 0),
            ["sessions", node, peer, n] => self.open(node, peer, 0, n.parse().unwrap()),
            ["show", what, rest @ ..] => self.show(what, rest),
            [fault, node] if self.fault(fault, node) => {}
            [fault, reader] if self.fault_of_reader(fault, reader) => {}
            wish => {
                let command = self.wish(wish);
                let reply = self.world.apply(command);
                self.say(reply);
            }
        }
    }

    fn wish(&self, words: &[&str]) -> Command {
        let at = self.world.now;
        let app = |text: &str| text.parse::<AppName>().unwrap();
        match words {
            ["scale", name, replicas] => Command::Scale {
                app: app(name),
                replicas: replicas.parse().unwrap(),
                at,
            },
            ["restart", name] => Command::Restart { app: app(name), at },
            ["replace", id] => Command::ReplaceInstance {
                instance: id.parse().unwrap(),
                at,
            },
            ["stop", name] => Command::StopApp { app: app(name), at },
            ["start", name] => Command::StartApp { app: app(name), at },
            ["delete", name] => Command::DeleteApp { app: app(name), at },
            ["rollback", name] => Command::Rollback {
                app: app(name),
                version: None,
                at,
            },
            ["zone", name, labels @ ..] => Command::PutZone {
                name: name.parse().unwrap(),
                zone: zone(labels),
                at,
            },
            ["keep", zone, name, server] => {
                let (host, port) = server.rsplit_once(':').unwrap();
                Command::AddServer {
                    zone: zone.parse().unwrap(),
                    name: name.parse().unwrap(),
                    server: Server {
                        host: host.to_owned(),
                        port: port.parse().unwrap(),
                        ..Server::default()
                    },
                    at,
                }
            }
            ["drop", zone, name] => Command::DeleteUpstream {
                zone: zone.parse().unwrap(),
                name: name.parse().unwrap(),
                at,
            },
            ["registry", url] => Command::ChooseRegistry {
                url: url.parse().unwrap(),
                at,
            },
            ["filled", revision] => Command::RegistryFilled {
                number: self.world.state.choosing.newest().number,
                revision: Revision(revision.parse().unwrap()),
                at,
            },
            ["unzone", name] => Command::DeleteZone {
                name: name.parse().unwrap(),
                at,
            },
            ["abort", id] => Command::Abort {
                deployment: DeploymentId(id.parse().unwrap()),
                at,
            },
            other => panic!("no such line: {other:?}"),
        }
    }

    fn say(&mut self, reply: Reply) {
        let deployment = match reply {
            Reply::Applied(reply) => reply.deployment,
            _ => return,
        };
        self.flush();
        match deployment {
            Some(id) => writeln!(self.out, "  deployment {id}").unwrap(),
            None => writeln!(self.out, "  no deployment").unwrap(),
        }
    }

    /// Until nothing more happens for a while; at most half an hour of the world's time.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..3600 {
            let applied = self.world.state.applied;
            self.world.round();
            quiet = if applied == self.world.state.applied {
                quiet + 1
            } else {
                0
            };
            let open = self.world.state.deployments.values();
            if quiet >= 20 && open.into_iter().all(|d| d.phase.is_over()) {
                return;
            }
        }
    }

    fn label(&mut self, id: &str, labels: &[&str]) {
        let node = self.world.node(id);
        node.info.labels = zone(labels).selector;
        node.reboot();
        self.world.hello(&id.parse().unwrap());
    }

    fn change(&mut self, instance: &str, change: impl Fn(&mut Running)) {
        let id: InstanceId = instance.parse().unwrap();
        for node in self.world.nodes.values_mut() {
            if let Some(instance) = node.instances.get_mut(&id) {
                change(instance);
            }
        }
    }

    fn open(&mut self, node: &str, peer: &str, requests: u64, sessions: u64) {
        let open = Draining {
            requests,
            sessions,
            older_phase: false,
        };
        let balancer = match self.world.readers.get_mut(node) {
            Some(reader) => &mut reader.balancer,
            None => &mut self.world.node(node).balancer,
        };
        balancer.open.insert(peer.parse().unwrap(), open);
    }

    fn fault(&mut self, fault: &str, id: &str) -> bool {
        if self.world.nodes.keys().all(|n| n.as_str() != id) {
            return false;
        }
        let node = self.world.node(id);
        match fault {
            "cut" => node.linked = false,
            "mend" => node.linked = true,
            "off" => (node.up, node.linked) = (false, false),
            "on" => (node.up, node.linked) = (true, true),
            "mute" => node.balancer.mute = true,
            "unmute" => node.balancer.mute = false,
            "blind" => node.balancer.blind = true,
            "see" => node.balancer.blind = false,
            "reboot" => node.reboot(),
            _ => return false,
        }
        if matches!(fault, "mend" | "on" | "reboot") {
            let id = id.parse().unwrap();
            self.world.hello(&id);
        }
        true
    }

    fn fault_of_reader(&mut self, fault: &str, name: &str) -> bool {
        let Some(reader) = self.world.readers.get_mut(name) else {
            return false;
        };
        match fault {
            "cut" => reader.cut = true,
            "mend" => reader.cut = false,
            "end" => reader.ended = true,
            "mute" => reader.balancer.mute = true,
            "unmute" => reader.balancer.mute = false,
            "blind" => reader.balancer.blind = true,
            "see" => reader.balancer.blind = false,
            _ => return false,
        }
        true
    }

    fn context(&self) -> Context<'_> {
        Context {
            state: &self.world.state,
            leader: &self.world.view,
            now: self.world.now,
        }
    }

    fn show(&mut self, what: &str, rest: &[&str]) {
        let ctx = self.context();
        let app: Option<AppName> = rest.first().map(|a| a.parse().unwrap());
        let text = match (what, app) {
            ("deployment", Some(app)) => deployment(ctx, &app),
            ("ps", app) => ps(ctx, app.as_ref()),
            ("docs", _) => docs(ctx),
            ("history", Some(app)) => history(ctx, &app),
            ("nodes", _) => nodes(ctx),
            ("registry", _) => vec![registry(ctx)],
            ("zones", _) => zones(ctx),
            ("upstreams", _) => upstreams(ctx),
            ("carried", _) => carried(&self.world),
            ("events", _) => events(ctx),
            ("apps", _) => apps(ctx),
            other => panic!("cannot show {other:?}"),
        };
        for line in text {
            writeln!(self.out, "  {line}").unwrap();
        }
    }
}

/// A spec from `key=value` words: replicas, host, ready (ms), never, crash, cmd, port (fixed host port), cpu (millicores), `min_healthy`,
/// `healthy`, hold, drain, `max_per_node`, volume (a named one), own (a volume or folder with a single writer), strategy, zone, proxy (JSON without blanks).
pub fn spec(app: &str, words: &[&str]) -> AppSpec {
    let mut spec: AppSpec = serde_json::from_value(serde_json::json!({
        "app": app, "kind": "service", "replicas": 1, "command": ["serve"],
        "resources": {"cpu": 0.1, "memory": "64MiB", "disk": "0B"},
        "ports": [{"name": "http"}],
        "service": [{"port": "http", "protocol": "http", "hosts": [], "balance": "round_robin", "weight": 1}],
        "update": hancock_proto::app::Update::default(), "stop": hancock_proto::app::Stop::default(),
        "placement": hancock_proto::app::Placement::default(), "restart": hancock_proto::app::Restart::default(),
    }))
    .unwrap();
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        set(&mut spec, key, value);
    }
    if spec.service[0].hosts.is_empty() {
        spec.service[0].hosts = vec![format!("{app}.test")];
    }
    if spec.service[0].hosts == ["-"] {
        spec.service.clear();
    }
    spec
}

fn volume(kind: VolumeKind, source: &str, exclusive: bool) -> Volume {
    Volume {
        kind,
        source: source.to_owned(),
        target: format!("/{source}"),
        read_only: false,
        size: None,
        exclusive,
    }
}

fn set(spec: &mut AppSpec, key: &str, value: &str) {
    let span = || value.parse::<Span>().unwrap();
    match key {
        "replicas" => spec.replicas = value.parse().unwrap(),
        "image" => spec.image = Some(value.to_owned()),
        // Of a task: time a job has.
        "job" => {
            (spec.kind, spec.task) = (
                Kind::Task,
                Some(Task {
                    reuse: true,
                    timeout: span(),
                }),
            );
            spec.service[0].hosts = vec!["-".to_owned()];
        }
        "listen" => spec.service.push(Service {
            port: "http".to_owned(),
            protocol: ServiceProtocol::Tcp,
            hosts: Vec::new(),
            listen: Some(value.parse().unwrap()),
            balance: Balance::RoundRobin,
            weight: 1,
            proxy: None,
            zone: ZoneName::default(),
        }),
        "host" => spec.service[0].hosts = value.split(',').map(str::to_owned).collect(),
        "proxy" => spec.service[0].proxy = Some(serde_json::from_str(value).unwrap()),
        "zone" => spec.service[0].zone = value.parse().unwrap(),
        "weight" => spec.service[0].weight = value.parse().unwrap(),
        "cmd" => spec.command = vec![value.to_owned()],
        "volume" => spec.volumes.push(volume(VolumeKind::Volume, value, false)),
        "own" => {
            spec.update.strategy = Strategy::Recreate;
            let kind = match value.starts_with('/') {
                true => VolumeKind::Bind,
                false => VolumeKind::Volume,
            };
            spec.volumes.push(volume(kind, value, true));
        }
        "strategy" => spec.update.strategy = serde_json::from_value(value.into()).unwrap(),
        "port" => spec.ports[0].host = Some(value.parse().unwrap()),
        "cpu" => {
            spec.resources.cpu =
                hancock_proto::units::Cpu::millicores(value.parse::<u32>().unwrap());
        }
        "pids" => spec.limits.pids = Some(value.parse().unwrap()),
        "min_healthy" => spec.update.min_healthy_time = span(),
        "healthy" => spec.update.healthy_deadline = span(),
        "progress" => spec.update.progress_deadline = span(),
        "hold" => spec.update.hold_unconfirmed = span(),
        "drain" => spec.stop.drain_timeout = span(),
        "sessions" => spec.stop.session_drain_timeout = span(),
        "stop_after" => spec.disconnect = Some(Disconnect { stop_after: span() }),
        "max_per_node" => spec.placement.max_per_node = Some(value.parse().unwrap()),
        "ready" | "never" | "crash" | "reject" => {
            let name = key.to_ascii_uppercase();
            spec.environment.insert(name, value.to_owned());
        }
        other => panic!("no such setting: {other}"),
    }
}

fn deployment(ctx: Context<'_>, app: &AppName) -> Vec<String> {
    match view::newest_deployment(ctx, app) {
        Ok(d) => vec![format!(
            "deployment {} of {} version {}: {}: {}",
            d.id, d.app, d.version, d.phase, d.reason
        )],
        Err(error) => vec![error.message],
    }
}

fn ps(ctx: Context<'_>, app: Option<&AppName>) -> Vec<String> {
    view::instances(ctx, app)
        .into_iter()
        .map(|i| {
            let flags = [
                (i.ready.as_ref().is_some_and(|c| c.value), "ready"),
                (i.routed, "routed"),
                (i.draining, "draining"),
                (i.unknown, "unknown"),
            ];
            let flags: Vec<_> = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
            let node = i.node.map(|n| n.to_string()).unwrap_or_default();
            let reason = i.reason.map(|r| format!(": {r}")).unwrap_or_default();
            let address = i.address.unwrap_or_default();
            format!(
                "{} v{} {node} {address} {} {}{reason}",
                i.id,
                i.version,
                i.life,
                flags.join(",")
            )
        })
        .collect()
}

fn docs(ctx: Context<'_>) -> Vec<String> {
    let listing = ctx.state.registry.list();
    let each = listing.entries.into_iter();
    each.map(|(name, entry)| {
        let doc = &entry.doc;
        let peers: Vec<_> = doc.servers().map(peer).collect();
        let member = doc.hancock.as_ref().unwrap();
        let added: Vec<_> = member.added.iter().map(ToString::to_string).collect();
        let retiring: Vec<_> = member.retiring.iter().map(peer).collect();
        let proxy = doc.proxy.as_ref();
        let proxy = proxy.map(|p| format!(" proxy {}", serde_json::to_string(p).unwrap()));
        let zones: Vec<_> = member.zones.iter().map(ToString::to_string).collect();
        let zones = match zones.is_empty() {
            true => String::new(),
            false => format!(" in {}", zones.join(",")),
        };
        format!(
            "{name} at {}: [{}] added [{}] retiring [{}]{zones}{}",
            member.index,
            peers.join(" "),
            added.join(" "),
            retiring.join(" "),
            proxy.unwrap_or_default()
        )
    })
    .collect()
}

fn plan(ctx: Context<'_>, spec: &AppSpec) -> Vec<String> {
    match view::preview(ctx, spec) {
        Ok(plan) => {
            let changes = plan.changes.iter();
            let changes = changes.map(|c| format!("{}: {} -> {}", c.path, c.old, c.new));
            std::iter::once(format!("{:?}", plan.action))
                .chain(changes)
                .chain(plan.notes.iter().cloned())
                .collect()
        }
        Err(error) => vec![format!("refused: {}", error.message)],
    }
}

fn peer(server: &Server) -> String {
    let address = format!("{}:{}", server.host, server.port);
    match &server.instance {
        Some(id) => format!("{id}={address}"),
        None => address,
    }
}

fn history(ctx: Context<'_>, app: &AppName) -> Vec<String> {
    let versions = view::history(ctx.state, app).unwrap();
    let each = versions.into_iter();
    each.map(|v| {
        let stable = if v.stable { " stable" } else { "" };
        let how = v.deployment.unwrap_or_default();
        format!("version {} {how}{stable}", v.version)
    })
    .collect()
}

fn nodes(ctx: Context<'_>) -> Vec<String> {
    let each = view::nodes(ctx).into_iter();
    each.map(|n| format!("{} {} {} instances", n.info.node, n.state, n.instances))
        .collect()
}

fn zones(ctx: Context<'_>) -> Vec<String> {
    let each = view::zones(ctx).into_iter();
    each.map(|z| {
        let nodes: Vec<_> = z.nodes.iter().map(ToString::to_string).collect();
        format!(
            "{}: {} services on [{}]",
            z.zone,
            z.services,
            nodes.join(" ")
        )
    })
    .collect()
}

fn registry(ctx: Context<'_>) -> String {
    let view = view::registry(ctx);
    let next = view.next.map(|next| format!(", {next} on its way"));
    let waiting: Vec<_> = view.waiting.iter().map(ToString::to_string).collect();
    let readers = match view.readers {
        Some(_) => format!(", read by [{}]", view.reading.join(" ")),
        None => String::new(),
    };
    format!(
        "{} in force{}, {}: {} of {} nodes follow, not [{}]{readers}",
        view.url,
        next.unwrap_or_default(),
        view.phase,
        view.following,
        view.nodes,
        waiting.join(" ")
    )
}

/// The services of every zone.
fn upstreams(ctx: Context<'_>) -> Vec<String> {
    let zones = view::zones(ctx).into_iter();
    let each = zones.flat_map(|z| {
        let list = view::upstreams(ctx, &z.zone).unwrap().into_iter();
        list.map(move |u| (z.zone.clone(), u))
    });
    each.map(|(zone, u)| {
        let peers = u.peers.iter();
        let peers: Vec<_> = peers
            .map(|p| format!("{} {}", p.address, p.health))
            .collect();
        let owner = u.app.map_or("by hand".to_owned(), |app| app.to_string());
        let (confirmed, all) = (u.confirmed, u.balancers);
        format!(
            "{zone}: {} of {owner}, {confirmed} of {all} confirmed: {}",
            u.name,
            peers.join(", ")
        )
    })
    .collect()
}

/// What each balancer carries.
fn carried(world: &World) -> Vec<String> {
    let each = world.nodes.iter();
    each.map(|(id, node)| {
        let services = node.balancer.carries();
        let services: Vec<_> = services.map(|(n, at)| format!("{n} at {at}")).collect();
        format!("{id}: {}", services.join(", "))
    })
    .collect()
}

/// A zone from `label=value` words and `settle=TIME`.
fn zone(words: &[&str]) -> Zone {
    let mut zone = Zone::default();
    for word in words {
        match word.split_once('=').unwrap() {
            ("settle", time) => zone.external_settle = Some(time.parse().unwrap()),
            (key, value) => drop(zone.selector.insert(key.to_owned(), value.to_owned())),
        }
    }
    zone
}

fn events(ctx: Context<'_>) -> Vec<String> {
    let each = view::events_after(ctx.state, 0).into_iter();
    each.map(|e| format!("{} {:?} {}: {}", e.at, e.level, e.kind, e.message))
        .collect()
}

fn apps(ctx: Context<'_>) -> Vec<String> {
    let each = view::apps(ctx.state).into_iter();
    each.map(|a| {
        let stopped = if a.stopped { " stopped" } else { "" };
        let how = a.deployment.unwrap_or_default();
        format!(
            "{} v{} {}/{} {how}{stopped}",
            a.app, a.version, a.serving, a.replicas
        )
    })
    .collect()
}
