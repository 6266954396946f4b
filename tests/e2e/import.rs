//! `hancock upstream import` into a running balancer: from a real etcd, from what a Consul answered, and from files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use hancock_testkit::etcd::Etcd;
use hancock_testkit::fixture;
use hancock_testkit::http;
use hancock_testkit::port::{free_port, local, quiet_port};
use hancock_testkit::skip::{skip, test_name};
use hancock_testkit::wait_for;
use serde_json::{Value, json};

use crate::balancer::{Alone, Origin};
use crate::world::{BINARY, SOON};

/// A running balancer that serves `kept.localhost` already.
fn target() -> Alone {
    let mut alone = Alone::at_rest();
    alone.up(&alone.options());
    alone.put("kept.localhost", 9, false);
    alone
}

/// Exit code, what became of each record, and what was said of the whole.
struct Ran {
    code: Option<i32>,
    results: BTreeMap<String, (String, String)>,
    told: String,
}

/// Imports into `to`; programs and people are told the same.
fn import(to: &Alone, args: &[&str]) -> Ran {
    let mut command = Command::new(BINARY);
    command
        .args(["upstream", "import", "--output", "json"])
        .args(args);
    command.args(["--to", &to.admin.to_string()]);
    command.args(["--to-stream", &to.stream_admin.to_string()]);
    let output = command.output().unwrap();
    let lines: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    let results = lines.iter().map(|line| {
        let name = format!("{} {}", text(line, "side"), text(line, "name"));
        (name, (text(line, "result"), text(line, "reason")))
    });
    Ran {
        code: output.status.code(),
        results: results.collect(),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    #[track_caller]
    fn says(&self, record: &str, result: &str, reason: &str) {
        let (seen, why) = self.results.get(record).unwrap_or_else(|| {
            panic!("nothing of {record:?} in {:?}; {}", self.results, self.told)
        });
        assert!(
            seen == result && why.contains(reason),
            "{record}: {seen} {why:?}"
        );
    }
}

fn upstreams(of: &Alone) -> Value {
    let page = http::get(of.admin, "admin", "/upstreams").unwrap();
    serde_json::from_str(&page.body).unwrap()
}

fn short(port: u16) -> String {
    json!({"servers": [{"host": "127.0.0.1", "port": port}], "enable": false}).to_string()
}

/// What a Slardar's store holds in these tests, by key behind the prefix, with one record of each kind of mistake.
fn stored(origin: u16, listen: u16) -> Vec<(String, String)> {
    let level = json!({"servers": [{"host": "127.0.0.1", "port": origin}]}).to_string();
    let named = format!(r#"{{"cluster":{{"z":{level},"a":{level}}},"enable":false}}"#);
    let records = [
        ("upstreams/web.localhost".to_owned(), short(origin)),
        ("upstreams/named.localhost".to_owned(), named),
        ("upstreams/broken".to_owned(), "{\"servers\":".to_owned()),
        ("upstreams/empty".to_owned(), "{}".to_owned()),
        (
            "upstreams/portless".to_owned(),
            r#"{"servers":[{"host":"127.0.0.1"}]}"#.to_owned(),
        ),
        ("upstreams/logger".to_owned(), short(9)),
        (format!("upstreams_stream/{listen}"), short(origin)),
    ];
    records.into()
}

/// The good ones came, the bad ones are named, and what was there is there.
#[track_caller]
fn all_but_the_bad_ones(ran: &Ran, to: &Alone, listen: u16) {
    ran.says("http web.localhost", "imported", "");
    ran.says("http named.localhost", "imported", "");
    ran.says(&format!("tcp {listen}"), "imported", "");
    ran.says("http broken", "refused", "not JSON");
    ran.says("http empty", "refused", "neither servers nor cluster");
    ran.says(
        "http portless",
        "refused",
        "no server.host nor server.port found",
    );
    ran.says("http logger", "left_out", "");
    assert_eq!(ran.code, Some(1), "{}", ran.told);
    let there = upstreams(to);
    let mut names: Vec<&String> = there.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(
        names,
        ["kept.localhost", "named.localhost", "web.localhost"]
    );
    assert_eq!(http::get(to.http, "web.localhost", "/").unwrap().body, "a");
    let mut stream = TcpStream::connect(local(listen)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n\r\na"), "{answer:?}");
}

fn put_v2(etcd: &Etcd, key: &str, value: &str) {
    let escaped: String = value.bytes().map(|b| format!("%{b:02X}")).collect();
    let form = format!("value={escaped}");
    let request = format!(
        "PUT /v2/keys/{key} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    wait_for("etcd to store a key", SOON, || {
        let answer = http::request(etcd.addresses()[0], &request)?;
        if answer.status == 201 {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    });
}

#[test]
fn from_an_etcd_with_the_old_api() {
    if let Some(reason) = fixture::missing("etcd") {
        return skip(&test_name(), &reason);
    }
    let etcd = Etcd::with(&["--enable-v2"]);
    let (origin, listen) = (quiet_port(), quiet_port());
    let _origin = Origin::on(origin);
    let to = target();
    let place = etcd.addresses()[0].to_string();
    let args = ["--from", "etcd-v2", &place];
    // An empty store is nothing to complain of.
    let ran = import(&to, &args);
    assert_eq!((ran.code, ran.results.len()), (Some(0), 0), "{}", ran.told);
    for (key, value) in stored(origin, listen) {
        put_v2(&etcd, &format!("config/slardar/{key}"), &value);
    }
    put_v2(&etcd, "config/slardar/upstreams/deep/er", &short(origin));
    put_v2(&etcd, "other/upstreams/elsewhere", &short(origin));

    let before = upstreams(&to);
    let ran = import(&to, &[&args[..], &["--dry-run"]].concat());
    ran.says("http web.localhost", "would_be_imported", "");
    ran.says(
        "http portless",
        "refused",
        "no server.host nor server.port found",
    );
    assert_eq!((ran.code, upstreams(&to)), (Some(1), before));

    let ran = import(&to, &args);
    ran.says("http deep", "refused", "a folder");
    all_but_the_bad_ones(&ran, &to, listen);
    let ran = import(&to, &[&args[..], &["--prefix", "/other"]].concat());
    ran.says("http elsewhere", "imported", "");
    assert_eq!((ran.code, ran.results.len()), (Some(0), 1), "{}", ran.told);
}

#[test]
fn an_etcd_without_the_old_api_is_told_from_an_empty_one() {
    if let Some(reason) = fixture::missing("etcd") {
        return skip(&test_name(), &reason);
    }
    let etcd = Etcd::start();
    let to = target();
    let ran = import(
        &to,
        &["--from", "etcd-v2", &etcd.addresses()[0].to_string()],
    );
    assert_eq!(ran.code, Some(1));
    assert!(ran.told.contains("--enable-v2"), "{}", ran.told);
}

/// Answers as a Consul does: a list of the keys below a prefix, or 404.
fn consul(keys: Vec<(String, String)>) -> SocketAddr {
    let listener = TcpListener::bind(local(0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let target = request.split(' ').nth(1).unwrap_or_default();
            let prefix = target.strip_prefix("/v1/kv/").unwrap_or("?");
            let prefix = prefix.strip_suffix("?recurse=true").unwrap_or("?");
            let below = keys.iter().filter(|(key, _)| key.starts_with(prefix));
            let entry = |(key, value): &(String, String)| {
                let value = (!key.ends_with('/')).then(|| base64(value.as_bytes()));
                json!({"LockIndex": 0, "Key": key, "Flags": 0, "Value": value, "CreateIndex": 14, "ModifyIndex": 14})
            };
            let list: Vec<Value> = below.map(entry).collect();
            let (status, body) = match list.is_empty() {
                true => ("404 Not Found", String::new()),
                false => ("200 OK", json!(list).to_string()),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nX-Consul-Index: 14\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    address
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn from_what_a_consul_answers() {
    let (origin, listen) = (quiet_port(), quiet_port());
    let _origin = Origin::on(origin);
    let keys = stored(origin, listen).into_iter();
    let mut keys: Vec<_> = keys
        .map(|(key, v)| (format!("config/slardar/{key}"), v))
        .collect();
    keys.push(("config/slardar/upstreams/".to_owned(), String::new()));
    keys.push((
        "config/slardar/lua/script.x".to_owned(),
        "ngx.say(1)".to_owned(),
    ));
    let address = consul(keys);
    let to = target();
    let ran = import(&to, &["--from", "consul", &address.to_string()]);
    assert_eq!(ran.results.len(), 7, "{:?}", ran.results);
    all_but_the_bad_ones(&ran, &to, listen);
    let ran = import(
        &to,
        &[
            "--from",
            "consul",
            &address.to_string(),
            "--prefix",
            "no/such",
        ],
    );
    assert_eq!((ran.code, ran.results.len()), (Some(0), 0), "{}", ran.told);
}

#[test]
fn from_what_another_one_shows_and_from_folders() {
    let (origin, listen) = (quiet_port(), quiet_port());
    let _origin = Origin::on(origin);
    let first = target();
    first.put("web.localhost", origin, true);
    let file = first.path("all.json");
    fs::write(&file, upstreams(&first).to_string()).unwrap();
    let second = target();
    let ran = import(&second, &["--from", "file", &file]);
    assert_eq!(ran.code, Some(0), "{}", ran.told);
    assert_eq!(upstreams(&second), upstreams(&first));

    let folder = second.path("store");
    for (key, value) in stored(origin, listen) {
        let path = format!("{folder}/{key}.json");
        fs::create_dir_all(path.rsplit_once('/').unwrap().0).unwrap();
        fs::write(path, value).unwrap();
    }
    let third = target();
    let ran = import(&third, &["--from", "file", &folder]);
    all_but_the_bad_ones(&ran, &third, listen);
    let ran = import(&third, &["--from", "file", &format!("{folder}/upstreams")]);
    ran.says("http web.localhost", "imported", "");
    ran.says("http broken", "refused", "not JSON");
}

#[test]
fn nobody_to_read_from_or_to_write_to_is_told_in_one_line() {
    let nobody = local(free_port()).to_string();
    let to = target();
    for (from, place) in [
        ("consul", nobody.as_str()),
        ("etcd-v2", &nobody),
        ("file", "/nonexistent"),
    ] {
        let ran = import(&to, &["--from", from, place]);
        assert!(
            ran.code == Some(1) && ran.told.contains(place),
            "{}",
            ran.told
        );
        assert_eq!(ran.told.lines().count(), 1, "{}", ran.told);
    }
    let file = to.path("all.json");
    fs::write(
        &file,
        json!({"web.localhost": {"servers": [{"host": "127.0.0.1", "port": 9}]}}).to_string(),
    )
    .unwrap();
    let gone = Alone::at_rest();
    let ran = import(&gone, &["--from", "file", &file]);
    assert!(
        ran.code == Some(3) && ran.told.contains("--to ADDR"),
        "{}",
        ran.told
    );
    assert!(ran.told.contains(&gone.admin.to_string()), "{}", ran.told);
}
