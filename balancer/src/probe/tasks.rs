//! The tasks that probe: rounds over a plain upstream, one local instance, one added peer; and the one that resolves names.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::task::JoinHandle;

use hancock_balancer_core::health::ProbeResult;
use hancock_balancer_core::upstream::{PeerKey, Upstream};
use hancock_proto::ids::InstanceId;
use hancock_proto::upstream::UpstreamDoc;

use super::{Answer, COMMAND, Probe};
use crate::control::Control;
use crate::local::LocalCheck;

/// Between probes of an added peer: it has seconds, not minutes.
const ACCEPT_INTERVAL: Duration = Duration::from_millis(200);
/// One probe of an added peer, where the document gives no check.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(2);
/// Between resolutions of a host name.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);

/// A running task; dropping it ends it.
pub(crate) struct Task {
    handle: JoinHandle<()>,
    doc: Option<Arc<UpstreamDoc>>,
}

impl Task {
    /// Whether it was started for this very document.
    pub(crate) fn is_for(&self, doc: &Arc<UpstreamDoc>) -> bool {
        self.doc.as_ref().is_some_and(|d| Arc::ptr_eq(d, doc))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Checks all peers of a plain upstream, again and again.
pub(crate) fn rounds(control: &Control, upstream: &Arc<Upstream>, generation: u64) -> Task {
    let (me, up) = (control.weak(), upstream.clone());
    let interval = control.check_interval;
    control.spawn(Some(&upstream.doc), async move {
        while one_round(&me, &up, generation).await {
            tokio::time::sleep(jittered(interval)).await;
        }
    })
}

/// False: the control is gone.
async fn one_round(me: &Weak<Control>, up: &Upstream, generation: u64) -> bool {
    let Some(control) = me.upgrade() else {
        return false;
    };
    let prober = control.prober.clone();
    // Not kept while waiting: a control that goes away ends its tasks.
    drop(control);
    let probes = up.peers().enumerate().map(|(at, spec)| {
        let probe = Probe::plain(
            &spec.key.host,
            spec.key.port,
            &up.checks.probe,
            up.checks.timeout,
        );
        let prober = prober.clone();
        async move { (at, probe.question.kind(), prober.probe(&probe).await) }
    });
    let mut running: FuturesUnordered<_> = probes.collect();
    let mut answers = vec![Answer::from(ProbeResult::Ok); running.len()];
    while let Some((at, kind, answer)) = running.next().await {
        let key = up.peers().nth(at).map(|s| &s.key);
        if let (Some(key), Some(control)) = (key, me.upgrade()) {
            let good = answer.result == ProbeResult::Ok;
            control.table.meter.probed(kind, good);
            if good {
                control.round_good(&up.name, generation, key, answer.redis.clone());
            }
        }
        answers[at] = answer;
    }
    let Some(control) = me.upgrade() else {
        return false;
    };
    control.round_done(&up.name, generation, answers);
    true
}

/// Judges one instance of this node: often until it is ready, then at its interval. None: somebody else judges it.
pub(crate) fn local(
    control: &Control,
    instance: &InstanceId,
    generation: u64,
    check: &LocalCheck,
    known: bool,
) -> Option<Task> {
    let spec = check.spec()?;
    let (first, then) = (spec.start_interval.duration(), spec.interval.duration());
    let (me, id, ask) = (control.weak(), instance.clone(), Ask::of(check)?);
    // Commands of many instances that were judged before shall not all run at once.
    let rest = (known && matches!(ask, Ask::Inside { .. })).then(|| then.mul_f64(chance()));
    Some(control.spawn(None, async move {
        tokio::time::sleep(rest.unwrap_or_default()).await;
        let mut pause = first;
        loop {
            let Some(result) = ask.result(&me, &id).await else {
                tokio::time::sleep(jittered(pause)).await;
                continue;
            };
            let Some(control) = me.upgrade() else { return };
            let good = result == ProbeResult::Ok;
            control.table.meter.probed(ask.kind(), good);
            let Some(ready) = control.local_probed(&id, generation, result) else {
                return;
            };
            drop(control);
            pause = if ready { then } else { first };
            tokio::time::sleep(jittered(pause)).await;
        }
    }))
}

/// What a local instance is asked.
enum Ask {
    /// Over the network.
    Net(Probe),
    /// By a command inside.
    Inside {
        command: Vec<String>,
        timeout: Duration,
    },
}

impl Ask {
    fn of(check: &LocalCheck) -> Option<Self> {
        match check {
            LocalCheck::Asked(spec, address, host) => {
                let at = address.ip().to_string();
                let probe = Probe::check(&at, address.port(), spec, host);
                Some(Self::Net(probe))
            }
            LocalCheck::Command { spec, command } => Some(Self::Inside {
                command: command.clone(),
                timeout: spec.timeout.duration(),
            }),
            LocalCheck::Told { .. } => None,
        }
    }

    fn kind(&self) -> usize {
        match self {
            Self::Net(probe) => probe.question.kind(),
            Self::Inside { .. } => COMMAND,
        }
    }

    /// None: it could not be asked.
    async fn result(&self, me: &Weak<Control>, instance: &InstanceId) -> Option<ProbeResult> {
        // Not kept while waiting: a control that goes away ends its tasks.
        match self {
            Self::Net(probe) => {
                let prober = me.upgrade()?.prober.clone();
                Some(prober.probe(probe).await.result)
            }
            Self::Inside { command, timeout } => {
                let inside = me.upgrade()?.inside()?;
                inside.check(instance, command, *timeout).await
            }
        }
    }
}

/// Probes one added peer until it passes. None: the upstream does not list it.
pub(crate) fn accept(
    control: &Control,
    upstream: &Arc<Upstream>,
    instance: &InstanceId,
) -> Option<Task> {
    let probe = accept_probe(upstream, instance)?;
    let (me, id, name) = (control.weak(), instance.clone(), upstream.name.clone());
    let prober = control.prober.clone();
    Some(control.spawn(Some(&upstream.doc), async move {
        loop {
            let result = prober.probe(&probe).await.result;
            let passed = result == ProbeResult::Ok;
            let Some(control) = me.upgrade() else { return };
            control.table.meter.probed(probe.question.kind(), passed);
            control.accept_probed(&name, &id, result);
            if passed {
                return;
            }
            drop(control);
            tokio::time::sleep(jittered(ACCEPT_INTERVAL)).await;
        }
    }))
}

fn accept_probe(upstream: &Upstream, instance: &InstanceId) -> Option<Probe> {
    let spec = upstream
        .peers()
        .find(|p| p.key.instance.as_ref() == Some(instance))?;
    let member = upstream.doc.hancock.as_ref()?;
    let port = member
        .check_ports
        .get(instance)
        .copied()
        .unwrap_or(spec.key.port);
    let host = &spec.key.host;
    let route = upstream.settings.route.as_ref();
    let asked = route.map_or(&*upstream.name, |r| &r.host);
    Some(match &member.check {
        Some(check) => Probe::check(host, port, check, asked),
        None => Probe::plain(
            host,
            port,
            &hancock_balancer_core::upstream::ProbeKind::Connect,
            ACCEPT_TIMEOUT,
        ),
    })
}

/// Keeps the addresses of an upstream's host names.
pub(crate) fn resolve(control: &Control, upstream: &Arc<Upstream>) -> Task {
    let (me, up) = (control.weak(), upstream.clone());
    control.spawn(Some(&upstream.doc), async move {
        loop {
            for key in up.peers().map(|p| &p.key).filter(|k| k.ip().is_none()) {
                let address = look_up(&up.name, key).await;
                let Some(control) = me.upgrade() else { return };
                if let Some(address) = address {
                    control.resolved(&up.name, key, address);
                }
            }
            tokio::time::sleep(jittered(RESOLVE_INTERVAL)).await;
        }
    })
}

/// A failure keeps the address known before.
async fn look_up(service: &str, key: &PeerKey) -> Option<SocketAddr> {
    let asked = tokio::net::lookup_host((&*key.host, key.port));
    match tokio::time::timeout(RESOLVE_INTERVAL, asked).await {
        Ok(Ok(mut found)) => found.next(),
        Ok(Err(error)) => {
            tracing::debug!(service, host = %key.host, %error, "cannot resolve a peer's host name");
            None
        }
        Err(_) => None,
    }
}

/// Ten percent more or less, so that probes of many services do not fall together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + chance() / 5.0)
}

/// From 0 to 1. Every new state hashes differently; that is all the chance needed here.
fn chance() -> f64 {
    (RandomState::new().hash_one(0u8) % 2001) as f64 / 2000.0
}

impl Control {
    fn weak(&self) -> Weak<Control> {
        self.me()
    }

    fn spawn(
        &self,
        doc: Option<&Arc<UpstreamDoc>>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> Task {
        Task {
            handle: self.runtime().spawn(task),
            doc: doc.cloned(),
        }
    }
}
