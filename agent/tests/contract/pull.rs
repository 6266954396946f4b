//! Images and the registries they come from.

use hancock_agent::runtime::docker::{DockerOptions, DockerRuntime, Registries};
use hancock_agent::runtime::{ContainerRuntime, RuntimeError};
use hancock_proto::app::PullPolicy;
use hancock_testkit::docker;
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

    let told = bench.runtime.prepare(&spec).await.unwrap_err().to_string();
    assert!(told.contains(&image), "without a password: {told}");
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
    let away = runtime.prepare(&spec).await.unwrap_err().to_string();
    assert!(away.contains(&image), "{away}");
    remove();
}

/// What an image's name stood for when the first instance was made of it is what others are made of, once they are told.
pub async fn a_tag_that_moves(bench: Bench) {
    let registry = fixture::image_registry();
    let tag = format!("{}/moves:1", registry.address);
    let local = bench.spec(1, Behave::Serve).image.unwrap();
    let push = |bits: &str| {
        docker::derive(&local, &format!("ENV BITS={bits}"), &tag).unwrap();
        bench.docker_says(&["push", &tag]);
        bench.docker_says(&["image", "rm", "--force", &tag]);
    };
    let spec = |number: u64, digest: Option<&String>| {
        let mut spec = bench.spec(number, Behave::Serve);
        (spec.image, spec.image_digest) = (Some(tag.clone()), digest.cloned());
        spec
    };
    let bits = |number: u64| bench.inspect(&spec(number, None), "{{.Config.Env}}");
    push("a");
    let first = bench.start(&spec(1, None)).await.unwrap();
    let first = first.image_digest.expect("a digest");
    assert!(bits(1).contains("BITS=a"), "{}", bits(1));
    push("b");
    let same = bench.start(&spec(2, Some(&first))).await.unwrap();
    assert_eq!(same.image_digest.as_ref(), Some(&first));
    assert!(bits(2).contains("BITS=a"), "{}", bits(2));
    let other = bench.start(&spec(3, None)).await.unwrap();
    assert_ne!(other.image_digest, Some(first.clone()));
    assert!(bits(3).contains("BITS=b"), "{}", bits(3));

    // The one made of something else begins anew when it is told; the one that was first goes on as it is.
    for number in [1, 3] {
        let wanted = spec(number, Some(&first));
        let id = bench.inspect(&wanted, "{{.Id}}");
        bench
            .runtime
            .kill(&bench.owner, &wanted.instance)
            .await
            .unwrap();
        let again = bench.start(&wanted).await.unwrap();
        assert_eq!(again.image_digest.as_ref(), Some(&first));
        assert!(bits(number).contains("BITS=a"), "{}", bits(number));
        assert_eq!(bench.inspect(&wanted, "{{.Id}}") == id, number == 1);
    }
    let listed = bench.runtime.list().await.unwrap();
    assert!(
        listed
            .iter()
            .all(|o| o.image_digest.as_ref() == Some(&first))
    );
    bench.clear().await;
    let exact = format!("{}@{first}", tag.trim_end_matches(":1"));
    bench.docker_says(&["image", "rm", "--force", &exact]);
}
