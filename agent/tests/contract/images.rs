//! Images: fetched by tag and by digest, listed, removed unless they are in use, and told when they are not to be had.

use hancock_agent::runtime::RuntimeError;
use hancock_agent::runtime::images::ImageStore;
use hancock_agent_core::environment::StartSpec;
use hancock_agent_core::images::Image;
use hancock_proto::app::PullPolicy;
use hancock_proto::app::image::pinned;
use hancock_testkit::docker;
use hancock_testkit::fixture::{self, Server};
use hancock_testkit::skip::{skip, test_name};

use crate::bench::{Behave, Bench};

/// A registry, and one repository in it that nobody else uses.
struct Source<'a> {
    bench: &'a Bench,
    repository: String,
    server: Option<Server>,
}

impl<'a> Source<'a> {
    /// None: there are no images here, which was looked at, or no program that is a registry.
    async fn of(bench: &'a Bench) -> Option<Self> {
        if !bench.is_docker() && !bench.is_fake() {
            refuses(bench).await;
            return None;
        }
        if let Some(reason) = fixture::missing("docker-registry").filter(|_| bench.is_docker()) {
            skip(&test_name(), &reason);
            return None;
        }
        let server = bench.is_docker().then(fixture::image_registry);
        let registry = server.as_ref().map(|server| server.address.to_string());
        let registry = registry.unwrap_or_else(|| "registry.example".to_owned());
        Some(Self {
            bench,
            repository: format!("{registry}/images"),
            server,
        })
    }

    fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.repository)
    }

    /// The tag stands for other bits from now on, in the registry alone. What is here of it stays.
    fn push(&self, tag: &str, bits: u8) {
        let tag = self.tag(tag);
        if let Some(engine) = self.bench.engine() {
            return engine.publish(&tag, &format!("sha256:{bits:064}"));
        }
        let local = self.bench.spec(1, Behave::Serve).image.unwrap();
        let pushed = format!("{tag}-{bits}");
        docker::derive(&local, &format!("ENV BITS={bits}"), &pushed).unwrap();
        let id = docker::inspect(&pushed, "{{.Id}}").unwrap();
        let before = docker::inspect(&tag, "{{.Id}}").ok();
        self.bench.docker_says(&["tag", &id, &tag]);
        self.bench.docker_says(&["push", &tag]);
        match before {
            Some(before) => self.bench.docker_says(&["tag", &before, &tag]),
            None => self.bench.docker_says(&["image", "rm", &tag]),
        };
        self.bench.docker_says(&["image", "rm", "--force", &pushed]);
    }

    /// Nobody reaches the registry any more.
    fn away(&mut self) {
        self.server = None;
        if let Some(engine) = self.bench.engine() {
            engine.registry_away(Some("connection refused"));
        }
    }

    /// A start of that image.
    fn spec(&self, number: u64, image: &str) -> StartSpec {
        let mut spec = self.bench.spec(number, Behave::Serve);
        spec.image = Some(image.to_owned());
        spec
    }

    fn store(&self) -> &dyn ImageStore {
        self.bench.runtime.image_store().unwrap()
    }

    /// The image of that name, as it is listed.
    async fn listed(&self, name: &str) -> Option<Image> {
        let all = self.store().images().await.unwrap();
        all.into_iter().find(|image| image.names.contains(name))
    }

    async fn pull(&self, name: &str) -> Result<Option<String>, RuntimeError> {
        self.store().pull(name, &|_| ()).await
    }

    /// Nothing of it is left here.
    async fn clear(self) {
        self.bench.clear().await;
        let all = self.store().images().await.unwrap();
        let names = all.iter().flat_map(|image| &image.names);
        for name in names.filter(|name| name.starts_with(&self.repository)) {
            self.store().remove_image(name).await.unwrap();
        }
    }
}

/// Plain processes have none, and say so where one is asked for by a spec that has nothing else.
async fn refuses(bench: &Bench) {
    assert!(bench.runtime.image_store().is_none());
    let mut spec = bench.spec(1, Behave::Serve);
    spec.image = Some("web:1".to_owned());
    spec.command.clear();
    let told = bench.runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(told, RuntimeError::Elsewhere { .. }), "{told}");
    assert!(told.to_string().contains("plain processes"), "{told}");
}

pub async fn an_image_is_fetched_by_its_tag_and_by_its_digest(bench: Bench) {
    let Some(source) = Source::of(&bench).await else {
        return;
    };
    let tag = source.tag("1");
    source.push("1", 1);
    assert_eq!(source.listed(&tag).await, None);
    let digest = source.pull(&tag).await.unwrap().unwrap();
    let exact = pinned(&tag, &digest);
    let there = source.listed(&tag).await.unwrap();
    assert!(there.tags.contains(&tag) && there.digests.contains(&exact));
    assert!(!there.used && there.size > 0, "{there:?}");
    source.store().remove_image(&tag).await.unwrap();
    assert_eq!(source.listed(&tag).await, None);
    // One that is not there is as removed as one that is.
    source.store().remove_image(&tag).await.unwrap();

    assert_eq!(source.pull(&exact).await.unwrap(), Some(digest));
    let there = source.listed(&exact).await.unwrap();
    assert!(there.digests.contains(&exact) && !there.tags.contains(&tag));
    let seen = bench.start(&source.spec(1, &exact)).await.unwrap();
    assert_eq!(seen.image_digest.map(|d| pinned(&tag, &d)), Some(exact));
    source.clear().await;
}

