//! Small tables: what kind of change a spec is, what documents say, why nodes do not fit, which ports are taken.

use std::collections::BTreeSet;
use std::time::Duration;

use hancock_master_core::command::{Command, Reply};
use hancock_master_core::documents;
use hancock_master_core::state::Stage;
use hancock_master_core::view::{self, Context};
use hancock_proto::api::PlanAction;
use hancock_proto::app::{Balance, CheckKind, HealthCheck};
use hancock_proto::ids::InstanceId;
use hancock_proto::units::Span;

use crate::script::spec;
use crate::world::World;

fn serving(words: &[&str]) -> World {
    let mut world = World::new();
    world.join("n1");
    world.join("n2");
    world.apply_spec(spec("web", words));
    world.run(Duration::from_secs(5));
    world
}

fn ctx(world: &World) -> Context<'_> {
    Context {
        state: &world.state,
        leader: &world.view,
        now: world.now,
    }
}

#[test]
fn a_change_is_as_small_as_it_can_be() {
    let world = serving(&["replicas=2"]);
    let cases: [(&[&str], PlanAction, usize); 8] = [
        (&["replicas=2"], PlanAction::Nothing, 0),
        (&["replicas=3"], PlanAction::Scale, 1),
        (&["replicas=1"], PlanAction::Scale, 0),
        (&["replicas=2", "weight=5"], PlanAction::Reroute, 0),
        (&["replicas=2", "drain=1s"], PlanAction::Reroute, 0),
        (&["replicas=2", "pids=9"], PlanAction::Reroute, 0),
        (&["replicas=2", "cpu=200"], PlanAction::Replace, 2),
        (&["replicas=2", "cmd=v2"], PlanAction::Replace, 2),
    ];
    for (words, action, placed) in cases {
        let plan = view::preview(ctx(&world), &spec("web", words)).unwrap();
        assert_eq!(
            (plan.action, plan.placements.len()),
            (action, placed),
            "{words:?}"
        );
        assert_eq!(plan.changes.is_empty(), action == PlanAction::Nothing);
    }
    let plan = view::preview(ctx(&world), &spec("other", &[])).unwrap();
    assert_eq!(plan.action, PlanAction::Create);
}

#[test]
fn a_plan_says_why_a_node_does_not_fit() {
    let mut world = serving(&["replicas=2"]);
    world.node("n2").info.runtime = "docker 20.10".to_owned();
    world.hello(&"n2".parse().unwrap());
    let cases: [(&[&str], &str); 3] = [
        (&["cpu=3000"], "n1: 1.900 of 3.000 cores wanted are free"),
        (&["port=20000"], "n1: port 20000 is taken by web-1"),
        (&["max_per_node=0"], "n1: has max_per_node (0) instances"),
    ];
    for (words, why) in cases {
        let plan = view::preview(ctx(&world), &spec("other", words)).unwrap();
        assert_eq!(plan.unplaceable[0], why);
        assert_eq!(
            plan.unplaceable[1],
            "n2: runs containers (docker 20.10) and the spec has no image"
        );
    }
    let bare = World::new();
    let plan = view::preview(ctx(&bare), &spec("web", &[])).unwrap();
    assert_eq!(plan.unplaceable, ["no node has joined yet"]);
}

