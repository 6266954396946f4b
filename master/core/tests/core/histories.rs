//! Random histories: wishes, faults, lost, repeated and late reports, leaders that change at any moment. What must hold is checked after
//! every command by the world; here is what must come out in the end.

use std::time::Duration;

use hancock_master_core::command::Command;
use hancock_master_core::state::App;
use hancock_master_core::{Format, State};
use hancock_proto::app::AppSpec;
use hancock_proto::ids::{AppName, DeploymentId, InstanceId};
use hancock_proto::units::Span;
use hancock_proto::zone::Zone;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;

use crate::script::spec;
use crate::world::World;

/// One thing that happens.
#[derive(Debug, Clone)]
enum Deed {
    Apply(usize),
    /// An app gets one of the versions that run alone.
    Alone(&'static str, usize),
    Scale(u32),
    Restart,
    Stop,
    Start,
    Delete,
    Rollback,
    /// The deployment so many before the newest.
    Abort(u64),
    Kill(usize),
    Cut(usize),
    Mend(usize),
    Off(usize),
    On(usize),
    Mute(usize, bool),
    Blind(usize, bool),
    Reboot(usize),
    /// What the images' tag means to a node from now on.
    Push(usize, usize),
    /// A node moves to the city of that number.
    Label(usize, usize),
    Open(usize, usize, u64),
    Elect,
    /// Reports of one round are lost, come twice, or in the other order.
    Lose,
    Twice,
    Backwards,
    Run(u8),
}

/// Versions of the app: good ones, slow ones, and ones that never get there.
const VERSIONS: [&[&str]; 9] = [
    &["replicas=2", "image=web:1", "cmd=a"],
    &[
        "replicas=2",
        "image=web:1",
        "cmd=b",
        "ready=2000",
        "min_healthy=1s",
    ],
    &[
        "replicas=2",
        "image=web:1",
        "cmd=c",
        "never=1",
        "healthy=8s",
    ],
    &["replicas=2", "image=web:1", "cmd=d", "crash=1"],
    &["replicas=2", "image=web:1", "cmd=a", "weight=3"],
    &["replicas=2", "cmd=e", "host=web.test,www.test"],
    &["replicas=2", "image=web:1", "cmd=a", "zone=oslo"],
    &["replicas=2", "cmd=f", "zone=bergen"],
    &[
        "replicas=2",
        "cmd=g",
        "zone=bergen",
        "host=web.test,www.test",
    ],
];

/// Versions of which old and new never run side by side, and a good one that does.
const ALONE: [&[&str]; 7] = [
    &["replicas=2", "cmd=a", "own=data"],
    &["replicas=2", "cmd=b", "own=data", "ready=2000"],
    &["replicas=2", "cmd=c", "own=data", "never=1", "healthy=8s"],
    &["replicas=2", "cmd=d", "own=data", "crash=1"],
    &["replicas=1", "cmd=e", "own=/data"],
    &["replicas=2", "cmd=f", "strategy=recreate"],
    &["replicas=2", "cmd=g"],
];

/// What owners do and what leaders and messages suffer; nodes and links are sound.
fn wish() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..VERSIONS.len()).prop_map(Deed::Apply),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Rollback),
        1 => (0..3_u64).prop_map(Deed::Abort),
        2 => (0..4_usize, 0..8_usize, 0..2_u64).prop_map(|(n, i, r)| Deed::Open(n, i, r)),
        2 => Just(Deed::Elect),
        1 => Just(Deed::Lose),
        1 => Just(Deed::Twice),
        1 => Just(Deed::Backwards),
        5 => (1..12_u8).prop_map(Deed::Run),
    ]
}

/// The same with apps that want what they write to for themselves.
fn jealous() -> impl Strategy<Value = Deed> {
    let app = prop_oneof![3 => Just("web"), 1 => Just("api")];
    prop_oneof![
        3 => deed(),
        1 => (app, 0..ALONE.len()).prop_map(|(app, v)| Deed::Alone(app, v)),
    ]
}

fn alone(app: &str, version: usize) -> AppSpec {
    let mut spec = spec(app, ALONE[version]);
    // It may come to nothing for want of a place, and soon.
    spec.update.progress_deadline = Span::seconds(60);
    spec
}

