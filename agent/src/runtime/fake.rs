//! An engine in memory: its "containers" really start after a delay, print lines, end by script or by signal. It can be slow, lose its
//! notices of change, and be away.

mod exec;
mod images;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use hancock_proto::app::image::is_digest;
use hancock_proto::app::{Limits, Resources};
use hancock_proto::exec::Order;
use hancock_proto::hub::{LogLine, Stream};
use hancock_proto::ids::{AppName, InstanceId};
use hancock_proto::time::{Clock, SystemClock};
use tokio::sync::{broadcast, watch};
use tokio_stream::wrappers::BroadcastStream;

use hancock_agent_core::environment::{PortSide, StartSpec};
use hancock_agent_core::observed::{Ending, Exit, Health, Observed, Owner, State, StopRule};

use super::exec::TAKES_NO_JOBS;
use super::images::ImageStore;
use super::{ContainerRuntime, Exec, Lines, LogQuery, RuntimeError};

/// How the containers of one app behave.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Time a preparation takes.
    pub prepare_delay: Duration,
    /// How a preparation fails.
    pub prepare_error: Option<RuntimeError>,
    /// Time a start takes.
    pub start_delay: Duration,
    /// How a start fails.
    pub start_error: Option<RuntimeError>,
    /// Lines printed at the start.
    pub lines: Vec<String>,
    /// Ends by itself this long after its start.
    pub exit_after: Option<(Duration, Ending)>,
    /// What the check of its image says at first. None: the image has none.
    pub health: Option<Health>,
    /// Time it takes to end after the signal. None: it does not care for the signal.
    pub ends_after: Option<Duration>,
}

/// The engine. Clones are the same engine, as two daemons one after the other see it.
#[derive(Debug, Clone)]
pub struct FakeRuntime {
    world: Arc<Mutex<World>>,
    changes: watch::Sender<u64>,
    lines: broadcast::Sender<LogLine>,
}

#[derive(Debug, Default)]
struct World {
    containers: BTreeMap<InstanceId, Container>,
    scripts: BTreeMap<AppName, Script>,
    away: Option<String>,
    silent: bool,
    starts: Vec<InstanceId>,
    stops: Vec<InstanceId>,
    most_at_once: usize,
    starting: usize,
    /// Every command that runs holds it, too.
    commands: Arc<()>,
    images: images::Images,
}

#[derive(Debug)]
struct Container {
    seen: Observed,
    /// Counts its starts, so that an exit planned for one start does not hit the next.
    run: u64,
    log: Vec<LogLine>,
    spec: StartSpec,
    /// Id of its image.
    image: Option<String>,
    /// Locked as long as a job runs.
    turn: exec::Turn,
}

impl Default for FakeRuntime {
    fn default() -> Self {
        Self {
            world: Arc::default(),
            changes: watch::channel(0).0,
            lines: broadcast::channel(256).0,
        }
    }
}

impl FakeRuntime {
    /// How containers of `app` behave from now on.
    pub fn script(&self, app: &AppName, script: Script) {
        self.world().scripts.insert(app.clone(), script);
    }

    /// What the check of a container's image says from now on, where it is asked.
    pub fn turn(&self, instance: &InstanceId, health: Health) {
        if let Some(c) = self.world().containers.get_mut(instance) {
            c.seen.health = Some(health).filter(|_| c.spec.image_check);
        }
        self.notify();
    }

    /// Ends a container from outside.
    pub fn exit(&self, instance: &InstanceId, how: Ending) {
        self.end(instance, None, how);
    }

    /// The engine goes away, or with None comes back.
    pub fn away(&self, reason: Option<&str>) {
        self.world().away = reason.map(str::to_owned);
        self.notify();
    }

    /// Notices of change are lost from now on, or no longer.
    pub fn lose_notices(&self, lose: bool) {
        self.world().silent = lose;
    }

    /// Every start so far, in order.
    pub fn starts(&self) -> Vec<InstanceId> {
        self.world().starts.clone()
    }

    /// Every stop and kill so far, in order.
    pub fn stops(&self) -> Vec<InstanceId> {
        self.world().stops.clone()
    }

    /// Most starts that were under way at the same time.
    pub fn most_starts_at_once(&self) -> usize {
        self.world().most_at_once
    }

    /// Commands that run beside containers.
    pub fn commands(&self) -> usize {
        Arc::strong_count(&self.world().commands) - 1
    }

    /// What a container was started with.
    pub fn spec(&self, instance: &InstanceId) -> Option<StartSpec> {
        let world = self.world();
        world.containers.get(instance).map(|c| c.spec.clone())
    }

    /// Whether a container runs.
    pub fn is_running(&self, instance: &InstanceId) -> bool {
        let world = self.world();
        let container = world.containers.get(instance);
        container.is_some_and(|c| c.seen.is_running())
    }

    /// Whether a container is there, running or not.
    pub fn exists(&self, instance: &InstanceId) -> bool {
        self.world().containers.contains_key(instance)
    }