#[test]
fn documents_read_well_in_a_plain_balancer() {
    let mut world = serving(&["replicas=1"]);
    let mut checked = spec("web", &["replicas=1", "weight=3"]);
    checked.service[0].balance = Balance::IpHash;
    checked.healthcheck = Some(HealthCheck {
        kind: CheckKind::Http,
        port: Some("http".to_owned()),
        path: Some("/health".to_owned()),
        expect: vec![204],
        command: Vec::new(),
        interval: Span::seconds(1),
        start_interval: Span::millis(200),
        start_period: None,
        timeout: Span::millis(1500),
        rise: 1,
        fall: 3,
    });
    world.apply_spec(checked);
    world.run(Duration::from_secs(5));
    let app = &world.state.apps[&"web".parse().unwrap()];
    let doc = documents(&world.state, app)
        .remove("web.test")
        .flatten()
        .unwrap();
    assert_eq!(doc.mode.as_deref(), Some("ip_hash"));
    assert_eq!(
        (doc.typ.as_deref(), doc.timeout, doc.sensibility),
        (Some("http"), Some(1.5), Some(3))
    );
    let probe = doc.http_opts.as_ref().unwrap();
    assert_eq!(
        probe.query.as_deref(),
        Some("GET /health HTTP/1.0\r\nHost: web.test\r\n\r\n")
    );
    let statuses = probe.statuses.as_ref().unwrap();
    assert_eq!(
        (&statuses["204"], &statuses["200"], &statuses["502"]),
        (&true.into(), &false.into(), &false.into())
    );
    let server = doc.servers().next().unwrap();
    assert_eq!(
        (server.host.as_str(), server.port, server.weight),
        ("10.0.0.1", 20_000, Some(3.0))
    );
    // No instance was touched for it.
    assert_eq!(world.state.last_instance, 1);
}

#[test]
fn wrong_specs_are_refused_with_code_and_path() {
    let mut world = serving(&["replicas=1", "listen=3131"]);
    let mut lost = spec("other", &[]);
    lost.service[0].port = "grpc".to_owned();
    let twice = spec("other", &["host=a.test,a.test"]);
    let hosts: Vec<_> = (0..70).map(|n| format!("h{n}.test")).collect();
    let many = spec("other", &[&format!("host={}", hosts.join(","))]);
    let cases = [
        (lost, "invalid_spec", "service[0].port"),
        (twice, "invalid_spec", "service[0].hosts[1]"),
        (many, "invalid_spec", "service"),
        (spec("other", &["host=web.test"]), "host_taken", "service"),
        (spec("other", &["listen=3131"]), "port_taken", "service"),
        (spec("other", &["port=3131"]), "port_taken", "ports[0].host"),
        (
            spec("other", &["listen=20000"]),
            "port_taken",
            "service[1].listen",
        ),
        (
            spec("other", &["listen=4000", "port=4000"]),
            "port_taken",
            "service[1].listen",
        ),
    ];
    for (spec, code, path) in cases {
        let Reply::Refused(error) = world.apply_spec(spec) else {
            panic!("{code} was let in");
        };
        assert_eq!(
            (error.code.as_str(), error.problems[0].path.as_str()),
            (code, path)
        );
    }
}

/// An instance must not be given a port that balancers listen on.
#[test]
fn ports_that_balancers_listen_on_are_given_to_nobody() {
    let mut world = serving(&["replicas=1", "listen=20001"]);
    world.apply_spec(spec("other", &["replicas=3"]));
    world.run(Duration::from_secs(5));
    let ports = world.state.instances.values().flat_map(|i| &i.ports);
    let ports: Vec<_> = ports.map(|p| p.host).collect();
    assert!(ports.len() == 4 && !ports.contains(&20_001), "{ports:?}");
}

#[test]
fn an_app_without_hosts_needs_no_balancer() {
    let mut world = serving(&["replicas=2", "host=-"]);
    assert!(world.state.registry.list().entries.is_empty());
    world.node("n2").balancer.mute = true;
    world.apply_spec(spec("web", &["replicas=2", "host=-", "cmd=v2"]));
    world.run(Duration::from_secs(5));
    let newest = view::newest_deployment(ctx(&world), &"web".parse().unwrap()).unwrap();
    assert!(newest.ok, "{newest:?}");
}

