#![allow(clippy::unwrap_used)]

use clap::{Args as _, FromArgMatches as _};

use super::*;

/// Every option of its own with a value that is not its default.
const ALL: [(&str, &str); 23] = [
    ("masters", "10.0.0.1:7401"),
    ("join-token", "join-1"),
    ("join-token-file", "/a/token"),
    ("insecure", "true"),
    ("node", "n1"),
    ("label", "city=oslo"),
    ("advertise", "203.0.113.7,operator=telia,bandwidth=1gbps"),
    ("instance-ports", "1-2,8080"),
    ("cpu", "1.5"),
    ("memory", "1GiB"),
    ("disk", "2GiB"),
    ("reserve-cpu", "0.5"),
    ("reserve-memory", "3MiB"),
    ("reserve-disk", "4MiB"),
    ("orphan-grace", "5m"),
    ("keep-images", "3"),
    ("disk-watermark", "80"),
    ("keep-dead", "5"),
    ("keep-dead-for", "1h"),
    ("overcommit", "2"),
    ("runtime", "process"),
    ("allow-privileged", "true"),
    ("docker-config", "/a/config.json"),
];

fn command() -> clap::Command {
    Args::augment_args(clap::Command::new("agent"))
}

fn given(words: &[&str]) -> Args {
    let words = ["agent"].iter().chain(words);
    Args::from_arg_matches(&command().get_matches_from(words)).unwrap()
}

fn read(text: &str) -> anyhow::Result<Args> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    config::read(&path, "agent")
}