    /// A container as a list would show it.
    pub fn seen(&self, instance: &InstanceId) -> Option<Observed> {
        let world = self.world();
        world.containers.get(instance).map(|c| c.seen.clone())
    }

    /// Puts a container there that nobody of us started.
    pub fn plant(&self, seen: Observed, spec: StartSpec) {
        let container = Container {
            run: 0,
            log: Vec::new(),
            image: None,
            turn: exec::Turn::default(),
            spec,
            seen,
        };
        let id = container.seen.instance.clone();
        self.world().containers.insert(id, container);
        self.notify();
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        if !self.world().silent {
            self.changes.send_modify(|n| *n += 1);
        }
    }

    fn answering(&self) -> Result<(), RuntimeError> {
        match &self.world().away {
            None => Ok(()),
            Some(reason) => Err(RuntimeError::Unavailable {
                runtime: "engine in memory".to_owned(),
                reason: reason.clone(),
            }),
        }
    }

    fn script_of(&self, app: &AppName) -> Script {
        self.world().scripts.get(app).cloned().unwrap_or(Script {
            ends_after: Some(Duration::ZERO),
            ..Script::default()
        })
    }

    fn end(&self, instance: &InstanceId, run: Option<u64>, how: Ending) {
        if let Some(c) = self.world().containers.get_mut(instance) {
            let meant = run.is_none_or(|run| run == c.run);
            if meant && c.seen.is_running() {
                c.seen.state = State::Exited(Exit {
                    at: SystemClock.now(),
                    how,
                    tail: Vec::new(),
                });
            }
        }
        self.notify();
    }

    fn begin(&self, spec: &StartSpec, script: &Script, image: Option<String>) -> Observed {
        let now = SystemClock.now();
        let line = |text: &String| LogLine {
            instance: spec.instance.clone(),
            at: now,
            stream: Stream::Stdout,
            text: text.clone(),
        };
        let seen = Observed {
            owner: spec.owner.clone(),
            instance: spec.instance.clone(),
            app: spec.app.clone(),
            version: spec.version,
            stop: spec.stop.clone(),
            host_ports: spec.host_ports().collect(),
            folders: spec.folders(),
            state: State::Running { since: Some(now) },
            image_digest: image.clone().filter(|id| is_digest(id)),
            health: script.health.clone().filter(|_| spec.image_check),
        };
        let mut world = self.world();
        world.starts.push(spec.instance.clone());
        let (run, mut log) = match world.containers.remove(&spec.instance) {
            Some(former) => (former.run + 1, former.log),
            None => (0, Vec::new()),
        };
        for line in script.lines.iter().map(line) {
            // Nobody follows: nothing to tell.
            let _ = self.lines.send(line.clone());
            log.push(line);
        }
        let container = Container {
            seen: seen.clone(),
            run,
            log,
            turn: exec::Turn::default(),
            spec: spec.clone(),
            image,
        };
        world.containers.insert(spec.instance.clone(), container);
        if let Some((after, how)) = script.exit_after {
            let (engine, id) = (self.clone(), spec.instance.clone());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                engine.end(&id, Some(run), how);
            });
        }
        seen
    }

    fn is_of(&self, owner: &Owner, instance: &InstanceId) -> bool {
        let world = self.world();
        let container = world.containers.get(instance);
        container.is_some_and(|c| c.seen.owner == *owner)
    }

    /// Where its jobs wait for their turn, and the command of those that bring none. None: it takes none.
    fn takes_jobs(&self, instance: &InstanceId) -> Option<(exec::Turn, Vec<String>)> {
        let world = self.world();
        let container = world.containers.get(instance).filter(|c| c.spec.reuse)?;
        Some((container.turn.clone(), container.spec.command.clone()))
    }

    fn running(&self, instance: &InstanceId) -> Option<Observed> {
        let world = self.world();
        let seen = world.containers.get(instance).map(|c| &c.seen);
        seen.filter(|s| s.is_running()).cloned()
    }
}

#[async_trait]
impl ContainerRuntime for FakeRuntime {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn port_side(&self) -> PortSide {
        PortSide::Host
    }

    async fn version(&self) -> Result<String, RuntimeError> {
        self.answering().map(|()| "1".to_owned())
    }

    async fn prepare(&self, spec: &StartSpec) -> Result<(), RuntimeError> {
        self.answering()?;
        let script = self.script_of(&spec.app);
        tokio::time::sleep(script.prepare_delay).await;
        script.prepare_error.map_or(Ok(()), Err)?;
        self.world().images.ensure(spec)
    }

    async fn start(&self, spec: &StartSpec) -> Result<Observed, RuntimeError> {
        self.answering()?;
        if let Some(seen) = self.running(&spec.instance) {
            return Ok(seen);
        }
        let script = self.script_of(&spec.app);
        {
            let mut world = self.world();
            world.starting += 1;
            world.most_at_once = world.most_at_once.max(world.starting);
        }
        tokio::time::sleep(script.start_delay).await;
        self.world().starting -= 1;
        if let Some(error) = script.start_error {
            return Err(error);
        }
        let image = self.world().images.exact(spec)?;
        let seen = self.begin(spec, &script, image);
        self.notify();
        Ok(seen)
    }

