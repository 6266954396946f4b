#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::app::HealthCheck;
use crate::units::Span;

mod checks;
mod container;
mod tasks;

/// A valid spec with `change` laid over its top level.
fn spec(change: Value) -> Value {
    let mut spec = json!({"app": "web", "command": ["/bin/web"], "ports": [{"name": "http"}]});
    let (Some(spec_map), Value::Object(change)) = (spec.as_object_mut(), change) else {
        unreachable!()
    };
    spec_map.extend(change);
    spec
}

/// Problems as `path: message`.
fn problems(value: &Value) -> Vec<String> {
    let problems = AppSpec::decode(value).err().unwrap_or_default();
    problems
        .iter()
        .map(|p| format!("{}: {}", p.path, p.message))
        .collect()
}

#[test]
fn the_smallest_spec_gets_every_default() {
    let spec = AppSpec::decode(&spec(
        json!({"service": [{"hosts": ["a.b"]}], "healthcheck": {"type": "http"}}),
    ))
    .unwrap();
    assert_eq!((spec.replicas, spec.kind), (1, Kind::Service));
    assert_eq!(spec.resources, Resources::default());
    assert_eq!(spec.service[0].port, "http");
    assert_eq!(
        (spec.service[0].weight, spec.stop.signal.as_str()),
        (1, "SIGTERM")
    );
    let HealthCheck {
        port,
        path,
        interval,
        start_interval,
        timeout,
        rise,
        fall,
        ..
    } = spec.healthcheck.unwrap();
    assert_eq!(
        (port.as_deref(), path.as_deref()),
        (Some("http"), Some("/"))
    );
    assert_eq!(
        (interval, start_interval, timeout),
        (Span::seconds(2), Span::millis(200), Span::seconds(1))
    );
    assert_eq!((rise, fall), (1, 3));
}

#[test]
fn nobody_judges_an_app_without_check_and_service_so_it_has_to_stay_up() {
    let alone = json!({"app": "job", "command": ["x"]});
    let update = AppSpec::decode(&alone).unwrap().update;
    assert_eq!(update.min_healthy_time, Span::seconds(3));
    let judged = spec(json!({"service": [{"hosts": ["a.b"]}]}));
    let update = AppSpec::decode(&judged).unwrap().update;
    assert_eq!(update.min_healthy_time, Span::seconds(0));
}

#[test]
fn defaults_follow_what_is_written() {
    let spec = spec(json!({
        "healthcheck": {"type": "tcp", "interval": "100ms"},
        "update": {"progress_deadline": "30s"},
        "stop": {"drain_timeout": "2h", "signal": "INT"},
        "restart": {"delay": "5m"},
    }));
    let spec = AppSpec::decode(&spec).unwrap();
    let check = spec.healthcheck.unwrap();
    assert_eq!(
        (check.start_interval, check.timeout),
        (Span::millis(100), Span::millis(100))
    );
    assert_eq!(spec.update.healthy_deadline, Span::seconds(30));
    assert_eq!(spec.stop.session_drain_timeout, Span::seconds(7200));
    assert_eq!(spec.stop.signal, "SIGINT");
    assert_eq!(spec.restart.max_delay, Span::seconds(300));
}

