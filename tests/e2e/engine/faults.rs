//! SIGKILL of the engine, of the daemon, of both, in the middle of each thing they do together: afterwards everything is as it was asked for,
//! nothing is there twice, nothing is left over, and what had nothing to do with it was not touched.

use hancock_proto::report::Life;
use hancock_testkit::engine::{self, Engine};
use hancock_testkit::{docker, fixture, skip, wait_for};

use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::{LATE, World};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Engine,
    Daemon,
    Both,
}

struct Stage {
    world: World,
    engine: Engine,
    victim: Victim,
    /// Pid and start of the container that has nothing to do with it.
    calm: String,
}

#[test]
fn the_engine_is_killed_in_the_middle() {
    run(Victim::Engine);
}

#[test]
fn the_daemon_is_killed_in_the_middle() {
    run(Victim::Daemon);
}

#[test]
fn both_are_killed_in_the_middle() {
    run(Victim::Both);
}

fn run(victim: Victim) {
    let Some(runtime) = Runtime::Docker.or_skip() else {
        return;
    };
    let lacking = || engine::missing().or_else(|| fixture::missing("docker-registry"));
    if let Some(reason) = lacking() {
        return skip::skip(&skip::test_name(), &reason);
    }
    let mut stage = Stage::set(runtime, victim);
    for round in 0..skip::rounds(1, 10) {
        stage.during_a_start(round);
        stage.during_a_pull(round);
        stage.during_a_stop();
    }
}

/// In the node's network, where its own balancer finds it as in production.
fn spec(runtime: Runtime) -> Spec {
    Spec::web(runtime).more("container: {network: host}")
}

impl Stage {
    fn set(runtime: Runtime, victim: Victim) -> Self {
        let engine = Engine::start();
        engine.load(runtime.image().unwrap());
        let mut world = World::at_rest(runtime);
        world.set("DOCKER_HOST", &engine.host());
        world.up(&[]);
        world.apply(&spec(runtime).app("calm").replicas(1));
        world.apply(&spec(runtime));
        let mut stage = Self {
            world,
            engine,
            victim,
            calm: String::new(),
        };
        stage.calm = stage.bystander().unwrap();
        stage
    }

    fn bystander(&self) -> Result<String, String> {
        let ids = self
            .engine
            .containers(&["--filter", "label=hancock.app=calm"])?;
        let [id] = ids.as_slice() else {
            return Err(format!("containers of calm: {ids:?}"));
        };
        let template = "{{.Id}} {{.State.Pid}} {{.State.StartedAt}}";
        self.engine.docker(&["inspect", "--format", template, id])
    }

    /// A new version; killed as soon as one of its instances is on its way.
    fn during_a_start(&mut self, round: usize) {
        let version = format!("start{round}");
        self.apply(&spec(self.world.runtime).version(&version));
        self.wait_life(Life::Starting);
        self.strike();
        self.converged(&version, 3);
    }

    fn during_a_pull(&mut self, round: usize) {
        let registry = fixture::image_registry();
        let remote = format!("{}/web:{round}", registry.address);
        let local = self.world.runtime.image().unwrap();
        docker::run(&["tag", local, &remote]).unwrap();
        docker::run(&["push", &remote]).unwrap();
        docker::run(&["image", "rm", &remote]).unwrap();
        let version = format!("pull{round}");
        let mut spec = spec(self.world.runtime)
            .version(&version)
            .more("pull_policy: always");
        spec.image = Some(remote);
        self.apply(&spec);
        self.wait_life(Life::Pulling);
        self.strike();
        self.converged(&version, 3);
    }

    fn during_a_stop(&mut self) {
        let version = self.world.get("web", "/").unwrap().first_word().to_owned();
        self.world.run(&["app", "scale", "web", "1"]).ok();
        self.wait_life(Life::Stopping);
        self.strike();
        self.converged(&version, 1);
    }

    fn apply(&self, spec: &Spec) {
        let file = self.world.write("next.yaml", &spec.text());
        self.world.run(&["app", "apply", &file]).ok();
    }

    /// Waits until an instance is just there, or was.
    fn wait_life(&self, life: Life) {
        wait_for(&format!("an instance {life:?}"), LATE, || {
            let now = self
                .world
                .ask::<Vec<hancock_proto::api::InstanceView>>("/v1/instances?app=web")?;
            match now.iter().any(|i| i.life == life) {
                true => Ok(()),
                false => Err(format!(
                    "{:?}",
                    now.iter().map(|i| i.life).collect::<Vec<_>>()
                )),
            }
        });
    }

    fn strike(&mut self) {
        if self.victim != Victim::Daemon {
            self.engine.crash();
        }
        if self.victim != Victim::Engine {
            self.world.crash();
        }
        if self.victim != Victim::Daemon {
            self.engine.begin();
        }
        if self.victim != Victim::Engine {
            self.world.up(&[]);
        }
        self.engine.wait_ready();
    }

    /// Everything is as asked for, once each.
    fn converged(&self, version: &str, count: usize) {
        wait_for(
            &format!("{count} of {version} and nothing else"),
            LATE,
            || {
                let there = self.world.instances("web")?;
                let serving = there
                    .iter()
                    .filter(|i| i.routed && i.ready.as_ref().is_some_and(|r| r.value));
                let containers =
                    self.engine
                        .containers(&["--all", "--filter", "label=hancock.app=web"])?;
                let running = self
                    .engine
                    .containers(&["--filter", "label=hancock.app=web"])?;
                let answer = self.world.get("web", "/")?.first_word().to_owned();
                // The last two that have ended are kept to be looked at.
                let dead = containers.len().saturating_sub(running.len());
                let all = (serving.count(), there.len(), running.len());
                match all == (count, count, count) && dead <= 2 && answer == version {
                    true => Ok(()),
                    false => Err(format!(
                        "serving, known, running: {all:?}, {dead} dead, {answer} answers; {there:#?}"
                    )),
                }
            },
        );
        assert_eq!(
            self.bystander().unwrap(),
            self.calm,
            "a healthy container was touched"
        );
    }
}