/// Everything.
fn deed() -> impl Strategy<Value = Deed> {
    let node = 0..3_usize;
    prop_oneof![
        8 => wish(),
        1 => (0..5_u32).prop_map(Deed::Scale),
        1 => Just(Deed::Stop),
        2 => Just(Deed::Start),
        1 => Just(Deed::Delete),
        2 => (0..8_usize).prop_map(Deed::Kill),
        1 => node.clone().prop_map(Deed::Cut),
        2 => node.clone().prop_map(Deed::Mend),
        1 => node.clone().prop_map(Deed::Off),
        2 => node.clone().prop_map(Deed::On),
        1 => (node.clone(), any::<bool>()).prop_map(|(n, b)| Deed::Mute(n, b)),
        1 => (node.clone(), any::<bool>()).prop_map(|(n, b)| Deed::Blind(n, b)),
        1 => node.clone().prop_map(Deed::Reboot),
        2 => (node.clone(), 0..3_usize).prop_map(|(n, i)| Deed::Push(n, i)),
        1 => (node, 0..CITIES.len()).prop_map(|(n, c)| Deed::Label(n, c)),
        1 => (20..200_u8).prop_map(Deed::Run),
    ]
}

/// Zones of the same names hold the first two.
const CITIES: [&str; 3] = ["oslo", "bergen", "lund"];

fn label(world: &mut World, node: usize, city: usize) {
    let node = name(node);
    let labels = &mut world.node(&node).info.labels;
    labels.insert("city".to_owned(), CITIES[city].to_owned());
    world.node(&node).reboot();
    world.hello(&node.parse().unwrap());
}

fn web() -> AppName {
    "web".parse().unwrap()
}

fn name(node: usize) -> String {
    format!("n{}", node % 3 + 1)
}

fn started() -> World {
    let mut world = World::new();
    for city in &CITIES[..2] {
        let mut zone = Zone::default();
        zone.selector.insert("city".to_owned(), (*city).to_owned());
        let (name, at) = (city.parse().unwrap(), world.now);
        world.apply(Command::PutZone { name, zone, at });
    }
    for node in 0..3 {
        world.join(&name(node));
        label(&mut world, node, node);
        push(&mut world, node, node);
    }
    world.apply_spec(spec("web", VERSIONS[0]));
    world.run(Duration::from_secs(5));
    world
}

fn play(world: &mut World, deed: &Deed) {
    let at = world.now;
    let app = web();
    match deed {
        Deed::Apply(version) => drop(world.apply_spec(spec("web", VERSIONS[*version]))),
        Deed::Alone(app, version) => drop(world.apply_spec(alone(app, *version))),
        Deed::Scale(replicas) => {
            let replicas = *replicas;
            world.apply(Command::Scale { app, replicas, at });
        }
        Deed::Restart => drop(world.apply(Command::Restart { app, at })),
        Deed::Stop => drop(world.apply(Command::StopApp { app, at })),
        Deed::Start => drop(world.apply(Command::StartApp { app, at })),
        Deed::Delete => drop(world.apply(Command::DeleteApp { app, at })),
        Deed::Rollback => {
            let version = None;
            world.apply(Command::Rollback { app, version, at });
        }
        Deed::Abort(back) => {
            let newest = world.state.last_deployment;
            let deployment = DeploymentId(newest.saturating_sub(*back));
            world.apply(Command::Abort { deployment, at });
        }
        Deed::Run(rounds) => (0..*rounds).for_each(|_| world.round()),
        other => fault(world, other),
    }
}

