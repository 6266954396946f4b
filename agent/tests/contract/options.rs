//! What a spec may ask beside the program: given, and seen from inside; or refused by name where the runtime cannot.

use std::collections::BTreeMap;

use hancock_agent::detect;
use hancock_agent::runtime::{LogQuery, RuntimeError};
use hancock_agent_core::environment::StartSpec;
use hancock_proto::app::{
    Container, File, Limits, Log, Network, PortProtocol, Ulimit, Volume, VolumeKind,
};
use hancock_proto::assignment::PortBinding;
use hancock_proto::units::{Cpu, Size};

use crate::bench::{Behave, Bench};
use crate::{exec, suite};

/// A spec whose program is this script; the engine in memory runs none.
fn script(bench: &Bench, number: u64, script: &str) -> StartSpec {
    let mut spec = bench.spec(number, Behave::Exit(0));
    spec.command[2] = script.to_owned();
    spec
}

/// What the script said, when it could be asked.
async fn said(bench: &Bench, spec: &StartSpec) -> Option<String> {
    bench.start(spec).await.unwrap();
    suite::exited(bench, &spec.instance).await;
    let lines = suite::log(bench, &spec.instance, LogQuery::default()).await;
    let lines: Vec<_> = lines.into_iter().map(|l| l.text).collect();
    (!bench.is_fake()).then(|| lines.join("\n"))
}

/// Plain processes have none of it, and say so before anything is started.
async fn is_refused(bench: &Bench, spec: &StartSpec, name: &str) {
    if bench.runtime.kind() != "process" {
        return;
    }
    for error in [
        bench.runtime.prepare(spec).await.unwrap_err(),
        bench.runtime.start(spec).await.unwrap_err(),
    ] {
        let told = error.to_string();
        assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{told}");
        assert!(told.contains(name), "{told}");
    }
}

/// A container asks for this; the script sees that it was given.
async fn container(bench: &Bench, asked: Container, name: &str, see: &str, seen: &[&str]) {
    let mut spec = script(bench, 1, see);
    spec.container = asked;
    is_refused(bench, &spec, name).await;
    if bench.runtime.kind() == "docker" {
        let told = said(bench, &spec).await.unwrap();
        for wanted in seen {
            assert!(told.contains(wanted), "{name}: no {wanted:?} in {told:?}");
        }
    }
    bench.clear().await;
}

/// Prints the limits of memory, processor time and processes. Inside a container its own group is the root of what is mounted.
const LIMITS: &str = "own() { while IFS=: read -r n c p; do case \",$c,\" in *,$1,*) echo $p;; esac; done </proc/self/cgroup; }; \
        show() { p=/sys/fs/cgroup/$1; [ -e \"$p$(own $1)/$2\" ] && p=$p$(own $1); cat $p/$2; }; \
        if [ -e /sys/fs/cgroup/cgroup.controllers ]; then show '' memory.max; show '' cpu.max; show '' pids.max; \
        else show memory memory.limit_in_bytes; show cpu cpu.cfs_quota_us; show pids pids.max; fi";

fn limits(millicores: u32, mib: u64, pids: u32) -> Limits {
    Limits {
        cpu: Some(Cpu::millicores(millicores)),
        memory: Some(Size::mib(mib)),
        disk: None,
        pids: Some(pids),
    }
}

/// Whether that is what [`LIMITS`] prints, in either version of control groups.
fn are(told: &str, memory: &str, quota: &str, pids: &str) -> bool {
    let lines: Vec<_> = told.lines().collect();
    let quota = [quota.to_owned(), format!("{quota} 100000")];
    lines.len() == 3
        && (lines[0], lines[2]) == (memory, pids)
        && quota.iter().any(|quota| quota == lines[1])
}

pub async fn limits_are_set(bench: Bench) {
    let mut spec = script(&bench, 1, LIMITS);
    spec.limits = limits(250, 96, 77);
    if let Some(told) = said(&bench, &spec).await {
        assert!(are(&told, "100663296", "25000", "77"), "{told}");
    }
    bench.clear().await;
}

pub async fn limits_change_while_it_runs(bench: Bench) {
    let mut spec = bench.spec(1, Behave::Serve);
    let (owner, id) = (spec.owner.clone(), spec.instance.clone());
    spec.limits = limits(250, 96, 77);
    let change = async |to: Limits| {
        let runtime = &bench.runtime;
        runtime.limit(&owner, &id, &spec.resources, &to).await
    };
    let error = change(limits(500, 128, 99)).await.unwrap_err();
    assert!(error.to_string().contains("does not run"), "{error}");
    let before = bench.start(&spec).await.unwrap();
    // More than twice of what it had: an engine that keeps its own bound of memory and swap has to raise that as well.
    for (to, memory, quota, pids) in [
        (limits(500, 512, 99), "536870912", "50000", "99"),
        (limits(100, 80, 50), "83886080", "10000", "50"),
    ] {
        change(to).await.unwrap();
        let told = exec::told(&bench, &id, LIMITS).await;
        assert!(bench.is_fake() || are(&told, memory, quota, pids), "{told}");
    }
    // Without limits: memory is what is reserved, processor time all there is.
    change(Limits::default()).await.unwrap();
    let told = exec::told(&bench, &id, LIMITS).await;
    let all = detect::cpus().as_millicores() * 100;
    let none = ["-1", "max"].map(str::to_owned);
    let quotas = none.into_iter().chain([all.to_string()]);
    let mut free = quotas.map(|quota| are(&told, "67108864", &quota, "4096"));
    assert!(bench.is_fake() || free.any(|free| free), "{told}");
    // One that runs is left alone and shown, with the time of its start.
    assert_eq!(bench.start(&spec).await.unwrap(), before);
    bench.clear().await;
}

