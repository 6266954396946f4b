//! Images and the registries they come from.

use hancock_agent::runtime::docker::{DockerOptions, DockerRuntime, Registries};
use hancock_agent::runtime::{ContainerRuntime, RuntimeError};
use hancock_proto::app::PullPolicy;
use hancock_testkit::fixture::{self, LOGIN};

use crate::bench::{Behave, Bench};

pub async fn from_a_locked_registry(bench: Bench) {
    let registry = fixture::locked_image_registry();
    let image = format!("{}/contract:1", registry.address);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().to_str().unwrap();
    let address = registry.address.to_string();
    let (user, password) = LOGIN;
    let as_bob = |words: &[&str]| bench.docker_says(&[&["--config", config], words].concat());
    as_bob(&[
        "login",
        "--username",
        user,
        "--password",
        password,
        &address,
    ]);
    let mut spec = bench.spec(1, Behave::Exit(0));
    let local = spec.image.replace(image.clone()).unwrap();
    as_bob(&["tag", &local, &image]);
    as_bob(&["push", &image]);
    let remove = || bench.docker_says(&["image", "rm", &image]);
    remove();

    let told = bench.runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(told, RuntimeError::Elsewhere { .. }), "{told}");
    assert!(told.to_string().contains(&image), "no password: {told}");
    spec.pull_policy = PullPolicy::Never;
    let never = bench.runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(never, RuntimeError::Elsewhere { .. }), "{never}");

    let runtime = DockerRuntime::new(
        bench.owner.node.clone(),
        DockerOptions {
            registries: Registries {
                config: Some(folder.path().join("config.json")),
            },
            ..DockerOptions::from_environment(folder.path()).unwrap()
        },
    );
    spec.pull_policy = PullPolicy::Missing;
    runtime.prepare(&spec).await.unwrap();
    // It is here now: only one that is always fetched notices that the registry is not.
    drop(registry);
    runtime.prepare(&spec).await.unwrap();
    spec.pull_policy = PullPolicy::Never;
    runtime.prepare(&spec).await.unwrap();
    spec.pull_policy = PullPolicy::Always;
    let away = runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(away, RuntimeError::Elsewhere { .. }), "{away}");
    let away = away.to_string();
    let words = [image.as_str(), "tried 4 times"];
    assert!(words.iter().all(|word| away.contains(word)), "{away}");
    remove();
}