#[test]
fn every_option_means_the_same_in_the_file() {
    let none = format!("{:?}", Args::default());
    for (name, value) in ALL {
        let line = format!("{:?}", given(&[&format!("--{name}={value}")]));
        assert_ne!(line, none, "--{name}");
        let file = read(&format!("{name} = {value:?}\n")).unwrap();
        assert_eq!(format!("{file:?}"), line, "{name}");
        let over = Args::default().over(file);
        assert_eq!(
            format!("{over:?}"),
            line,
            "{name} of the file is passed over"
        );
    }
    let of_balancer = balancer::Args::augment_args(clap::Command::new("balancer"));
    let of_balancer: Vec<_> = of_balancer
        .get_arguments()
        .filter_map(|a| a.get_long())
        .collect();
    let command = command();
    let own = command.get_arguments().filter_map(|a| a.get_long());
    let untold = own.filter(|n| !of_balancer.contains(n) && !ALL.iter().any(|(name, _)| name == n));
    assert_eq!(untold.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn every_bad_value_is_told_in_one_line_with_its_key() {
    for (text, told) in [
        (
            "masters = \"10.0.0.1\"",
            "\"10.0.0.1\" is no master's address",
        ),
        ("masters = [\"http://a:1\"]", "--masters"),
        ("masters = \"[::1:1\"", "HOST:PORT"),
        ("node = \"a b\"", "--node"),
        ("label = \"oslo\"", "city=oslo"),
        ("advertise = \"0.0.0.0\"", "no address others can reach"),
        ("advertise = \"1.2.3.4,speed=1\"", "\"speed=1\""),
        ("advertise = \"1.2.3.4,bandwidth=1\"", "bandwidth"),
        (
            "instance-ports = \"20000-24999,9-1\"",
            "\"9-1\" is no port and no range",
        ),
        ("instance-ports = [\"1-2\", 0]", "\"0\" is no port"),
        ("instance-ports = \"8080,\"", "'--instance-ports <PORTS>'"),
        ("instance-ports = 70000", "FIRST-LAST"),
        ("instance-ports = true", "\"true\" is no port"),
        ("cpu = -1", "\"-1\" is no number of cores"),
        ("memory = 5", "--memory"),
        ("overcommit = 0", "no ratio"),
        ("runtime = \"podman\"", "there are docker and process"),
        ("http = \"nowhere\"", "--http"),
        ("shape = 1", "shape is no option"),
    ] {
        let error = format!("{:#}", read(text).expect_err(text));
        assert!(error.contains(told), "{text}: {error}");
        assert!(
            error.contains("agent.toml: ") && !error.contains('\n'),
            "{error}"
        );
    }
    assert_eq!(
        read("reserve-cpu = 0.5").unwrap().reserve_cpu,
        Some(Cpu::millicores(500))
    );
}

#[test]
fn instances_ports_are_a_set_however_they_are_written() {
    let set = |text: &str| read(text).unwrap().needs().ports.to_string();
    for text in [
        "instance-ports = \"20000-24999,8443,8080\"",
        "instance-ports = \"8080, 8443, 20000-22999, 22000-24999\"",
        "instance-ports = [\"20000-24999\", 8443, \"8080\"]",
        "instance-ports = [\"20000-24999,8080\", 8443]",
    ] {
        assert_eq!(set(text), "8080,8443,20000-24999", "{text}");
    }
    assert_eq!(set("instance-ports = 8080"), "8080");
    assert_eq!(set("cpu = 1"), "20000-29999");
    let line = given(&[
        "--instance-ports",
        "20000-24999",
        "--instance-ports=8080,81",
    ]);
    assert_eq!(line.needs().ports.to_string(), "81,8080,20000-24999");
    let many = |pieces: u16| {
        let pieces: Vec<_> = (0..pieces).map(|n| (1000 + 2 * n).to_string()).collect();
        let list = format!("--instance-ports={}", pieces.join(","));
        given(&["--masters=10.0.0.1:7401", &list]).check()
    };
    many(64).unwrap();
    let error = many(65).unwrap_err().to_string();
    assert!(
        error.contains("instance-ports: 1128 is one too many"),
        "{error}"
    );
}

#[test]
fn the_example_can_be_used() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/examples/agent.toml");
    let args: Args = config::read(path.as_ref(), "agent").unwrap();
    args.check().unwrap();
    assert_eq!((args.masters.len(), args.advertise.len()), (3, 3));
    assert_eq!(args.advertise[2].operator.as_deref(), Some("telia"));
}

#[test]
fn masters_and_the_way_to_them_are_checked() {
    let nobody = Args::default().check().unwrap_err().to_string();
    assert!(nobody.contains("--masters"));
    let plain = |args: &Args| args.must_be_encrypted("join-1").map_err(|e| e.to_string());
    let far = given(&["--masters", "10.0.0.1:7401"]);
    assert!(plain(&far).unwrap_err().contains("--insecure"));
    let encrypted = format!("join-1.{}", "0".repeat(32));
    far.must_be_encrypted(&encrypted).unwrap();
    let accepted = given(&["--masters", "10.0.0.1:7401", "--insecure"]);
    assert_eq!(plain(&accepted), Ok(()));
    let near = given(&["--masters", "127.0.0.1:7401"]);
    near.check().unwrap();
    assert_eq!(plain(&near), Ok(()));
    assert_eq!(near.address().unwrap(), IpAddr::from([127, 0, 0, 1]));
    let advertised = given(&["--masters", "127.0.0.1:1", "--advertise", "192.0.2.1"]);
    assert_eq!(advertised.address().unwrap(), IpAddr::from([192, 0, 2, 1]));
}

#[test]
fn a_node_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(dir.path()).unwrap();
    assert_eq!(given(&["--node", "n1"]).name(&data).unwrap().as_str(), "n1");
    assert_eq!(Args::default().name(&data).unwrap().as_str(), "n1");
    let error = given(&["--node", "n2"])
        .name(&data)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("n1") && error.contains("--data-dir"),
        "{error}"
    );
}

#[test]
fn one_token_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "join-2\n").unwrap();
    assert_eq!(token::given(None, Some(&path)).unwrap(), "join-2");
    assert_eq!(token::given(Some("join-1"), None).unwrap(), "join-1");
    let both = token::given(Some("x"), Some(&path))
        .unwrap_err()
        .to_string();
    assert!(both.contains("leave one of them out"), "{both}");
    let odd = token::given(Some("a b"), None).unwrap_err().to_string();
    assert!(odd.contains("characters"), "{odd}");
}