/// The tag moves between two nodes' pulls, and again later.
#[test]
fn all_instances_of_a_version_are_made_of_the_same_image() {
    let digest = |n: u32| format!("sha256:{n:064}");
    let mut world = World::new();
    for n in [1, 2] {
        world.join(&format!("n{n}"));
        world.node(&format!("n{n}")).image = Some(digest(n));
    }
    let made_of = |world: &World| -> BTreeSet<_> {
        let all = world.state.instances.values().filter(|i| !i.is_over());
        all.map(|i| i.facts.image_digest.clone().unwrap()).collect()
    };
    world.apply_spec(spec("web", &["replicas=2", "image=web:1"]));
    world.run(Duration::from_secs(10));
    let first = view::app(ctx(&world), &"web".parse().unwrap()).unwrap();
    let pinned = first.image_digest.unwrap();
    assert_eq!(first.summary.serving, 2);
    assert_eq!(made_of(&world), BTreeSet::from([pinned.clone()]));

    for n in ["n1", "n2"] {
        world.node(n).image = Some(digest(3));
    }
    world.apply_spec(spec("web", &["replicas=4", "image=web:1"]));
    world.run(Duration::from_secs(10));
    assert_eq!(made_of(&world), BTreeSet::from([pinned.clone()]));
    assert_eq!(world.state.instances.len(), 4);

    // Another version asks anew; an older one is what it was; one that says what it is asks nobody.
    world.apply_spec(spec("web", &["replicas=2", "image=web:1", "cmd=v2"]));
    world.run(Duration::from_secs(20));
    assert_eq!(made_of(&world), BTreeSet::from([digest(3)]));
    let at = world.now;
    world.apply(Command::Rollback {
        app: "web".parse().unwrap(),
        version: None,
        at,
    });
    world.run(Duration::from_secs(20));
    assert_eq!(made_of(&world), BTreeSet::from([pinned]));
    let exact = format!("image=web@{}", digest(3));
    world.apply_spec(spec("web", &["replicas=2", &exact]));
    world.run(Duration::from_secs(20));
    let newest = view::app(ctx(&world), &"web".parse().unwrap()).unwrap();
    assert_eq!((newest.image_digest, newest.summary.serving), (None, 2));
}

/// Old nodes, plain processes and images of no registry: nothing is pinned, and nothing is waited for.
#[test]
fn what_has_no_digest_goes_by_its_name() {
    for told in [None, Some("nonsense")] {
        let mut world = World::new();
        world.join("n1");
        world.node("n1").image = told.map(str::to_owned);
        world.apply_spec(spec("web", &["replicas=2", "image=web:1"]));
        world.run(Duration::from_secs(10));
        let app = view::app(ctx(&world), &"web".parse().unwrap()).unwrap();
        assert_eq!((app.image_digest, app.summary.serving), (None, 2));
    }
}

/// Agents that tell images come while instances serve that were made of two: none of those is stopped for it.
#[test]
fn what_served_before_images_were_told_is_left_alone() {
    let digest = |n: u32| format!("sha256:{n:064}");
    let mut world = World::new();
    world.join("n1");
    world.join("n2");
    world.apply_spec(spec("web", &["replicas=2", "image=web:1"]));
    world.run(Duration::from_secs(10));
    let before: Vec<_> = world.state.instances.keys().cloned().collect();
    for (node, n) in [("n1", 1), ("n2", 2)] {
        world.node(node).image = Some(digest(n));
        world.node(node).tell_images();
    }
    world.run(Duration::from_secs(10));
    let web = view::app(ctx(&world), &"web".parse().unwrap()).unwrap();
    assert_eq!(
        (web.image_digest, web.summary.serving),
        (Some(digest(1)), 2)
    );
    let now = world.state.instances.iter();
    let now: Vec<_> = now
        .filter(|(_, i)| i.facts.restarts == 0)
        .map(|(id, _)| id.clone())
        .collect();
    assert_eq!(now, before);
    let made_of = |n: u32| {
        world
            .state
            .instances
            .values()
            .any(|i| i.facts.image_digest == Some(digest(n)))
    };
    assert!(made_of(1) && made_of(2), "one was made anew");
    // What comes later is made of what the first one said.
    world.apply_spec(spec("web", &["replicas=4", "image=web:1"]));
    world.run(Duration::from_secs(10));
    let of_first = world
        .state
        .instances
        .values()
        .filter(|i| i.facts.image_digest == Some(digest(1)));
    assert_eq!(of_first.count(), 3);
}