    async fn limit(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        _reserved: &Resources,
        limits: &Limits,
    ) -> Result<(), RuntimeError> {
        self.answering()?;
        let mut world = self.world();
        let container = world.containers.get_mut(instance);
        match container.filter(|c| c.seen.owner == *owner && c.seen.is_running()) {
            Some(container) => container.spec.limits = *limits,
            None => return Err(RuntimeError::failed("limit", instance, "it does not run")),
        }
        Ok(())
    }

    async fn stop(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        rule: &StopRule,
    ) -> Result<(), RuntimeError> {
        self.answering()?;
        let Some(seen) = self.running(instance).filter(|s| s.owner == *owner) else {
            return Ok(());
        };
        self.world().stops.push(instance.clone());
        let takes = self.script_of(&seen.app).ends_after;
        let grace = rule.grace.duration();
        let (wait, how) = match takes.filter(|t| *t <= grace) {
            Some(takes) => (takes, Ending::Code(0)),
            None => (grace, Ending::Signal(9)),
        };
        tokio::time::sleep(wait).await;
        if let Some((turn, _)) = self.takes_jobs(instance) {
            // A job has the grace period; not done by then, it is ended like the rest.
            let _ = tokio::time::timeout(grace, turn.lock()).await;
        }
        self.end(instance, None, how);
        Ok(())
    }

    async fn kill(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.answering()?;
        if self.is_of(owner, instance) {
            self.world().stops.push(instance.clone());
            self.end(instance, None, Ending::Signal(9));
        }
        Ok(())
    }

    async fn signal(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        signal: &str,
    ) -> Result<(), RuntimeError> {
        self.answering()?;
        let failed = |why| RuntimeError::failed("signal", instance, why);
        let Some(seen) = self.running(instance).filter(|s| s.owner == *owner) else {
            return Err(failed("it does not run"));
        };
        let deaf = self.script_of(&seen.app).ends_after.is_none();
        match signal {
            "SIGKILL" => self.end(instance, None, Ending::Signal(9)),
            "SIGTERM" if !deaf => self.end(instance, None, Ending::Code(0)),
            "SIGTERM" | "SIGHUP" => {}
            _ => return Err(failed("it is no signal")),
        }
        Ok(())
    }

    async fn remove(&self, owner: &Owner, instance: &InstanceId) -> Result<(), RuntimeError> {
        self.answering()?;
        if self.running(instance).is_some() {
            return Err(RuntimeError::failed("remove", instance, "it still runs"));
        }
        if self.is_of(owner, instance) {
            self.world().containers.remove(instance);
        }
        self.notify();
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Observed>, RuntimeError> {
        self.answering()?;
        let world = self.world();
        Ok(world.containers.values().map(|c| c.seen.clone()).collect())
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn image_store(&self) -> Option<&dyn ImageStore> {
        Some(self)
    }

    async fn logs(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        query: LogQuery,
    ) -> Result<Lines, RuntimeError> {
        self.answering()?;
        let live = BroadcastStream::new(self.lines.subscribe());
        let Some(log) = self
            .world()
            .containers
            .get(instance)
            .filter(|c| c.seen.owner == *owner)
            .map(|c| c.log.clone())
        else {
            return Err(RuntimeError::failed(
                "read the log of",
                instance,
                "there is no such instance here",
            ));
        };
        let recent = |l: &LogLine| query.since.is_none_or(|since| l.at >= since);
        let log: Vec<LogLine> = log.into_iter().filter(recent).collect();
        let skip = query.tail.map_or(0, |tail| log.len().saturating_sub(tail));
        let past = futures::stream::iter(log.into_iter().skip(skip).map(Ok));
        if !query.follow {
            return Ok(past.boxed());
        }
        let id = instance.clone();
        let live = live.filter_map(move |line| {
            let mine = line.ok().filter(|l| l.instance == id).map(Ok);
            std::future::ready(mine)
        });
        Ok(past.chain(live).boxed())
    }

    async fn exec(
        &self,
        owner: &Owner,
        instance: &InstanceId,
        order: &Order,
    ) -> Result<Exec, RuntimeError> {
        self.answering()?;
        if !self.is_of(owner, instance) || self.running(instance).is_none() {
            let reason = "it does not run";
            return Err(RuntimeError::failed("run a command in", instance, reason));
        }
        let running = Arc::clone(&self.world().commands);
        if !order.job {
            return Ok(exec::exec(order.clone(), running));
        }
        let none = || RuntimeError::failed("run a job in", instance, TAKES_NO_JOBS);
        let (turn, own) = self.takes_jobs(instance).ok_or_else(none)?;
        Ok(exec::job(order, own, turn, running).await)
    }
}