fn fault(world: &mut World, deed: &Deed) {
    match deed {
        Deed::Kill(which) => {
            if let Some(id) = nth(world, *which) {
                let nodes = world.nodes.values_mut();
                nodes
                    .filter_map(|n| n.instances.get_mut(&id))
                    .for_each(|i| i.killed = true);
            }
        }
        Deed::Cut(n) => world.node(&name(*n)).linked = false,
        Deed::Off(n) => {
            let node = world.node(&name(*n));
            (node.up, node.linked) = (false, false);
        }
        Deed::Mend(n) | Deed::On(n) => {
            let node = world.node(&name(*n));
            (node.up, node.linked) = (true, true);
            world.hello(&name(*n).parse().unwrap());
        }
        Deed::Mute(n, mute) => world.node(&name(*n)).balancer.mute = *mute,
        Deed::Blind(n, blind) => world.node(&name(*n)).balancer.blind = *blind,
        Deed::Reboot(n) => {
            world.node(&name(*n)).reboot();
            world.hello(&name(*n).parse().unwrap());
        }
        Deed::Push(n, image) => push(world, *n, *image),
        Deed::Label(n, city) => label(world, *n, *city),
        Deed::Open(n, which, requests) => open(world, *n, *which, *requests),
        Deed::Elect => world.elect(),
        Deed::Lose => world.round_with(|mail| mail.clear()),
        Deed::Twice => world.round_with(|mail| mail.extend(mail.clone())),
        Deed::Backwards => {
            let late = world.last_mail.clone();
            world.round_with(|mail| {
                mail.extend(late);
                mail.reverse();
            });
        }
        _ => {}
    }
}

fn push(world: &mut World, node: usize, image: usize) {
    world.node(&name(node)).image = Some(format!("sha256:{image:064}"));
}

fn nth(world: &World, which: usize) -> Option<InstanceId> {
    let count = world.state.instances.len();
    let mut ids = world.state.instances.keys();
    ids.nth(which % count.max(1)).cloned()
}

fn open(world: &mut World, node: usize, which: usize, requests: u64) {
    if let Some(id) = nth(world, which) {
        let open = &mut world.node(&name(node)).balancer.open;
        open.entry(id).or_default().requests = requests;
    }
}

/// All faults end, all requests too; then everything finds its place.
fn recover(world: &mut World) {
    for n in 0..3 {
        let node = world.node(&name(n));
        (node.up, node.linked) = (true, true);
        (node.balancer.mute, node.balancer.blind) = (false, false);
        node.balancer.open.clear();
        label(world, n, n);
    }
    rest(world);
}

/// Until nothing has happened for longer than the longest pause between replacements; at most half an hour.
fn rest(world: &mut World) {
    let mut quiet = 0;
    for _ in 0..3600 {
        let applied = world.state.applied;
        world.round();
        quiet = if world.state.applied == applied {
            quiet + 1
        } else {
            0
        };
        let open = world.state.deployments.values().any(|d| !d.phase.is_over());
        if quiet > 150 && !open {
            return;
        }
    }
}

/// Nothing is under way any more, and who can live does, as far as single writers leave room.
fn assert_settled(world: &World) {
    let state = &world.state;
    let open = state.deployments.values().find(|d| !d.phase.is_over());
    assert!(open.is_none(), "{open:#?}\n{}", world.tail());
    for app in state.apps.values() {
        let routes = &app.routes;
        let settled = routes.cutovers.is_empty() && routes.leaving.is_empty();
        assert!(settled, "{app:#?}\n{}", world.tail());
        let spec = app.live_spec();
        let wanted = spec
            .filter(|s| viable(s))
            .map_or(0, |s| s.replicas as usize);
        let crowded = spec.is_some_and(|s| s.has_single_writer());
        let serving = routes.serving.len();
        assert!(
            serving == wanted || (crowded && serving < wanted),
            "{serving} of {wanted}: {app:#?}\n{}",
            world.tail()
        );
    }
}

/// A version that cannot live is replaced for ever, ever more slowly.
fn viable(spec: &AppSpec) -> bool {
    !spec.environment.contains_key("CRASH") && !spec.environment.contains_key("NEVER")
}

