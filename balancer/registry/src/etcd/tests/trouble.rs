//! Members that end, stop, lose everything or want a password.

use hancock_testkit::network::Network;
use hancock_testkit::wait::wait_for_async;
use hancock_testkit::wait_for;

use super::*;

const SOON: Duration = Duration::from_secs(30);

/// Goes on from `position`, over however many watches it takes, until all `names` were told, in this order.
async fn until(registry: &Etcd, mut position: Revision, names: &[&str]) {
    let mut told: Vec<String> = Vec::new();
    while told != names {
        let watch = async || registry.watch_from(position).await;
        let mut watch = wait_for_async("a watch", SOON, watch).await;
        while told != names
            && let Some(item) = next(&mut watch).await
        {
            let WatchItem::Changes { revision, changes } = item else {
                panic!("{item:?} after {told:?}");
            };
            position = revision;
            told.extend(changes.into_iter().map(|change| change.name.to_string()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_after_a_restart_without_a_gap() {
    if !can_run() {
        return;
    }
    let mut server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "a", 1.0).await;
    let at = registry.list().await.unwrap().revision;
    let mut watch = registry.watch_from(at).await.unwrap();
    put(&registry, "b", 1.0).await;
    assert!(matches!(
        next(&mut watch).await,
        Some(WatchItem::Changes { .. })
    ));
    server.crash(0);
    assert_eq!(next(&mut watch).await, None, "the watch ends");
    server.restart_all();
    put(&registry, "c", 1.0).await;
    put(&registry, "d", 1.0).await;
    until(&registry, at, &["b", "c", "d"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_listed_even_when_it_has_overtaken_ours() {
    if !can_run() {
        return;
    }
    let mut server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "a", 1.0).await;
    server.crash(0);
    server.copy("then");
    server.restart_all();
    put(&registry, "a", 2.0).await;
    put(&registry, "b", 2.0).await;
    let at = registry.list().await.unwrap().revision;

    // Set back: revisions are lower than ours at first.
    server.crash(0);
    server.set_back("then");
    server.restart_all();
    let compacted = async || {
        let mut watch = registry.watch_from(at).await.unwrap();
        next(&mut watch).await
    };
    wait_for_async("etcd", SOON, || async { registry.list().await.map(drop) }).await;
    // The list above has seen the new history: go on from the old position all the same.
    assert_eq!(compacted().await, Some(WatchItem::Compacted));

    let at = registry.list().await.unwrap().revision;
    server.wipe();
    // Others write until revisions are past ours.
    for n in 0..20 {
        server.put(&format!("other/{n}"), "x");
    }
    assert!(server.revision() > at.0);
    let watch = async || registry.watch_from(at).await;
    let mut watch = wait_for_async("a watch", SOON, watch).await;
    assert_eq!(next(&mut watch).await, Some(WatchItem::Compacted));
}

/// What a reader that begins again, with and without what an earlier run kept, takes the store for.
async fn taken_for_another(server: &Server, kept: &Mark) -> [bool; 2] {
    let mut another = [false; 2];
    for (recalls, another) in [false, true].into_iter().zip(&mut another) {
        let again = open(&server.url("edge"));
        if recalls {
            again.recall(kept.clone());
        }
        *another = again.list().await.unwrap().another;
    }
    another
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_set_back_while_its_reader_was_away_is_another() {
    if !can_run() {
        return;
    }
    let mut server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "a", 1.0).await;
    server.crash(0);
    server.copy("then");
    server.restart_all();
    until_put(&registry, "lost").await;
    let at = registry.list().await.unwrap().revision;
    let kept = registry.mark().unwrap();
    let text = serde_json::to_string(&kept).unwrap();
    assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), kept);

    // Nothing of what it has seen is contradicted: the newest key is just not there, and revisions are past its own.
    server.crash(0);
    server.set_back("then");
    server.restart_all();
    (0..20).for_each(|n| server.put(&format!("other/{n}"), "x"));
    assert!(server.revision() > at.0);
    assert_eq!(taken_for_another(&server, &kept).await, [false, true]);
    // Nor is one that was there all the time misled.
    let watch = async || registry.watch_from(at).await;
    let mut watch = wait_for_async("a watch", SOON, watch).await;
    assert_eq!(next(&mut watch).await, Some(WatchItem::Compacted));
    assert!(registry.list().await.unwrap().another);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_while_its_reader_was_away_is_gone() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let registry = open(&server.url("edge"));
    put(&registry, "a", 1.0).await;
    put(&registry, "newest", 1.0).await;
    registry.list().await.unwrap();
    let kept = registry.mark().unwrap();
    assert_eq!(taken_for_another(&server, &kept).await, [false, false]);
    server.delete("edge/upstreams/newest");
    assert_eq!(taken_for_another(&server, &kept).await, [false, false]);
    // Also when nobody knows any more what was there.
    server.compact();
    assert_eq!(taken_for_another(&server, &kept).await, [false, false]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_member_is_left_for_another() {
    if !can_run() {
        return;
    }
    let server = Server::cluster(3);
    let registry = open(&server.url("edge"));
    let writer = Etcd::new(Options {
        seed: 1,
        ..options(&server.url("edge"))
    });
    put(&writer, "a", 1.0).await;
    let at = registry.list().await.unwrap().revision;
    let mut watch = registry.watch_from(at).await.unwrap();
    server.signal(0, nix::sys::signal::Signal::SIGSTOP);
    let begun = std::time::Instant::now();
    assert_eq!(next(&mut watch).await, None, "silence is noticed");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    wait_for_async("a write by the others", SOON, || async {
        match writer.publish(&batch("b", 1.0), &fence(1)).await {
            Ok(Outcome::Committed(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    until(&registry, at, &["b"]).await;
    server.signal(0, nix::sys::signal::Signal::SIGCONT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_noticed() {
    if !can_run() {
        return;
    }
    let server = Server::start();
    let path = Lossy::to(server.addresses()[0]);
    let registry = open(&format!("etcd://{}/edge", path.address));
    put(&registry, "a", 1.0).await;
    let at = registry.list().await.unwrap().revision;
    let mut watch = registry.watch_from(at).await.unwrap();
    path.lose_answers();
    let begun = std::time::Instant::now();
    assert_eq!(next(&mut watch).await, None);
    // By a ping, after 5 + 3 s: what is before the store still takes everything.
    let noticed = begun.elapsed();
    assert!(noticed < Duration::from_secs(10), "{noticed:?}");
    put(&registry, "b", 1.0).await;
    until(&registry, at, &["b"]).await;
}

#[test]
fn a_wire_that_was_cut_is_noticed_before_any_ping() {
    if !can_run() {
        return;
    }
    Network::of_its_own(|network| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let server = Server::start();
            let registry = open(&server.url("edge"));
            put(&registry, "a", 1.0).await;
            let at = registry.list().await.unwrap().revision;
            let mut watch = registry.watch_from(at).await.unwrap();
            network.cut();
            let begun = std::time::Instant::now();
            assert_eq!(next(&mut watch).await, None);
            // By the kernel, after 4 to 5 s.
            let noticed = begun.elapsed();
            assert!(noticed < Duration::from_secs(7), "{noticed:?}");
            network.heal();
            until_put(&registry, "b").await;
            until(&registry, at, &["b"]).await;
        });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_stays_known_beyond_its_lease_and_not_beyond_its_end() {
    if !can_run() {
        return;
    }
    let mut server = Server::start();
    let mut options = options(&server.url("edge"));
    options.timing.lease = Duration::from_secs(3);
    let (reader, other) = (Etcd::new(options), open(&server.url("edge")));
    let told = Confirmation {
        reader: "r".to_owned(),
        node: "n".parse().unwrap(),
        boot: "b0000000000000000".parse().unwrap(),
        revision: Revision(1),
        index: Default::default(),
        open: Default::default(),
        more: false,
        ended: false,
    };
    let known = || async { other.readers().await.map(|readers| readers.len()) };
    let tell_for = async |time: Duration| {
        let begun = std::time::Instant::now();
        wait_for_async("so much time", time * 2, || async {
            reader.confirm(&told).await.map_err(|e| e.to_string())?;
            assert_eq!(known().await, Ok(1));
            match begun.elapsed() > time {
                true => Ok(()),
                false => Err(format!("{:?}", begun.elapsed())),
            }
        })
        .await;
    };
    // Longer than the lease, so by its renewals alone: nothing else is written.
    tell_for(Duration::from_secs(8)).await;
    assert_eq!(server.revision(), 2, "one write");
    // The renewals go on over another connection.
    server.crash(0);
    server.restart(0);
    wait_for_async("a word", SOON, || reader.confirm(&told)).await;
    wait_for_async("a look", SOON, known).await;
    tell_for(Duration::from_secs(8)).await;
    drop(reader);
    wait_for_async("its end", SOON, || async {
        match known().await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_get_in_and_tokens_are_renewed() {
    if !can_run() {
        return;
    }
    let mut server = Server::start();
    server.lock("hancock", "s3:cret", "edge/");
    let address = server.addresses()[0];
    let registry = open(&format!("etcd://hancock:s3%3Acret@{address}/edge"));
    put(&registry, "a", 1.0).await;
    let at = registry.list().await.unwrap().revision;
    // Tokens do not outlive the member that gave them.
    server.crash(0);
    server.restart(0);
    wait_for("etcd", SOON, || std::net::TcpStream::connect(address));
    until_put(&registry, "b").await;
    until(&registry, at, &["b"]).await;

    for (url, why) in [
        (format!("etcd://hancock:wrong@{address}/edge"), "password"),
        (
            format!("etcd://hancock:s3%3Acret@{address}/other"),
            "permission",
        ),
        (format!("etcd://{address}/edge"), "user name is empty"),
    ] {
        let told = open(&url).list().await.unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
        assert!(!told.contains("cret"), "{told}");
    }
}

async fn until_put(registry: &Etcd, name: &str) {
    wait_for_async("a write", SOON, || async {
        match registry.publish(&batch(name, 1.0), &fence(1)).await {
            Ok(Outcome::Committed(_)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_in_time() {
    let nowhere = hancock_testkit::free_port();
    let registry = open(&format!("etcd://127.0.0.1:{nowhere}/edge"));
    let begun = std::time::Instant::now();
    let refused = registry.publish(&batch("a", 1.0), &fence(1)).await;
    assert!(
        matches!(refused, Err(RegistryError::Unreachable { .. })),
        "{refused:?}"
    );
    assert!(registry.list().await.is_err());
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
}
