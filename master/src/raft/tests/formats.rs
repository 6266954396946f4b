//! Masters of two versions: what each says about formats, and what the older ones are spared.

use hancock_master_core::Format;
use hancock_wire::peers::PeerFrame;
use openraft::entry::RaftEntry;
use openraft::raft::AppendEntriesRequest;
use serde_json::json;

use super::super::frame::Ends;
use super::super::peers::entries;
use super::super::types::Entry;
use super::*;

fn frame(body: &serde_json::Value) -> PeerFrame {
    Ends::new(&seat(), 2).frame(body).unwrap()
}

/// Two entries as a leader sends them; the second is of `format`, with a command that no version has yet.
fn appended(format: u32) -> serde_json::Value {
    let leader = openraft::vote::leader_id_std::CommittedLeaderId::new(1);
    let entry = |index: u64| {
        let write = Write::new(Format::FIRST, started(2), None);
        Entry::new_normal(openraft::LogId::new(leader, index), write)
    };
    let rpc: AppendEntriesRequest<Types> = AppendEntriesRequest {
        vote: openraft::Vote::new_committed(1, 2),
        prev_log_id: None,
        entries: vec![entry(0), entry(1)],
        leader_commit: None,
    };
    let mut rpc = serde_json::to_value(rpc).unwrap();
    let write = &mut rpc["entries"][1]["payload"]["Normal"];
    *write = json!({"v": format, "command": {"from_the_future": {"at": 1}}});
    rpc
}

#[test]
fn what_cannot_be_read_is_refused_by_its_format() {
    let newer = Format::NEWEST.next();
    let refused = entries(&frame(&appended(newer.0))).unwrap_err();
    let told = refused.message();
    assert!(
        told.contains(&format!("an entry is of format {newer}")) && told.contains("upgraded"),
        "{told}"
    );
    let broken = entries(&frame(&appended(1))).unwrap_err();
    assert!(broken.message().contains("from_the_future"), "{broken}");
    let mut known = appended(1);
    known["entries"].as_array_mut().unwrap().pop();
    assert_eq!(entries(&frame(&known)).unwrap().entries.len(), 1);
}

#[test]
fn a_master_that_tells_nothing_knows_the_first_format() {
    let told = json!({"name": "m1", "peers": "p", "api": "a", "agents": "g"});
    let member: Member = serde_json::from_value(told.clone()).unwrap();
    assert_eq!((member.knows, &*member.version), (Format::FIRST, ""));
    assert_eq!(serde_json::to_value(&member).unwrap(), told);
    let here = Member::of_this_version();
    assert_eq!(here.knows, Format::NEWEST);
    let again = serde_json::to_vec(&here).unwrap();
    assert_eq!(serde_json::from_slice::<Member>(&again).unwrap(), here);
}

/// Only here can there be a second format.
#[cfg(feature = "next-format")]
mod next {
    use hancock_wire::peers::MeetRequest;
    use tonic::{Code, Request};

    use super::super::several::{Running, caught_up, several};
    use super::*;

    fn agree() -> Command {
        Command::AgreeFormat {
            format: Format(2),
            at: Timestamp(9),
        }
    }

    fn knowing(member: &Member, knows: u32) -> Member {
        Member {
            knows: Format(knows),
            ..member.clone()
        }
    }

    /// The master with this id is one of a version that knows formats up to `knows`.
    async fn install(masters: &[Running], id: u64, knows: u32) {
        let raft = &masters[0].raft;
        let members = raft.members();
        let seated = members.iter().find(|seated| seated.id == id).unwrap();
        let member = knowing(&seated.member, knows);
        raft.take_in(id, &member).await.unwrap();
    }