fn assert_whole(world: &World) {
    let open: Vec<_> = world
        .state
        .deployments
        .values()
        .filter(|d| !d.phase.is_over())
        .collect();
    assert!(open.is_empty(), "{open:#?}\n{}", world.tail());
    let Some(app) = world.state.apps.get(&web()) else {
        assert!(world.state.instances.is_empty(), "{}", world.tail());
        return;
    };
    assert!(app.routes.cutovers.is_empty(), "{}", world.tail());
    assert!(app.routes.leaving.is_empty(), "{app:#?}\n{}", world.tail());
    assert_carried(world, app);
    if app.live_spec().is_some_and(|spec| viable(spec)) {
        let wanted = app.live_spec().unwrap().replicas as usize;
        assert_eq!(
            app.routes.serving.len(),
            wanted,
            "{app:#?}\n{}",
            world.tail()
        );
        assert_eq!(world.state.instances.len(), wanted, "{}", world.tail());
    }
}

/// Exactly the balancers of each service's zone carry it.
fn assert_carried(world: &World, app: &App) {
    for (id, node) in &world.nodes {
        let zones = world.state.zones_of_node(id);
        let carried = app.carried().into_iter();
        let wanted = carried
            .filter(|(_, z)| !z.is_disjoint(&zones))
            .map(|(n, _)| n);
        let carries = node.balancer.carries().map(|(n, _)| n.clone());
        let (wanted, carries): (Vec<_>, Vec<_>) = (wanted.collect(), carries.collect());
        assert_eq!(wanted, carries, "{id}\n{}", world.tail());
    }
}

/// What was stopped first is on its way back when it gets other rules: they count at once, and nobody serves before it is there.
#[test]
fn new_rules_reach_a_version_that_is_only_on_its_way_back() {
    for version in [VERSIONS[4], &["replicas=3", "image=web:1", "cmd=a"]] {
        let mut world = started();
        world.apply_spec(alone("web", 2));
        while world.state.apps[&web()].resting.is_none() || world.state.apps[&web()].live.is_none()
        {
            world.round();
        }
        world.apply_spec(spec("web", version));
        recover(&mut world);
        assert_whole(&world);
    }
}

/// A peer has died before a balancer that was away could pass it, so that one keeps two generations for ever; an end gets them out.
#[test]
fn an_app_is_deleted_and_stopped_whatever_keeps_its_instances() {
    for end in [Deed::Delete, Deed::Stop] {
        let mut world = started();
        for deed in [
            Deed::Alone("web", 6),
            Deed::Run(3),
            Deed::Apply(1),
            Deed::Off(0),
        ] {
            play(&mut world, &deed);
        }
        for deed in [Deed::Run(71), Deed::Alone("web", 0), end, Deed::Kill(4)] {
            play(&mut world, &deed);
        }
        let leaving = world.state.apps[&web()].generations();
        assert_eq!(leaving, 2, "{}", world.tail());
        recover(&mut world);
        assert_settled(&world);
        let left = world.state.instances.len();
        assert_eq!(left, 0, "{}", world.tail());
    }
}

/// A few at each run; `PROPTEST_CASES` asks for more.
fn cases() -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok();
    Config {
        cases: asked.and_then(|n| n.parse().ok()).unwrap_or(200),
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn everything_finds_its_place_after_any_history(deeds in proptest::collection::vec(deed(), 1..40)) {
        let mut world = started();
        for deed in &deeds {
            play(&mut world, deed);
        }
        recover(&mut world);
        assert_whole(&world);
    }

    #[test]
    fn those_that_must_be_alone_find_their_place_too(deeds in proptest::collection::vec(jealous(), 1..40)) {
        let mut world = started();
        for deed in &deeds {
            play(&mut world, deed);
        }
        recover(&mut world);
        assert_settled(&world);
    }

    #[test]
    fn any_state_reads_back_in_every_format(deeds in proptest::collection::vec(deed(), 1..20)) {
        let mut world = started();
        for deed in &deeds {
            play(&mut world, deed);
        }
        for format in 1..=Format::NEWEST.0 {
            world.state.format = Format(format);
            let read = State::decode(&world.state.encode()).unwrap();
            assert!(read == world.state, "{format}");
        }
    }

    #[test]
    fn sound_nodes_never_serve_with_less(deeds in proptest::collection::vec(wish(), 1..40)) {
        let mut world = started();
        world.least = Some(2);
        for deed in &deeds {
            play(&mut world, deed);
        }
        recover(&mut world);
        assert_whole(&world);
    }
}
