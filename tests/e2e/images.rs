//! Images: where they come from, which one a version is, and what becomes of one that is not to be had.

use hancock_proto::api::{AppDetail, InstanceView};
use hancock_testkit::fixture::{self, LOGIN, Server};
use hancock_testkit::{docker, skip};
use serde_json::Value;

use crate::agents::node::Node;
use crate::agents::{ask, wait_nodes, wait_serving};
use crate::masters::cluster::Cluster;
use crate::runtime::Runtime;
use crate::spec::Spec;
use crate::world::World;

/// Docker and a program that is a registry; says so when one of them is missing.
fn docker_with_registry() -> Option<Runtime> {
    let runtime = Runtime::Docker.or_skip()?;
    match fixture::missing("docker-registry") {
        Some(reason) => {
            skip::skip(&skip::test_name(), &reason);
            None
        }
        None => Some(runtime),
    }
}

/// Names of images in a registry, gone from the engine on drop.
struct Repository {
    name: String,
}

impl Repository {
    fn of(registry: &Server, name: &str) -> Self {
        let name = format!("{}/{name}", registry.address);
        Self { name }
    }

    fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// Puts an image into the registry, and not on this machine.
    fn push(&self, local: &str, tag: &str) {
        let tag = self.tag(tag);
        docker::run(&["tag", local, &tag]).unwrap();
        docker::run(&["push", &tag]).unwrap();
        docker::run(&["image", "rm", &tag]).unwrap();
    }

    /// The same for one that differs from all others by its environment.
    fn push_with(&self, local: &str, tag: &str, bits: &str) {
        let tag = self.tag(tag);
        docker::derive(local, &format!("ENV BITS={bits}"), &tag).unwrap();
        docker::run(&["push", &tag]).unwrap();
        docker::run(&["image", "rm", &tag]).unwrap();
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        // By these names only: the image itself may have others, of other tests.
        let own = format!("reference={}", self.name);
        let names = "{{.Repository}} {{.Tag}} {{.Digest}}";
        let list = [
            "image",
            "ls",
            "--digests",
            "--format",
            names,
            "--filter",
            &own,
        ];
        let listed = docker::run(&list).unwrap_or_default();
        for line in listed.lines() {
            let name = match *line.split(' ').collect::<Vec<_>>() {
                [name, "<none>", digest] => format!("{name}@{digest}"),
                [name, tag, _] => format!("{name}:{tag}"),
                _ => continue,
            };
            if let Err(error) = docker::run(&["image", "rm", &name]) {
                eprintln!("{error}");
            }
        }
    }
}

