//! What a spec asks of a container engine, of ports, volumes and files.

use serde_json::json;

use super::{problems, spec};
use crate::app::{AppSpec, Ulimit};

/// As those of the other sections.
pub(super) const MISTAKES: &[(&str, &str, &str)] = &[
    (
        r#"{"container": {"cap_add": ["NET_ADMINN"]}}"#,
        "container.cap_add[0]",
        "did you mean \"NET_ADMIN\"?",
    ),
    (
        r#"{"container": {"sysctls": {"vm.swappiness": "1"}}}"#,
        "container.sysctls[\"vm.swappiness\"]",
        "is the node's",
    ),
    (
        r#"{"container": {"sysctls": {"net.core.somaxconn": 1}}}"#,
        "container.sysctls[\"net.core.somaxconn\"]",
        "write it like \"1\"",
    ),
    (
        r#"{"container": {"network": "host", "sysctls": {"net.core.somaxconn": "1"}}}"#,
        "container.sysctls[\"net.core.somaxconn\"]",
        "it is the node's",
    ),
    (
        r#"{"container": {"ulimits": {"nofiles": 1}}}"#,
        "container.ulimits.nofiles",
        "did you mean \"nofile\"?",
    ),
    (
        r#"{"container": {"ulimits": {"nofile": {"soft": 2, "hard": 1}}}}"#,
        "container.ulimits.nofile.soft",
        "soft 2 is more than hard 1",
    ),
    (
        r#"{"container": {"dns": ["one.one.one.one"]}}"#,
        "container.dns[0]",
        "is no address",
    ),
    (
        r#"{"container": {"extra_hosts": {"db": "db.internal"}}}"#,
        "container.extra_hosts.db",
        "is no address",
    ),
    (
        r#"{"container": {"network": "none"}}"#,
        "container.network",
        "nobody reaches its ports",
    ),
    (
        r#"{"container": {"network": "host"}, "ports": [{"name": "http", "container": 80, "host": 8080}]}"#,
        "container.network",
        "{{ port.http }}",
    ),
    (
        r#"{"container": {"network": "a/b"}}"#,
        "container.network",
        "is no network",
    ),
    (
        r#"{"container": {"log": {"options": {"max-size": "1m"}}}}"#,
        "container.log.driver",
        "is missing",
    ),
    (
        r#"{"container": {"shm_size": 64}}"#,
        "container.shm_size",
        "expected a size",
    ),
    (
        r#"{"container": {"priviledged": true}}"#,
        "container.priviledged",
        "did you mean \"privileged\"?",
    ),
    (
        r#"{"limits": {"memory": "32MiB"}}"#,
        "limits.memory",
        "32MiB is less than 64MiB, which is reserved",
    ),
    (
        r#"{"limits": {"cpu": 0.05}}"#,
        "limits.cpu",
        "0.05 is less than 0.1",
    ),
    (r#"{"limits": {"pids": 0}}"#, "limits.pids", "from 1 to"),
    (
        r#"{"pull_policy": "sometimes"}"#,
        "pull_policy",
        "there is missing, always or never",
    ),
    (
        r#"{"ports": [{"name": "a", "host": "9-1"}]}"#,
        "ports[0].host",
        "at most 256 ports",
    ),
    (
        r#"{"ports": [{"name": "a", "host": "10-12", "container": 10}]}"#,
        "ports[0].host",
        "are not as many",
    ),
    (
        r#"{"ports": [{"name": "a", "host": "10-12"}, {"name": "b", "host": 12}]}"#,
        "ports[1].host",
        "the same host port",
    ),
    (
        r#"{"ports": [{"name": "a", "protocol": "udp"}], "service": [{"hosts": ["a"]}]}"#,
        "service[0].port",
        "which balancers do not carry",
    ),
    (
        r#"{"ports": [{"name": "a", "host": "10-12"}], "healthcheck": {"type": "tcp", "port": "a"}}"#,
        "healthcheck.port",
        "is a range",
    ),
    (
        r#"{"volumes": [{"source": "data", "target": "/x"}]}"#,
        "volumes[0].source",
        "has type: volume",
    ),
    (
        r#"{"volumes": [{"type": "volume", "source": "/a", "target": "/x"}]}"#,
        "volumes[0].source",
        "is no volume's name",
    ),
    (
        r#"{"volumes": [{"type": "tmpfs", "source": "/a", "target": "/x"}]}"#,
        "volumes[0].source",
        "made anew",
    ),
    (
        r#"{"volumes": [{"source": "/a", "target": "/x", "size": "1MiB"}]}"#,
        "volumes[0].size",
        "only a volume of type tmpfs",
    ),
    (
        r#"{"volumes": [{"type": "tmpfs", "target": "/x", "exclusive": true}]}"#,
        "volumes[0].exclusive",
        "no other instance has this one's tmpfs",
    ),
    (
        r#"{"volumes": [{"source": "/a", "target": "/x", "read_only": true, "exclusive": true}]}"#,
        "volumes[0].exclusive",
        "nobody writes to it",
    ),
    (
        r#"{"update": {"strategy": "blue_green"}, "volumes": [{"source": "/a", "target": "/x", "exclusive": true}]}"#,
        "update.strategy",
        "must be recreate",
    ),
    (r#"{"env_file": "a.env"}"#, "env_file", "the command line"),
    (
        r#"{"files": [{"target": "/a", "content": "", "from": "a"}]}"#,
        "files[0].from",
        "the command line",
    ),
    (
        r#"{"files": [{"target": "/a/../b", "content": ""}]}"#,
        "files[0].target",
        "no plain path",
    ),
    (
        r#"{"files": [{"target": "/a"}]}"#,
        "files[0].content",
        "is missing",
    ),
    (
        r#"{"files": [{"target": "/a", "content": "{{ port.grpc }}"}]}"#,
        "files[0].content",
        "with `template: false` nothing in it is filled in",
    ),
    (
        r#"{"files": [{"target": "/a", "content": "", "mode": "644"}]}"#,
        "files[0].mode",
        "write it like \"0644\"",
    ),
    (
        r#"{"files": [{"target": "/a", "content": "", "mode": 420}]}"#,
        "files[0].mode",
        "expected text",
    ),
];

#[test]
fn everything_a_container_can_have_is_read_and_written_alike() {
    let asked = json!({
        "pull_policy": "always",
        "limits": {"cpu": 1.5, "memory": "128MiB", "disk": "1GiB", "pids": 100},
        "ports": [
            {"name": "http"},
            {"name": "rtp", "container": "10000-10010", "host": "20000-20010", "protocol": "udp"},
            {"name": "rtcp", "host": "20000-20010"},
        ],
        "volumes": [
            {"source": "/a", "target": "/a"},
            {"type": "volume", "source": "data", "target": "/b"},
            {"type": "tmpfs", "target": "/c", "size": "1MiB"},
        ],
        "files": [{"target": "/etc/a", "content": "{{ port.http }}", "mode": "0400", "uid": 1, "gid": 2},
            {"target": "/etc/b", "content": "{{ mustache }}", "template": false}],
        "container": {
            "network": "backend", "hostname": "a.b", "dns": ["192.0.2.53", "2001:db8::53"], "dns_search": ["example"],
            "extra_hosts": {"db": "192.0.2.1", "node": "host-gateway"},
            "cap_add": ["net_admin", "CAP_SYS_TIME"], "cap_drop": ["ALL"], "privileged": true, "read_only": true, "init": true,
            "sysctls": {"net.core.somaxconn": "1024"}, "shm_size": "1MiB",
            "ulimits": {"nofile": 1024, "core": {"soft": 0, "hard": -1}},
            "log": {"driver": "local", "options": {"max-size": "1m"}},
        },
    });
    let given = AppSpec::decode(&spec(asked)).unwrap_or_else(|e| panic!("{e:#?}"));
    assert_eq!(given.container.cap_add, ["NET_ADMIN", "SYS_TIME"]);
    assert_eq!(
        given.container.ulimits["nofile"],
        Ulimit {
            soft: 1024,
            hard: 1024
        }
    );
    assert_eq!(given.ports[1].count(), 11);
    let again: AppSpec = serde_json::from_str(&given.canonical()).unwrap();
    assert_eq!(again, given);
    let again = AppSpec::decode(&serde_json::from_str(&given.canonical()).unwrap()).unwrap();
    assert_eq!(again, given);
}

#[test]
fn an_app_has_a_bounded_amount_of_files() {
    let file =
        |n: usize, size: usize| json!({"target": format!("/f{n}"), "content": "x".repeat(size)});
    let long = spec(json!({"files": [file(0, (256 << 10) + 1)]}));
    assert!(problems(&long)[0].starts_with("files[0].content: 262145 bytes are more"));
    let many: Vec<_> = (0..3).map(|n| file(n, 200 << 10)).collect();
    let found = problems(&spec(json!({"files": many})));
    assert!(found.len() == 1 && found[0].starts_with("files: 614400 bytes in all"));
}