    /// Formats of the commands in a master's log, without repetitions.
    fn written(master: &Running) -> Vec<u32> {
        let (entries, _) = log::read(&master.device).unwrap();
        let mut formats: Vec<u32> = entries
            .into_values()
            .filter_map(|entry| match entry.payload {
                openraft::EntryPayload::Normal(write) => Some(write.v.0),
                _ => None,
            })
            .collect();
        formats.dedup();
        formats
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_format_begins_when_every_master_knows_it() {
        let masters = several(3, Tuning::default()).await;
        let raft = &masters[0].raft;
        for id in [1, 2] {
            install(&masters, id, 2).await;
        }
        let knows: Vec<u32> = raft.knowledge().into_values().map(|f| f.0).collect();
        assert_eq!(knows, [2, 2, 1]);
        // A leader that has not heard yet: the log knows better.
        let early = raft.propose(agree(), SOON).await.unwrap().reply;
        assert!(matches!(early, Reply::Refused(_)), "{early:?}");
        assert_eq!(raft.newest().state().format, Format(1));
        install(&masters, 3, 2).await;
        let agreed = raft.propose(agree(), SOON).await.unwrap().reply;
        assert_eq!(agreed, Reply::Done);
        let again = raft.propose(agree(), SOON).await.unwrap().reply;
        assert!(matches!(again, Reply::Refused(_)), "once: {again:?}");
        raft.propose(started(20), SOON).await.unwrap();
        caught_up(&masters, 20).await;
        for master in masters {
            assert_eq!(master.raft.newest().state().format, Format(2));
            assert_eq!(written(&master), [1, 2]);
            master.stop().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_does_not_know_the_format_is_not_taken_in() {
        let masters = several(1, Tuning::default()).await;
        let raft = &masters[0].raft;
        let credentials = raft.credentials().unwrap();
        let meet = |knows: u32| {
            let name = "m9".to_owned();
            let mut request = Request::new(MeetRequest { name, knows });
            frame::show(request.metadata_mut(), "operator");
            raft.introduce(&request, &credentials)
        };
        meet(0).unwrap();
        install(&masters, 1, 2).await;
        assert_eq!(
            raft.propose(agree(), SOON).await.unwrap().reply,
            Reply::Done
        );
        for knows in [0, 1] {
            let refused = meet(knows).unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            let told = refused.message();
            assert!(
                told.contains("the cluster writes format 2")
                    && told.contains("m9 knows formats up to 1"),
                "{told}"
            );
        }
        meet(2).unwrap();
        let late = Member {
            name: "m9".into(),
            ..Member::default()
        };
        let refused = raft.take_in(9, &late).await.unwrap_err();
        assert!(matches!(refused, MemberError::TooOld { .. }), "{refused}");
        raft.take_in(9, &knowing(&late, 2)).await.unwrap();
        for master in masters {
            master.stop().await;
        }
    }

    /// Who comes late gets a snapshot of the next format.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_snapshot_of_the_next_format_is_installed() {
        let tuning = Tuning {
            snapshot_every: 50,
            keep_entries: 5,
        };
        let mut masters = several(1, tuning).await;
        install(&masters, 1, 2).await;
        let raft = masters[0].raft.clone();
        assert_eq!(
            raft.propose(agree(), SOON).await.unwrap().reply,
            Reply::Done
        );
        for n in 10..200 {
            raft.propose(started(n), SOON).await.unwrap();
        }
        let purged = raft.library.wait(Some(SOON));
        let purged = purged.metrics(|m| m.purged.is_some_and(|id| id.index > 20), "purged");
        purged.await.unwrap();
        let late = Running::beginning(2, tuning).await;
        raft.take_in(2, &knowing(&late.member(), 2)).await.unwrap();
        masters.push(late);
        caught_up(&masters, 199).await;
        let stored = masters[1].device.durable("snapshot");
        assert!(stored > 0, "it was installed");
        assert_eq!(masters[1].raft.newest().state().format, Format(2));
        for master in masters {
            master.stop().await;
        }
    }

    /// What was written in the next format is all there after a crash, and in a snapshot.
    #[tokio::test]
    async fn the_next_format_comes_back() {
        let device = Device::default();
        let raft = start(Arc::new(device.clone()), Tuning::default()).await;
        raft.propose(init(), SOON).await.unwrap();
        assert_eq!(
            raft.propose(agree(), SOON).await.unwrap().reply,
            Reply::Done
        );
        raft.propose(started(20), SOON).await.unwrap();
        let before = raft.newest().state().clone();
        let crashed = device.crash(0, 1, 0);
        raft.shutdown(SOON).await;
        for left in [crashed, device] {
            let raft = start(Arc::new(left), Tuning::default()).await;
            assert_eq!(same(raft.newest().state()), same(&before));
            assert_eq!(raft.newest().state().format, Format(2));
            raft.shutdown(SOON).await;
        }
    }
}