/// One mistake each: where it is told, and a part of what is told.
const MISTAKES: &[(&str, &str, &str)] = &[
    (
        r#"{"app": 5}"#,
        "app",
        "expected a name, found the number 5; write it like web",
    ),
    (
        r#"{"kind": "cron"}"#,
        "kind",
        "not supported yet: \"cron\"; for now there is service",
    ),
    (
        r#"{"kind": "servise"}"#,
        "kind",
        "did you mean \"service\"?",
    ),
    (r#"{"image": "a b"}"#, "image", "one word"),
    (
        r#"{"command": "/bin/web"}"#,
        "command",
        "expected a list, found the text \"/bin/web\"",
    ),
    (
        r#"{"command": ["x", 8080]}"#,
        "command[1]",
        "write it like \"8080\"",
    ),
    (
        r#"{"command": ["{{ port.grpc }}"]}"#,
        "command[0]",
        "unknown placeholder",
    ),
    (
        r#"{"environment": {"A": "{{ app"}}"#,
        "environment.A",
        "without",
    ),
    (
        r#"{"environment": {"A=B": "x"}}"#,
        "environment[\"A=B\"]",
        "name of a variable",
    ),
    (r#"{"environment": null}"#, "environment", "found nothing"),
    (r#"{"workdir": "srv"}"#, "workdir", "must begin with \"/\""),
    (
        r#"{"replicas": -1}"#,
        "replicas",
        "a whole number from 0 to 10000",
    ),
    (
        r#"{"replicas": 10001}"#,
        "replicas",
        "found the number 10001",
    ),
    (
        r#"{"replicas": "3"}"#,
        "replicas",
        "found the text \"3\"; write it like 1",
    ),
    (
        r#"{"resources": {"cpu": "half"}}"#,
        "resources.cpu",
        "expected a number",
    ),
    (
        r#"{"resources": {"cpu": -0.5}}"#,
        "resources.cpu",
        "not a number of cores",
    ),
    (
        r#"{"resources": {"memory": 256}}"#,
        "resources.memory",
        "expected a size, found the number 256",
    ),
    (
        r#"{"resources": {"memory": "1MiB"}}"#,
        "resources.memory",
        "at least 6MiB",
    ),
    (
        r#"{"resources": {"bandwidth": "50mbps"}}"#,
        "resources.bandwidth",
        "not supported yet: bandwidth",
    ),
    (
        r#"{"resources": {"mem": "1GiB"}}"#,
        "resources.mem",
        "did you mean \"memory\"?",
    ),
    (
        r#"{"ports": {"http": 80}}"#,
        "ports",
        "expected a list, found a table",
    ),
    (
        r#"{"ports": [{"name": "http"}, {"name": "http"}]}"#,
        "ports[1].name",
        "another port has the same name",
    ),
    (
        r#"{"ports": [{"name": "Http"}]}"#,
        "ports[0].name",
        "not a port name",
    ),
    (
        r#"{"ports": [{"name": "a", "host": 80}, {"name": "b", "host": 80}]}"#,
        "ports[1].host",
        "the same host port",
    ),
    (
        r#"{"ports": [{"name": "a", "container": 0}]}"#,
        "ports[0].container",
        "from 1 to 65535",
    ),
    (
        r#"{"service": [{"port": "http"}]}"#,
        "service[0].hosts",
        "is missing",
    ),
    (
        r#"{"service": [{"port": "https", "hosts": ["a"]}]}"#,
        "service[0].port",
        "did you mean \"http\"?",
    ),
    (
        r#"{"service": [{"hosts": ["*.a"]}]}"#,
        "service[0].hosts[0]",
        "wildcards",
    ),
    (
        r#"{"service": [{"hosts": ["store"]}]}"#,
        "service[0].hosts[0]",
        "balancers use themselves",
    ),
    (
        r#"{"service": [{"hosts": ["a..b"]}]}"#,
        "service[0].hosts[0]",
        "not a host name",
    ),
    (
        r#"{"service": [{"hosts": ["a"]}, {"hosts": ["a"]}]}"#,
        "service[1].hosts[0]",
        "named twice",
    ),
    (
        r#"{"service": [{"hosts": ["a"], "weight": 0}]}"#,
        "service[0].weight",
        "from 1 to 1000",
    ),
    (
        r#"{"service": [{"hosts": ["a"], "balance": "hash"}]}"#,
        "service[0].balance",
        "not supported yet",
    ),
    (
        r#"{"service": [{"hosts": ["a"], "zone": "East"}]}"#,
        "service[0].zone",
        "zone name \"East\" is not valid",
    ),
    (
        r#"{"service": [{"listen": 1935}]}"#,
        "service[0].listen",
        "is for protocol: tcp",
    ),
    (
        r#"{"service": [{"protocol": "tcp"}]}"#,
        "service[0].listen",
        "is missing; write it like listen: 3131",
    ),
    (
        r#"{"service": [{"protocol": "tcp", "listen": 22}]}"#,
        "service[0].listen",
        "expected a whole number from 1024 to 65535",
    ),
    (
        r#"{"service": [{"protocol": "tcp", "listen": 3131, "hosts": ["a"]}]}"#,
        "service[0].hosts",
        "what leads to a tcp service is its port `listen`",
    ),
    (
        r#"{"service": [{"protocol": "tcp", "listen": 3131}, {"protocol": "tcp", "listen": 3131}]}"#,
        "service[1].listen",
        "port 3131 is listened on twice",
    ),
    (
        r#"{"service": [{"protocol": "tcp", "listen": 3131, "balance": "url_hash"}]}"#,
        "service[0].balance",
        "a tcp connection has none",
    ),
    (
        r#"{"service": [{"protocol": "udp", "listen": 3131}]}"#,
        "service[0].protocol",
        "not supported yet",
    ),
    (
        r#"{"service": [], "liveness": {"after_failures": 10}}"#,
        "liveness",
        "nothing is checked",
    ),
    (
        r#"{"update": {"strategy": "canary"}}"#,
        "update.strategy",
        "not supported yet",
    ),
    (
        r#"{"update": {"canary": 1}}"#,
        "update.canary",
        "not supported yet",
    ),
    (
        r#"{"update": {"auto_promote": false}}"#,
        "update.auto_promote",
        "not supported yet",
    ),
    (
        r#"{"update": {"auto_promote": {"after": "5m"}}}"#,
        "update.auto_promote",
        "not supported yet",
    ),
    (
        r#"{"update": {"max_unavailable": 1}}"#,
        "update.max_unavailable",
        "less than replicas 1",
    ),
    (
        r#"{"update": {"healthy_deadline": "1h"}}"#,
        "update.healthy_deadline",
        "is more than progress_deadline 10m",
    ),
    (
        r#"{"stop": {"signal": "SIGTREM"}}"#,
        "stop.signal",
        "did you mean \"SIGTERM\"?",
    ),
    (
        r#"{"stop": {"session_drain_timeout": "25h"}}"#,
        "stop.session_drain_timeout",
        "from 0s to 1d",
    ),
    (
        r#"{"placement": {"strategy": "script:mine"}}"#,
        "placement.strategy",
        "not supported yet",
    ),
    (
        r#"{"placement": {"constraints": ["node.arch == amd64"]}}"#,
        "placement.constraints",
        "not supported yet",
    ),
    (
        r#"{"restart": {"delay": "2m", "max_delay": "1m"}}"#,
        "restart.delay",
        "delay 2m is more than max_delay 1m",
    ),
    (
        r#"{"volumes": [{"source": "/a", "target": "/x"}, {"source": "/b", "target": "/x"}]}"#,
        "volumes[1].target",
        "same target",
    ),
    (
        r#"{"volumes": [{"source": "/a", "target": "/x", "read_only": "yes"}]}"#,
        "volumes[0].read_only",
        "true or false",
    ),
    (
        r#"{"secrets": ["DB_PASSWORD", {"name": "A", "file": "/a"}]}"#,
        "secrets",
        "not supported yet",
    ),
    (
        r#"{"disconnect": {"stop_after": "1m", "lost_after": "5m"}}"#,
        "disconnect.lost_after",
        "not supported yet",
    ),
    (
        r#"{"disconnect": {"stop_after": "1m", "replace": true}}"#,
        "disconnect.replace",
        "not supported yet",
    ),
    (
        r#"{"disconnect": {"stop_after": "1m", "reconcile": "keep_original"}}"#,
        "disconnect.reconcile",
        "not supported yet",
    ),
    (
        r#"{"disconnect": {"stop_after": "10ms"}}"#,
        "disconnect.stop_after",
        "from 1s to 1d",
    ),
    (
        r#"{"reschedule": {"delay": "5s", "max_delay": "10m", "unlimited": true}}"#,
        "reschedule",
        "not supported yet",
    ),
    (
        r#"{"hooks": {"pre_deploy": {"command": ["migrate"], "timeout": "5m"}}}"#,
        "hooks",
        "not supported yet",
    ),
    (
        r#"{"notify": [{"on": ["deployment_failed"], "webhook": "ops"}]}"#,
        "notify",
        "not supported yet",
    ),
    (
        r#"{"depends_on": ["db"]}"#,
        "depends_on",
        "not supported yet",
    ),
    (r#"{"namespace": "shop"}"#, "namespace", "not supported yet"),
    (
        r#"{"env": {}}"#,
        "env",
        "unknown field; did you mean \"environment\"?",
    ),
    (
        r#"{"qqq": 1}"#,
        "qqq",
        "unknown field; there is app, kind, image, command",
    ),
];

#[test]
fn each_mistake_is_told_once_and_in_its_place() {
    for (change, path, message) in MISTAKES
        .iter()
        .chain(container::MISTAKES)
        .chain(checks::MISTAKES)
    {
        let found = problems(&spec(serde_json::from_str(change).unwrap()));
        assert!(found.len() == 1, "{change}: {found:#?}");
        assert!(
            found[0].starts_with(&format!("{path}: ")) && found[0].contains(message),
            "{change}: {found:#?}"
        );
    }
}

#[test]
fn features_of_later_are_type_checked_too() {
    let cron = json!({"app": "report", "kind": "cron", "command": ["x"], "cron": {
        "schedule": "*/15 * * * *", "timezone": "Asia/Shanghai", "overlap": "skip", "catch_up": "one",
        "start_deadline": "5m", "timeout": "10m", "retries": 1, "history": 20}});
    assert_eq!(problems(&cron).len(), 2, "{:?}", problems(&cron));
    let wrong =
        spec(json!({"cron": {"schedule": 5, "overlap": "skipp", "retry": 1}, "secrets": [5]}));
    assert_eq!(
        problems(&wrong),
        [
            "secrets: not supported yet: secrets; remove the field",
            "secrets[0]: expected a table of fields, found the number 5; write it like name: value",
            "cron: not supported yet: cron jobs; remove the field",
            "cron.schedule: expected text, found the number 5; write it like \"5\"",
            "cron.overlap: \"skipp\" is unknown; did you mean \"skip\"?",
            "cron.retry: unknown field; did you mean \"retries\"?",
        ]
    );
}

#[test]
fn all_mistakes_come_at_once_and_own_notes_are_left_alone() {
    let spec = json!({
        "x-owner": "me",
        "replicas": 1.5,
        "resources": {"x-why": 1, "disk": "lots"},
        "ports": [{"x-a": 1}, 7],
        "service": [{}],
    });
    assert_eq!(
        problems(&spec),
        [
            "app: is missing; write it like app: web",
            ": an app needs `image`, or `command` where nodes run plain processes, or both",
            "replicas: expected a whole number from 0 to 10000, found the number 1.5; write it like 1",
            "resources.disk: \"lots\" is not a size, write it like \"256MiB\", \"1GiB\" or \"64KiB\"",
            "ports[0].name: is missing; write it like name: http",
            "ports[1]: expected a table of fields, found the number 7; write it like name: value",
            "service[0].port: is missing, and the app has no ports; add one to `ports`",
            "service[0].hosts: is missing; write it like [web.example]",
        ]
    );
}

#[test]
fn an_app_has_a_bounded_number_of_hosts() {
    let hosts: Vec<_> = (0..65).map(|n| format!("h{n}.example")).collect();
    let found = problems(&spec(json!({"service": [{"hosts": hosts}]})));
    assert_eq!(
        found,
        ["service: 65 hosts and listen ports are more than the 64 one app may have"]
    );
}

#[test]
fn redundant_words_of_the_present_are_accepted() {
    let spec = spec(
        json!({"kind": "service", "update": {"auto_promote": true, "strategy": "blue_green"},
        "placement": {"strategy": "spread"}, "service": [{"protocol": "http", "hosts": ["localhost"]}, {"protocol": "tcp", "listen": 3131}]}),
    );
    assert_eq!(problems(&spec), Vec::<String>::new());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "(10s|5m|1GiB|50mbps|http|web|\\{\\{ app \\}\\})".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((any_key(), inner), 0..8)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    let known = "(app|kind|image|command|environment|labels|replicas|resources|cpu|memory|ports|name|container|host|service|port|protocol\
        |hosts|listen|balance|weight|healthcheck|type|path|expect|interval|timeout|update|strategy|auto_promote|stop|signal|placement|restart\
        |volumes|source|target|files|content|mode|limits|pids|container|network|ulimits|sysctls|cap_add|log|extra_hosts|cron|secrets|hooks|notify|x-y)";
    prop_oneof![known, ".{0,8}"]
}

prop_compose! {
    fn any_spec()(
        (app, replicas, cpu, memory) in ("[a-z][a-z0-9]{0,20}", 1u32..100, 0u32..100_000, 6u64..100_000),
        names in proptest::collection::btree_set("[a-z][a-z0-9_-]{0,8}", 1..4),
        hosts in proptest::collection::btree_set("[a-z0-9]{1,8}\\.[a-z]{1,5}", 1..5),
        (container, weight, rise) in (proptest::option::of(1u16..), 1u32..1000, 1u32..100),
        interval in 10u64..3_600_000,
        environment in proptest::collection::btree_map("[A-Z_]{1,8}", "[^{\0]{0,20}", 0..4),
        (grace, balance) in (0u64..3_600_000, prop_oneof![Just("round_robin"), Just("ip_hash"), Just("least_conn"), Just("p2c"), Just("ip_maglev")]),
        max_per_node in proptest::option::of(1u32..50),
    ) -> Value {
        let ports: Vec<_> = names.iter().map(|name| match container {
            Some(container) => json!({"name": name, "container": container}),
            None => json!({"name": name}),
        }).collect();
        let port = names.first();
        let placement = match max_per_node {
            Some(most) => json!({"max_per_node": most}),
            None => json!({}),
        };
        json!({
            "app": app, "command": ["x", "{{ app }}"], "replicas": replicas, "environment": environment,
            "resources": {"cpu": f64::from(cpu) / 1000.0, "memory": format!("{memory}MiB")},
            "ports": ports, "placement": placement, "stop": {"grace_period": format!("{grace}ms")},
            "service": [{"port": port, "hosts": hosts, "weight": weight, "balance": balance}],
            "healthcheck": {"type": "http", "port": port, "interval": format!("{interval}ms"), "rise": rise},
        })
    }
}

proptest! {
    #[test]
    fn no_json_makes_it_panic(value in any_json()) {
        if let Err(problems) = AppSpec::decode(&value) {
            prop_assert!(!problems.is_empty());
        }
    }

    #[test]
    fn no_section_makes_it_panic(key in any_key(), value in any_json()) {
        let _ = AppSpec::decode(&spec(json!({key: value})));
    }

    #[test]
    fn canonical_json_decodes_to_itself(value in any_spec()) {
        let spec = AppSpec::decode(&value).unwrap();
        let canonical = spec.canonical();
        let again = AppSpec::decode(&serde_json::from_str(&canonical).unwrap()).unwrap();
        prop_assert_eq!(&again, &spec);
        prop_assert_eq!(again.canonical(), canonical.clone());
        let by_serde: AppSpec = serde_json::from_str(&canonical).unwrap();
        prop_assert_eq!(by_serde, spec);
    }
}

#[test]
fn variables_that_nothing_replaces_are_refused() {
    let refused = [
        json!({"image": "web:${TAG}"}),
        json!({"workdir": "/srv/${APP}"}),
        json!({"healthcheck": {"type": "http", "path": "/${X}"}}),
        json!({"command": ["/bin/web", "--port=$PORT"]}),
        json!({"command": ["/bin/web", "${PORT_HTTP}"]}),
        json!({"image": "web:1", "command": ["/bin/web", "$PORT"]}),
    ];
    for change in refused {
        let told = problems(&spec(change.clone()));
        assert!(
            told.len() == 1 && told[0].contains("nothing replaces the variable"),
            "{change}: {told:?}"
        );
    }
    let meant = [
        json!({"command": ["/bin/sh", "-c", "exec /bin/web $PORT ${HOME}"]}),
        json!({"command": ["/bin/web", "$PORTAL", "a$", "^x$"]}),
        json!({"image": "web:1", "command": ["exec web $PORT"]}),
        json!({"healthcheck": {"type": "command", "command": "probe $PORT ${HOME}"}}),
        json!({"files": [{"target": "/a", "content": "${level}"}]}),
        json!({"environment": {"PATTERN": "${level} $PORT"}, "labels": {"a": "${b}"}}),
    ];
    for change in meant {
        assert_eq!(problems(&spec(change.clone())), [""; 0], "{change}");
    }
}