pub async fn files_are_there_before_the_start(bench: Bench) {
    let file = |target: &str, content: &str, mode: &str| File {
        target: target.to_owned(),
        content: content.to_owned(),
        mode: mode.parse().unwrap(),
        uid: None,
        gid: None,
        template: true,
    };
    let see = "for f in one two; do read -r line < $HANCOCK_FILES/etc/app/$f; echo $line; done; \
        [ -x $HANCOCK_FILES/etc/app/two ] && echo may be run";
    let mut spec = script(&bench, 1, see);
    spec.files = vec![
        file("/etc/app/one", "first of them\n", "0444"),
        file("/etc/app/two", "second ${VAR}\n", "0755"),
    ];
    // A root file system that cannot be written has them too.
    spec.container.read_only = bench.runtime.kind() == "docker";
    // Again, as after an end: they are still there.
    for _ in 0..2 {
        if let Some(told) = said(&bench, &spec).await {
            let told = told.lines().rev().take(3).collect::<Vec<_>>();
            assert_eq!(told, ["may be run", "second ${VAR}", "first of them"]);
        }
    }
    bench.clear().await;
}

pub async fn privileges_are_given_and_taken(bench: Bench) {
    let asked = Container {
        cap_add: vec!["NET_ADMIN".into()],
        cap_drop: vec!["ALL".into()],
        ..Container::default()
    };
    let see =
        "while read -r line; do case $line in Cap*) echo $line;; esac; done </proc/self/status";
    // Number 12 alone.
    let effective = "CapEff: 0000000000001000";
    container(&bench, asked, "container.cap_add", see, &[effective]).await;
}

pub async fn privileged_needs_the_nodes_word(bench: Bench) {
    let mut spec = script(&bench, 1, "true");
    spec.container.privileged = true;
    is_refused(&bench, &spec, "container.privileged").await;
    if bench.runtime.kind() == "docker" {
        let error = bench.runtime.prepare(&spec).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{error}");
        assert!(error.to_string().contains("allow-privileged"), "{error}");
    }
}

pub async fn a_root_that_cannot_be_written(bench: Bench) {
    let asked = Container {
        read_only: true,
        ..Container::default()
    };
    let see = "touch /made || echo not made";
    let seen = ["Read-only file system", "not made"];
    container(&bench, asked, "container.read_only", see, &seen).await;
}

pub async fn kernel_settings_and_limits_of_processes(bench: Bench) {
    let asked = Container {
        sysctls: BTreeMap::from([("net.core.somaxconn".into(), "321".into())]),
        ulimits: BTreeMap::from([(
            "nofile".into(),
            Ulimit {
                soft: 123,
                hard: 456,
            },
        )]),
        shm_size: Some(Size::mib(3)),
        init: true,
        ..Container::default()
    };
    let see = "cat /proc/sys/net/core/somaxconn; ulimit -S -n; ulimit -H -n; cat /proc/mounts /proc/1/comm";
    let seen = ["321\n123\n456\n", "size=3072k", "docker-init"];
    container(&bench, asked, "container.init", see, &seen).await;
}

pub async fn names_and_who_resolves_them(bench: Bench) {
    let asked = Container {
        hostname: Some("box.example".into()),
        dns: vec!["192.0.2.53".parse().unwrap()],
        dns_search: vec!["inner.example".into()],
        extra_hosts: BTreeMap::from([("db".into(), "192.0.2.7".into())]),
        ..Container::default()
    };
    let see = "cat /proc/sys/kernel/hostname /etc/resolv.conf /etc/hosts";
    let seen = [
        "box.example\n",
        "search inner.example",
        "nameserver 192.0.2.53",
        "192.0.2.7\tdb",
    ];
    container(&bench, asked, "container.hostname", see, &seen).await;
}

pub async fn networks_are_chosen(bench: Bench) {
    let see = "cat /proc/sys/kernel/hostname; while read -r card rest; do echo card $card; done </proc/net/dev; echo end";
    let asked = |network| Container {
        network,
        ..Container::default()
    };
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let name = "container.network";
    container(&bench, asked(Network::Host), name, see, &[&own]).await;
    let alone = "card lo:\nend";
    container(&bench, asked(Network::Nowhere), name, see, &[alone]).await;
    if bench.runtime.kind() == "docker" {
        let mut spec = script(&bench, 1, "true");
        spec.container = asked(Network::Named("hancock-no-such-network".into()));
        let error = bench.start(&spec).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{error}");
        assert!(error.to_string().contains("hancock-no-such"), "{error}");
    }
    bench.clear().await;
}