pub async fn an_image_that_is_there_needs_no_registry(bench: Bench) {
    let Some(mut source) = Source::of(&bench).await else {
        return;
    };
    let tag = source.tag("1");
    source.push("1", 1);
    let mut spec = source.spec(1, &tag);
    spec.pull_policy = PullPolicy::Never;
    let never = bench.runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(never, RuntimeError::Elsewhere { .. }), "{never}");
    let digest = source.pull(&tag).await.unwrap();
    source.away();
    for policy in [PullPolicy::Never, PullPolicy::Missing] {
        spec.pull_policy = policy;
        bench.runtime.prepare(&spec).await.unwrap();
    }
    // By its digest it cannot be another one, so nobody has to be asked.
    spec.pull_policy = PullPolicy::Always;
    spec.image_digest = digest;
    bench.start(&spec).await.unwrap();
    spec.image_digest = None;
    let away = bench.runtime.prepare(&spec).await.unwrap_err();
    assert!(matches!(away, RuntimeError::Elsewhere { .. }), "{away}");
    assert!(away.to_string().contains(&tag), "{away}");
    source.clear().await;
}

pub async fn an_image_that_does_not_exist_is_another_nodes_chance(bench: Bench) {
    let Some(source) = Source::of(&bench).await else {
        return;
    };
    source.push("1", 1);
    let digest = format!("sha256:{:064}", 7);
    for name in [source.tag("none"), pinned(&source.tag("1"), &digest)] {
        let told = source.pull(&name).await.unwrap_err();
        assert!(matches!(told, RuntimeError::Elsewhere { .. }), "{told}");
        assert!(told.to_string().contains(&name), "{told}");
        let told = bench.start(&source.spec(1, &name)).await.unwrap_err();
        assert!(matches!(told, RuntimeError::Elsewhere { .. }), "{told}");
    }
    assert_eq!(bench.runtime.list().await.unwrap(), []);
    source.clear().await;
}

pub async fn an_image_in_use_stays(bench: Bench) {
    let Some(source) = Source::of(&bench).await else {
        return;
    };
    let tag = source.tag("1");
    source.push("1", 1);
    let spec = source.spec(1, &tag);
    bench.start(&spec).await.unwrap();
    assert!(source.listed(&tag).await.unwrap().used);
    source.store().remove_image(&tag).await.unwrap_err();
    assert!(source.listed(&tag).await.is_some());
    bench
        .runtime
        .kill(&bench.owner, &spec.instance)
        .await
        .unwrap();
    // What has ended may be started again.
    source.store().remove_image(&tag).await.unwrap_err();
    bench.clear().await;
    assert!(!source.listed(&tag).await.unwrap().used);
    source.store().remove_image(&tag).await.unwrap();
    assert_eq!(source.listed(&tag).await, None);
}

/// What an image's name stood for when the first instance was made of it is what others are made of, once they are told.
pub async fn one_version_is_one_image_however_its_tag_moves(bench: Bench) {
    let Some(source) = Source::of(&bench).await else {
        return;
    };
    let spec = |number: u64, digest: Option<&String>| {
        let mut spec = source.spec(number, &source.tag("1"));
        (spec.pull_policy, spec.image_digest) = (PullPolicy::Always, digest.cloned());
        spec
    };
    source.push("1", 1);
    let first = bench.start(&spec(1, None)).await.unwrap().image_digest;
    let first = first.expect("a digest");
    source.push("1", 2);
    let same = bench.start(&spec(2, Some(&first))).await.unwrap();
    assert_eq!(same.image_digest.as_ref(), Some(&first));
    let other = bench.start(&spec(3, None)).await.unwrap().image_digest;
    assert_ne!(other.expect("a digest"), first);

    // The one made of something else is made anew when its node is told; the one that was first goes on as it is.
    for number in [1, 3] {
        let wanted = spec(number, Some(&first));
        let kept = bench.is_docker().then(|| bench.inspect(&wanted, "{{.Id}}"));
        let (owner, instance) = (&bench.owner, &wanted.instance);
        bench.runtime.kill(owner, instance).await.unwrap();
        let again = bench.start(&wanted).await.unwrap();
        assert_eq!(again.image_digest.as_ref(), Some(&first));
        if let Some(kept) = kept {
            let bits = bench.inspect(&wanted, "{{.Config.Env}}");
            assert!(bits.contains("BITS=1"), "{bits}");
            assert_eq!(bench.inspect(&wanted, "{{.Id}}") == kept, number == 1);
        }
    }
    let listed = bench.runtime.list().await.unwrap();
    let all = listed
        .iter()
        .all(|o| o.image_digest.as_ref() == Some(&first));
    assert!(all && listed.len() == 3, "{listed:#?}");
    source.clear().await;
}