#[test]
fn a_generation_rises_only_when_the_assignment_changes() {
    let mut world = serving(&["replicas=2"]);
    let node = "n1".parse().unwrap();
    let before = world.state.generation(&node);
    world.run(Duration::from_secs(30));
    world.apply_spec(spec("web", &["replicas=2", "weight=9"]));
    world.run(Duration::from_secs(5));
    assert_eq!(world.state.generation(&node), before);
    world.apply_spec(spec("web", &["replicas=4"]));
    world.run(Duration::from_secs(5));
    assert!(world.state.generation(&node) > before);
}

/// Two cutovers at once: a balancer that meets a new host must not begin with those who are through already.
#[test]
fn documents_do_not_offer_whom_balancers_have_left() {
    let mut world = serving(&["replicas=1"]);
    let old: InstanceId = "web-1".parse().unwrap();
    for node in ["n1", "n2"] {
        let open = &mut world.node(node).balancer.open;
        open.entry(old.clone()).or_default().sessions = 1;
    }
    world.apply_spec(spec("web", &["replicas=1", "cmd=v2"]));
    world.run(Duration::from_secs(60));
    let third = &["replicas=1", "cmd=v3", "host=web.test,www.test"];
    world.apply_spec(spec("web", third));
    world.run(Duration::from_secs(5));
    let app = &world.state.apps[&"web".parse().unwrap()];
    assert!(app.routes.retiring().contains(&old), "{}", world.tail());
    for doc in documents(&world.state, app).into_values() {
        let member = doc.unwrap().hancock.clone().unwrap();
        let mut retiring = member.retiring.iter();
        assert!(retiring.all(|s| s.instance.as_ref() != Some(&old)));
    }
}

/// A balancer that was away during a cutover has the whole drain timeout once it is back and has switched.
#[test]
fn who_switches_late_may_finish_what_is_open() {
    let mut world = serving(&["replicas=1", "drain=30s"]);
    let old: InstanceId = "web-1".parse().unwrap();
    world.node("n2").linked = false;
    world.apply_spec(spec("web", &["replicas=1", "drain=30s", "cmd=v2"]));
    world.run(Duration::from_secs(70));
    let node = world.node("n2");
    node.linked = true;
    node.balancer.open.entry(old.clone()).or_default().requests = 1;
    world.hello(&"n2".parse().unwrap());
    world.run(Duration::from_secs(20));
    let stage = |world: &World| world.state.instances.get(&old).map(|i| i.stage);
    assert_eq!(stage(&world), Some(Stage::Leaving), "{}", world.tail());
    world.run(Duration::from_secs(20));
    assert_eq!(stage(&world), None, "{}", world.tail());
}

/// A deleted app has no names any more, but a balancer that was away still knows its instances by them.
#[test]
fn a_deleted_apps_ports_are_kept_from_others_while_somebody_may_remember() {
    let mut world = serving(&["replicas=1", "hold=20s"]);
    world.node("n2").linked = false;
    let (app, at) = ("web".parse().unwrap(), world.now);
    world.apply(Command::DeleteApp { app, at });
    world.run(Duration::from_secs(120));
    assert!(world.state.apps.is_empty(), "{}", world.tail());
    let node = &world.state.nodes[&"n1".parse().unwrap()];
    let names: Vec<_> = node.released[&20_000].names.iter().collect();
    assert_eq!(names, ["web.test"]);
    world.elect();
    world.apply_spec(spec("other", &["replicas=2"]));
    world.run(Duration::from_secs(5));
    let mut others = world.state.instances.values();
    assert!(
        others.all(|i| i.ports[0].host != 20_000),
        "{}",
        world.tail()
    );
}