/// The image comes from a registry, as it does on an edge machine. What is not to be had is told with its name, harms nothing that serves, and
/// is not tried for ever.
#[test]
fn an_image_is_pulled_from_a_registry_or_the_deployment_fails() {
    let Some(runtime) = docker_with_registry() else {
        return;
    };
    let registry = fixture::image_registry();
    let images = Repository::of(&registry, "web");
    images.push(runtime.image().unwrap(), "1");
    let world = World::start(runtime);
    let mut spec = Spec::web(runtime).replicas(2);
    spec.image = Some(images.tag("1"));
    world.apply(&spec);
    world.wait_answer("web", "v1");

    let absent = images.tag("none");
    spec.image = Some(absent.clone());
    let told = world.try_apply(&spec.clone().version("v2")).fails(1);
    let words = [absent.as_str(), "was rejected", "check its name"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");

    drop(registry);
    let away = spec.version("v3").more("pull_policy: always");
    let told = world.try_apply(&away).fails(1);
    let words = [absent.as_str(), "tried 4 times", "reaches the registry"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    world.wait_serving("web", 2);
    world.wait_answer("web", "v1");
}

/// What the instances have in their environment, in the order of their ids.
fn bits(instances: &[InstanceView], run: impl Fn(&[&str]) -> String) -> Vec<String> {
    let bits = |i: &InstanceView| {
        let words = ["exec", i.id.as_str(), "--", "/bin/sh", "-c", "echo $BITS"];
        run(&words).trim().to_owned()
    };
    instances.iter().map(bits).collect()
}

/// The tag moves between the pulls of two nodes: both run what it stood for at first. A new version asks anew, and the way back is the way back.
#[test]
fn a_version_runs_one_image_however_its_tag_moves() {
    let Some(runtime) = docker_with_registry() else {
        return;
    };
    let local = runtime.image_with_shell().unwrap();
    let registry = fixture::image_registry();
    let images = Repository::of(&registry, "moving");
    let cluster = Cluster::start(1);
    let mut nodes = [0, 1].map(|_| Node::alone(runtime, &cluster.join, cluster.agents(0)));
    nodes.iter_mut().for_each(Node::spawn);
    wait_nodes(&cluster, 2);
    let apply = |version: &str, replicas: u32| {
        let mut spec = Spec::web(runtime).version(version).replicas(replicas);
        spec = spec.more("pull_policy: always\nplacement: {max_per_node: 1}");
        spec.image = Some(images.tag("1"));
        let file = nodes[0].write("web.yaml", &spec.text());
        cluster.ask(&["app", "apply", &file, "--wait"]).ok();
    };
    let serving = |count: usize| -> Vec<InstanceView> {
        let all = wait_serving(&cluster, "web", count).into_iter();
        all.map(|(instance, _)| instance).collect()
    };
    let run = |words: &[&str]| cluster.ask(words).ok();
    images.push_with(&local, "1", "a");
    apply("v1", 1);
    let first = serving(1);
    assert_eq!(bits(&first, run), ["a"]);
    let digest = first[0].image_digest.clone().unwrap();

    images.push_with(&local, "1", "b");
    run(&["app", "scale", "web", "2", "--wait"]);
    let both = serving(2);
    assert_ne!(both[0].node, both[1].node);
    assert_eq!(bits(&both, run), ["a", "a"]);
    let told = both
        .iter()
        .all(|i| i.image_digest.as_ref() == Some(&digest));
    assert!(told, "{both:#?}");
    let app: AppDetail = ask(&cluster, "/v1/apps/web").unwrap();
    assert_eq!(app.image_digest.as_ref(), Some(&digest));
    let shown = run(&["app", "show", "web"]);
    assert!(shown.contains(&digest), "{shown}");

    apply("v2", 2);
    let newer = serving(2);
    assert_eq!(bits(&newer, run), ["b", "b"]);
    run(&["app", "rollback", "web", "--wait"]);
    assert_eq!(bits(&serving(2), run), ["a", "a"]);
}

/// A node that the registry does not let in rejects the instance, and it goes to one that is let in.
#[test]
fn an_instance_goes_where_its_image_can_be_had() {
    let Some(runtime) = docker_with_registry() else {
        return;
    };
    let registry = fixture::locked_image_registry();
    let images = Repository::of(&registry, "secret");
    let cluster = Cluster::start(1);
    let mut nodes = [0, 1].map(|_| Node::alone(runtime, &cluster.join, cluster.agents(0)));
    let config = nodes[1].dir().join("docker");
    let config = config.to_str().unwrap();
    let address = registry.address.to_string();
    let (user, password) = LOGIN;
    let as_bob = |words: &[&str]| docker::run(&[&["--config", config], words].concat()).unwrap();
    let login = [
        "login",
        "--username",
        user,
        "--password",
        password,
        &address,
    ];
    as_bob(&login);
    let tag = images.tag("1");
    docker::run(&["tag", runtime.image().unwrap(), &tag]).unwrap();
    as_bob(&["push", &tag]);
    docker::run(&["image", "rm", &tag]).unwrap();
    nodes[1].add(&format!("docker-config = \"{config}/config.json\"\n"));
    // The only place there is refuses it: so the deployment does not go on for ever.
    nodes[0].spawn();
    wait_nodes(&cluster, 1);
    let apply = |node: &Node| {
        let mut spec = Spec::web(runtime).replicas(1);
        spec.image = Some(tag.clone());
        let file = node.write("web.yaml", &spec.text());
        cluster.ask(&["app", "apply", &file, "--wait"])
    };
    let told = apply(&nodes[0]).fails(1);
    let words = ["was rejected", &tag, "docker-config"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    nodes[1].spawn();
    wait_nodes(&cluster, 2);
    apply(&nodes[0]).ok();
    let there = wait_serving(&cluster, "web", 1);
    let node = there[0].0.node.as_ref().map(ToString::to_string);
    assert_eq!(node.as_ref(), Some(&nodes[1].name));
}

/// An operator has an image fetched before it is needed, and sees what is there and who uses it.
#[test]
fn images_are_fetched_beforehand_and_listed() {
    let Some(runtime) = docker_with_registry() else {
        return;
    };
    let registry = fixture::image_registry();
    let images = Repository::of(&registry, "early");
    images.push(runtime.image().unwrap(), "1");
    let remote = images.tag("1");
    let world = World::start(runtime);
    let line = |words: &[&str]| {
        let text = world.run(words).ok();
        let found = text.lines().find(|line| line.contains(&remote));
        found.map(|line| line.trim_end().to_owned())
    };
    assert_eq!(line(&["image", "list"]), None);
    let done = line(&["image", "pull", &remote]).unwrap();
    assert!(
        done.contains(&world.node) && done.contains("sha256:"),
        "{done}"
    );
    docker::run(&["image", "inspect", &remote]).unwrap();
    let listed = line(&["image", "list"]).unwrap();
    assert!(
        listed.contains(&world.node) && !listed.ends_with("web 1"),
        "{listed}"
    );
    let mut spec = Spec::web(runtime).more("pull_policy: never");
    spec.image = Some(remote.clone());
    world.apply(&spec);
    let listed = line(&["image", "list", &world.node]).unwrap();
    assert!(listed.ends_with("web 1"), "{listed}");

    let json = [
        "image",
        "pull",
        &remote,
        "--node",
        &world.node,
        "--output",
        "json",
    ];
    let went: Value = serde_json::from_str(&world.run(&json).ok()).unwrap();
    assert_eq!(went[0]["node"], world.node.as_str());
    assert_eq!(went[0]["state"], "done");
    assert!(went[0]["digest"].as_str().unwrap().starts_with("sha256:"));

    let absent = images.tag("none");
    let told = world.run(&["image", "pull", &absent]).fails(1);
    assert!(told.contains("failed") && told.contains(&absent), "{told}");
    let nobody = world.run(&["image", "list", "nobody"]).fails(4);
    assert!(nobody.contains("no node nobody"), "{nobody}");
    let wrong = world.run(&["image", "pull", "web 1"]).fails(2);
    assert!(wrong.contains("is no image"), "{wrong}");
}

#[test]
fn nodes_without_images_have_none_to_list() {
    let world = World::start(Runtime::Process);
    for words in [&["image", "list"][..], &["image", "pull", "web:1"]] {
        let told = world.run(words).fails(1);
        assert!(told.contains("no node runs containers"), "{told}");
    }
    let named = world.run(&["image", "list", &world.node]).fails(4);
    assert!(named.contains("plain processes"), "{named}");
    let pulled = ["image", "pull", "web:1", "--node", &world.node];
    let told = world.run(&pulled).fails(1);
    assert!(told.contains("plain processes"), "{told}");
}
