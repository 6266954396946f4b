//! Certificates and tokens of a real etcd: shown, asked for, and renewed when they are over.

use hancock_testkit::certs::Authority;
use hancock_testkit::wait::stays_async;

use super::*;

fn tls(ca: &Authority, own: Option<&Authority>) -> Option<Tls> {
    let own = own.map(|authority| authority.certify(&["reader"]));
    Some(Tls {
        ca: ca.pem().into_bytes(),
        identity: own.map(|own| (own.cert.into_bytes(), own.key.into_bytes())),
    })
}

async fn refusal(options: Options) -> String {
    let listed = Etcd::new(options).list().await;
    listed.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_shown_and_asked_for() {
    if !can_run() {
        return;
    }
    let (authority, stranger) = (Authority::default(), Authority::default());
    let (server, address) = Server::secured(&authority);
    let url = format!("etcd://{address}/edge");
    let with = |tls| Options {
        tls,
        ..options(&url)
    };
    let registry = Etcd::new(with(tls(&authority, Some(&authority))));
    let written = put(&registry, "web", 1.0).await;
    let mut watch = registry.watch_from(written).await.unwrap();
    let later = put(&registry, "web", 2.0).await;
    let Some(WatchItem::Changes { revision, changes }) = next(&mut watch).await else {
        panic!("the watch ended");
    };
    assert_eq!((revision, changes.len()), (later, 1));
    assert!(server.get("edge/upstreams/web").is_some());
    // Who signs the members' certificates is checked, and so is who we are.
    for (wrong, why) in [
        (tls(&stranger, Some(&authority)), "invalid peer certificate"),
        (tls(&authority, Some(&stranger)), "certificate"),
        (tls(&authority, None), "certificate"),
    ] {
        let told = refusal(with(wrong)).await;
        assert!(told.to_lowercase().contains(why), "{told}");
    }
    let told = refusal(with(None)).await;
    assert!(told.contains("cannot be reached"), "{told}");
}

/// Asks etcd itself whether a token still counts.
fn is_over(server: &Server, token: &str) -> Result<(), String> {
    let body = r#"{"key":"AA=="}"#;
    let request = format!(
        "POST /v3/kv/range HTTP/1.1\r\nHost: etcd\r\nAuthorization: {token}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = hancock_testkit::http::request(server.addresses()[0], &request)?;
    match answer.body.contains("invalid auth token") {
        true => Ok(()),
        false => Err(answer.body),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_over_is_asked_for_anew() {
    if !can_run() {
        return;
    }
    let server = Server::with(&["--auth-token-ttl", "2"]);
    server.lock("edge", "secret", "edge/");
    let at = server.addresses()[0];
    let registry = open(&format!("etcd://edge:secret@{at}/edge"));
    let first = put(&registry, "web", 1.0).await;
    let mut watch = registry.watch_from(first).await.unwrap();
    let who = serde_json::json!({"name": "edge", "password": "secret"});
    let token = server.ask(0, "auth/authenticate", &who).unwrap();
    let token = token["token"].as_str().unwrap();
    // Longer than a token lives. Asking for it in between would make it live longer.
    stays_async(
        "a watch without end",
        Duration::from_secs(4),
        async || match watch.is_closed() {
            false => Ok(()),
            true => Err("it ended"),
        },
    )
    .await;
    is_over(&server, token).unwrap();
    // One as old as ours: the next write needs a new one.
    let second = put(&registry, "web", 2.0).await;
    let Some(WatchItem::Changes { revision, .. }) = next(&mut watch).await else {
        panic!("the watch ended");
    };
    assert_eq!(revision, second);
    assert_eq!(registry.list().await.unwrap().entries.len(), 1);
    // A new watch needs one, too.
    let mut watch = registry.watch_from(first).await.unwrap();
    assert!(next(&mut watch).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_repeated_for_ever() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    server.lock("edge", "secret", "edge/");
    let at = server.addresses()[0];
    let told = refusal(options(&format!("etcd://edge:wrong@{at}/edge"))).await;
    assert!(told.contains("invalid user ID or password"), "{told}");
    assert!(!told.contains("wrong@"), "{told}");
    let told = refusal(options(&format!("etcd://{at}/edge"))).await;
    assert!(told.contains("user name is empty"), "{told}");
    let told = refusal(options(&format!("etcd://edge:secret@{at}/elsewhere"))).await;
    assert!(told.contains("permission denied"), "{told}");
}