pub async fn volumes_of_every_kind(bench: Bench) {
    let volume = |kind, source: &str, target: &str| Volume {
        kind,
        source: source.to_owned(),
        target: target.to_owned(),
        read_only: false,
        size: None,
        exclusive: false,
    };
    let tmpfs = Volume {
        size: Some(Size::mib(2)),
        ..volume(VolumeKind::Tmpfs, "", "/scratch")
    };
    // The second instance finds what the first one left in the named one.
    let see = "cat /data/left; touch /data/made /scratch/made && echo $WORD > /data/left; cat /proc/mounts";
    let named = bench
        .owner
        .node
        .as_str()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let named = format!("v{}", &named[named.len().saturating_sub(20)..]);
    let with = |number| {
        let mut spec = script(&bench, number, see);
        spec.volumes = vec![volume(VolumeKind::Volume, &named, "/data"), tmpfs.clone()];
        spec
    };
    is_refused(&bench, &with(1), "type volume").await;
    if bench.runtime.kind() == "docker" {
        let first = said(&bench, &with(1)).await.unwrap();
        assert!(
            first.contains("tmpfs /scratch tmpfs") && first.contains("size=2048k"),
            "{first}"
        );
        let second = said(&bench, &with(2)).await.unwrap();
        assert!(second.contains("hello"), "{second}");
        bench.clear().await;
        let third = said(&bench, &with(3)).await.unwrap();
        assert!(
            third.contains("hello"),
            "removal takes no named volume: {third}"
        );
        bench.clear().await;
        let own = format!("label=hancock.node={}", bench.owner.node);
        let left = bench.docker_says(&["volume", "ls", "--quiet", "--filter", &own]);
        assert_eq!(left.lines().count(), 1, "{left}");
        for name in left.lines() {
            bench.docker_says(&["volume", "rm", name]);
        }
    }
    let mut bind = script(&bench, 4, "true");
    bind.volumes = vec![volume(
        VolumeKind::Bind,
        "/no/such/folder",
        "/no/such/folder",
    )];
    if bench.runtime.kind() == "docker" {
        let error = bench.start(&bind).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{error}");
    }
    bench.clear().await;
}

pub async fn output_goes_where_it_is_told(bench: Bench) {
    let mut spec = script(&bench, 1, "echo here");
    let options = BTreeMap::from([("max-size".to_owned(), "1m".to_owned())]);
    let driver = "local".to_owned();
    spec.container.log = Some(Log { driver, options });
    is_refused(&bench, &spec, "container.log").await;
    if bench.runtime.kind() == "docker" {
        assert_eq!(said(&bench, &spec).await.as_deref(), Some("here"));
        let set = bench.inspect(&spec, "{{json .HostConfig.LogConfig}}");
        assert!(
            set.contains("\"local\"") && set.contains("\"max-size\":\"1m\""),
            "{set}"
        );
        bench.clear().await;
        let options = BTreeMap::new();
        let driver = "no-such-driver".to_owned();
        spec.container.log = Some(Log { driver, options });
        let error = bench.start(&spec).await.unwrap_err();
        assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{error}");
    }
    bench.clear().await;
}

pub async fn ports_are_published_over_udp_and_as_ranges(bench: Bench) {
    let mut spec = bench.spec(1, Behave::Serve);
    // Below what the kernel gives out, and this test's own.
    let first = 15_000 + u16::try_from(std::process::id() % 1000).unwrap() * 4;
    spec.ports = vec![PortBinding {
        name: "rtp".into(),
        container: Some(9000),
        host: first,
        count: 3,
        protocol: PortProtocol::Udp,
    }];
    let started = bench.start(&spec).await.unwrap();
    assert_eq!(started.host_ports, [first, first + 1, first + 2]);
    let seen = bench.seen(&spec.instance).await.unwrap();
    assert_eq!(seen.host_ports, started.host_ports);
    if bench.runtime.kind() == "docker" {
        for n in 0..3 {
            let set = bench.inspect(
                &spec,
                &format!(
                    "{{{{json (index .NetworkSettings.Ports \"{}/udp\")}}}}",
                    9000 + n
                ),
            );
            assert!(
                set.contains(&format!("\"HostPort\":\"{}\"", first + n)),
                "{set}"
            );
        }
        assert!(detect::is_any_in_use(&spec.ports[0]));
    }
    bench.clear().await;
}

pub async fn a_limit_of_the_disk_is_set_or_refused(bench: Bench) {
    let mut spec = script(&bench, 1, "true");
    spec.limits.disk = Some(Size::mib(64));
    is_refused(&bench, &spec, "limits.disk").await;
    if bench.runtime.kind() == "docker" {
        match bench.start(&spec).await {
            Ok(_) => assert!(
                bench
                    .inspect(&spec, "{{.HostConfig.StorageOpt}}")
                    .contains("67108864")
            ),
            Err(error) => assert!(matches!(error, RuntimeError::Elsewhere { .. }), "{error}"),
        }
    }
    bench.clear().await;
}
