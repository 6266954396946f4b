//! Several masters over loopback sockets, each with a disk of its own.

use std::net::SocketAddr;

use hancock_testkit::port::{local, quiet_port};
use hancock_testkit::wait::{stays_async, wait_for_async};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Server;

use openraft::RaftNetworkV2;
use openraft::entry::RaftEntry;
use openraft::network::RPCOption;
use openraft::raft::AppendEntriesRequest;

use super::super::log::VOTE;
use super::super::network::Network;
use super::super::types::{Entry, Snapshot, SnapshotMeta};
use super::*;
use crate::access::Credentials;

/// Far more than an election takes on a loaded machine.
const LATE: Duration = Duration::from_secs(30);

fn secrets(peers: &str) -> Arc<Credentials> {
    Arc::new(Credentials {
        operator: "operator".into(),
        join: "join".into(),
        peers: peers.into(),
        authority: None,
    })
}

fn place(n: u64, cluster: &str, peers: SocketAddr) -> Seat {
    Seat {
        cluster: cluster.parse().unwrap(),
        id: n,
        member: Member {
            name: format!("m{n}"),
            peers: peers.to_string(),
            ..Member::default()
        },
        credentials: Some(secrets("secret")),
        party: None,
        founder: n == 1,
    }
}

/// A running master.
pub(super) struct Running {
    pub(super) raft: Raft,
    pub(super) device: Device,
    stop: CancellationToken,
    server: JoinHandle<()>,
    seat: Seat,
    tuning: Tuning,
}

impl Running {
    async fn start(seat: Seat, device: Device, tuning: Tuning) -> Self {
        let files = Arc::new(device.clone());
        let raft = Raft::start_on(files, seat.clone(), tuning).await.unwrap();
        let listener = tokio::net::TcpListener::bind(&seat.member.peers).await;
        let (stop, peers) = (CancellationToken::new(), raft.peers());
        let ended = stop.clone().cancelled_owned();
        let server = tokio::spawn(async move {
            let incoming = TcpListenerStream::new(listener.unwrap());
            let server = Server::builder().add_service(peers);
            let served = server.serve_with_incoming_shutdown(incoming, ended);
            served.await.unwrap();
        });
        Self {
            raft,
            device,
            stop,
            server,
            seat,
            tuning,
        }
    }

    /// Master `n`, which no cluster has taken in yet.
    #[cfg(feature = "next-format")]
    pub(super) async fn beginning(n: u64, tuning: Tuning) -> Self {
        Self::start(
            place(n, "c", local(quiet_port())),
            Device::default(),
            tuning,
        )
        .await
    }

    /// As it asks to be taken in.
    #[cfg(feature = "next-format")]
    pub(super) fn member(&self) -> Member {
        self.seat.member.clone()
    }

    /// Ends without a word to the others; what was not flushed is lost.
    async fn kill(self) -> (Seat, Device, Tuning) {
        let left = self.device.crash(0, 1, 0);
        self.raft.library.shutdown().await.unwrap();
        self.raft.log.close().await;
        self.stop.cancel();
        self.server.await.unwrap();
        (self.seat, left, self.tuning)
    }

    pub(super) async fn stop(self) {
        self.raft.shutdown(SOON).await;
        self.stop.cancel();
        self.server.await.unwrap();
    }

    fn clock(&self) -> u64 {
        self.raft.newest().state().clock.0
    }
}

/// Masters 1 to `n`, all of which vote.
pub(super) async fn several(n: u64, tuning: Tuning) -> Vec<Running> {
    let mut masters = Vec::new();
    for id in 1..=n {
        let seat = place(id, "c", local(quiet_port()));
        masters.push(Running::start(seat, Device::default(), tuning).await);
    }
    masters[0].raft.propose(init(), SOON).await.unwrap();
    for joining in &masters[1..] {
        let (id, member) = (joining.seat.id, &joining.seat.member);
        masters[0].raft.take_in(id, member).await.unwrap();
    }
    voters(&masters, usize::try_from(n).unwrap()).await;
    masters
}

/// Waits until every master knows of `n` voters, for good.
async fn voters(masters: &[Running], n: usize) {
    wait_for_async("voters", LATE, async || {
        let count = |m: &Running| m.raft.members().iter().filter(|m| m.voter).count();
        let seen: Vec<(usize, bool)> = masters
            .iter()
            .map(|m| (count(m), m.raft.is_settled()))
            .collect();
        let all = seen.iter().all(|seen| *seen == (n, true));
        all.then_some(()).ok_or(format!("{seen:?}"))
    })
    .await;
}

/// The master that leads, once there is one.
pub(super) async fn leader(masters: &[Running]) -> usize {
    wait_for_async("a leader", LATE, async || {
        let leads = |m: &Running| m.raft.leadership().borrow().leading;
        masters.iter().position(leads).ok_or("nobody")
    })
    .await
}

/// Waits until every master has applied write `n`.
pub(super) async fn caught_up(masters: &[Running], n: u64) {
    wait_for_async("everybody's state", LATE, async || {
        let clocks: Vec<u64> = masters.iter().map(Running::clock).collect();
        let all = clocks.iter().all(|clock| *clock == n);
        all.then_some(()).ok_or(format!("{clocks:?} of {n}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_without_the_leader_and_it_catches_up() {
    let mut masters = several(3, Tuning::default()).await;
    for n in 2..20 {
        masters[0].raft.propose(started(n), SOON).await.unwrap();
    }
    let (seat, device, tuning) = masters.swap_remove(leader(&masters).await).kill().await;
    let begun = Instant::now();
    let next = leader(&masters).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "elected after {took:?}");
    for n in 20..40 {
        masters[next].raft.propose(started(n), SOON).await.unwrap();
    }
    masters.push(Running::start(seat, device, tuning).await);
    caught_up(&masters, 39).await;
    let states: Vec<State> = masters
        .iter()
        .map(|m| m.raft.newest().state().clone())
        .collect();
    assert!(
        states
            .windows(2)
            .all(|pair| same(&pair[0]) == same(&pair[1]))
    );
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_away_too_long_gets_a_snapshot_in_pieces() {
    let tuning = Tuning {
        snapshot_every: 50,
        keep_entries: 5,
    };
    let mut masters = several(3, tuning).await;
    let (seat, device, tuning) = masters.pop().unwrap().kill().await;
    let leading = leader(&masters).await;
    let raft = masters[leading].raft.clone();
    // One entry larger than a batch, and a state of several pieces.
    let large = Command::TermStarted {
        term: Term(1),
        leader: "m".repeat(3 << 20),
        at: Timestamp(200),
    };
    for n in 2..200 {
        raft.propose(started(n), SOON).await.unwrap();
    }
    let behind = raft.library.metrics().borrow_watched().last_log_index;
    raft.propose(large, LATE).await.unwrap();
    // One that is being taken just now is without that entry, and asking for another one meanwhile does nothing.
    wait_for_async("a snapshot with it", LATE, async || {
        raft.library.trigger().snapshot().await.unwrap();
        let newest = raft.library.metrics().borrow_watched().snapshot;
        let has_it = newest.map(|id| id.index) > behind;
        has_it.then_some(()).ok_or(format!("{newest:?}"))
    })
    .await;
    let purged = raft.library.wait(Some(LATE));
    let gone = |at: u64| Some(at) > behind.map(|last| last - 10);
    let purged = purged.metrics(|m| m.purged.is_some_and(|id| gone(id.index)), "purged");
    purged.await.unwrap();
    masters.push(Running::start(seat, device, tuning).await);
    caught_up(&masters, 200).await;
    let late = &masters[2];
    assert!(
        late.device.durable("snapshot") > 3 << 20,
        "it was installed"
    );
    assert_eq!(late.raft.newest().state().leader, Some("m".repeat(3 << 20)));
    raft.propose(started(201), SOON).await.unwrap();
    caught_up(&masters, 201).await;
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_end_hands_over_at_once() {
    let mut masters = several(3, Tuning::default()).await;
    let leading = leader(&masters).await;
    let begun = Instant::now();
    masters.swap_remove(leading).stop().await;
    let next = leader(&masters).await;
    masters[next].raft.propose(started(2), SOON).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "handed over after {took:?}");
    for master in masters {
        master.stop().await;
    }
}

/// Its own vote is all that is missing to end the change: without it nobody could ever write again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_does_not_leave_in_the_middle_of_a_change() {
    let mut masters = several(1, Tuning::default()).await;
    for id in 2..4 {
        let seat = place(id, "c", local(quiet_port()));
        masters.push(Running::start(seat, Device::default(), Tuning::default()).await);
        let member = &masters.last().unwrap().seat.member;
        masters[0].raft.take_in(id, member).await.unwrap();
    }
    let raft = &masters[0].raft;
    wait_for_async("the middle of it", LATE, async || {
        let begun = raft.members().iter().filter(|m| m.voter).count() == 3;
        begun.then_some(()).ok_or("not begun")
    })
    .await;
    masters.remove(0).stop().await;
    let next = leader(&masters).await;
    masters[next].raft.propose(started(2), SOON).await.unwrap();
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_left_half_done_is_ended_by_the_next_leader() {
    let mut masters = several(1, Tuning::default()).await;
    let second = place(2, "c", local(quiet_port()));
    masters.push(Running::start(second, Device::default(), Tuning::default()).await);
    let raft = masters[0].raft.clone();
    raft.take_in(2, &masters[1].seat.member).await.unwrap();
    caught_up(&masters, 1).await;
    let (seat, device, tuning) = masters.pop().unwrap().kill().await;
    // Without the second it cannot be ended.
    let vote = openraft::ChangeMembers::AddVoterIds([2].into());
    let library = raft.library.clone();
    let begun = tokio::spawn(async move { library.change_membership(vote, false).await });
    wait_for_async("the middle of it", LATE, async || {
        let voters = raft.members().iter().filter(|m| m.voter).count();
        (voters == 2).then_some(()).ok_or(voters)
    })
    .await;
    assert!(!begun.is_finished());
    let (first, disk, _) = masters.pop().unwrap().kill().await;
    masters.push(Running::start(first, disk, tuning).await);
    masters.push(Running::start(seat, device, tuning).await);
    voters(&masters, 2).await;
    let leading = leader(&masters).await;
    let raft = &masters[leading].raft;
    raft.propose(started(2), SOON).await.unwrap();
    for master in masters {
        master.stop().await;
    }
}

/// Its machine lost its power when it had heard of the leader, and of no entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_kept_nothing_but_its_vote_starts_and_catches_up() {
    let mut masters = several(1, Tuning::default()).await;
    let vote = masters[0].device.read(VOTE).unwrap().unwrap();
    let disk = Device::default();
    disk.replace(VOTE, &vote).unwrap();
    let second = place(2, "c", local(quiet_port()));
    masters.push(Running::start(second, disk, Tuning::default()).await);
    let raft = masters[0].raft.clone();
    raft.take_in(2, &masters[1].seat.member).await.unwrap();
    raft.propose(started(2), SOON).await.unwrap();
    caught_up(&masters, 2).await;
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn voters_stay_odd_and_masters_can_leave() {
    let mut masters = several(3, Tuning::default()).await;
    let fourth = place(4, "c", local(quiet_port()));
    masters.push(Running::start(fourth.clone(), Device::default(), Tuning::default()).await);
    let raft = masters[leader(&masters).await].raft.clone();
    let namesake = Member {
        name: "m2".into(),
        ..fourth.member.clone()
    };
    let refused = raft.take_in(4, &namesake).await.unwrap_err();
    assert!(refused.to_string().contains("a master m2"), "{refused}");
    raft.take_in(4, &fourth.member).await.unwrap();
    voters(&masters, 3).await;
    assert_eq!(raft.members().len(), 4, "the fourth only follows");
    let refused = raft.transfer("m4").await.unwrap_err();
    assert!(refused.to_string().contains("no vote"), "{refused}");
    raft.transfer("m3").await.unwrap();
    wait_for_async("m3 leading", LATE, async || {
        let leads = masters[2].raft.leadership().borrow().leading;
        leads.then_some(()).ok_or("not yet")
    })
    .await;
    let raft = masters[2].raft.clone();
    wait_for_async("m1 removed", LATE, async || raft.send_away("m1").await).await;
    masters.remove(0).kill().await;
    // The follower takes the empty seat.
    voters(&masters, 3).await;
    let refused = raft.send_away("m1").await.unwrap_err();
    assert!(
        refused.to_string().contains("there are m2, m3, m4"),
        "{refused}"
    );
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test]
async fn strangers_are_refused() {
    let ours = place(1, "c", local(quiet_port()));
    let master = Running::start(ours.clone(), Device::default(), Tuning::default()).await;
    let ask = async |seat: Seat, to: u64| {
        let peer = Network::new(Arc::new(seat)).peer(to, &ours.member);
        peer.read_index(SOON).await
    };
    let friend = place(2, "c", local(1));
    assert!(ask(friend.clone(), 1).await.unwrap() > LogIndex(0));
    let foreign = ask(place(2, "d", local(1)), 1).await.unwrap_err();
    assert_eq!(foreign.code(), Code::FailedPrecondition);
    assert!(foreign.message().contains("cluster d"), "{foreign}");
    let misled = ask(friend.clone(), 3).await.unwrap_err();
    assert_eq!(misled.code(), Code::FailedPrecondition);
    for credentials in [None, Some(secrets("secreT"))] {
        let stranger = Seat {
            credentials,
            ..friend.clone()
        };
        let refused = ask(stranger, 1).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
    }
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_counts_once_on_every_master() {
    let mut masters = several(3, Tuning::default()).await;
    let leading = leader(&masters).await;
    let raft = masters[leading].raft.clone();
    let write = async |raft: &Raft, n: u64| {
        let written = raft.propose_once(started(n), Some("k".into()), SOON).await;
        written.unwrap().reply
    };
    let first = write(&raft, 2).await;
    let (seat, device, tuning) = masters.swap_remove(leading).kill().await;
    let next = masters[leader(&masters).await].raft.clone();
    assert_eq!(write(&next, 3).await, first, "the answer of then");
    assert_eq!(next.newest().state().clock, Timestamp(2), "and nothing new");
    next.library.trigger().snapshot().await.unwrap();
    masters.push(Running::start(seat, device, tuning).await);
    caught_up(&masters, 2).await;
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_what_was_just_answered() {
    let masters = several(3, Tuning::default()).await;
    let leading = leader(&masters).await;
    for n in 2..30 {
        masters[leading]
            .raft
            .propose(started(n), SOON)
            .await
            .unwrap();
        for master in &masters {
            let read = master.raft.read_here(SOON).await.unwrap();
            assert_eq!(read.state().clock.0, n);
        }
    }
    for master in masters {
        master.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_cut_off_when_it_hears_nobody_and_not_when_nobody_writes() {
    let mut masters = several(3, Tuning::default()).await;
    let leading = masters.swap_remove(leader(&masters).await);
    let cut_off = async || match leading.raft.is_cut_off() {
        true => Err("cut off"),
        false => Ok(()),
    };
    stays_async("an idle leader", ELECTION.1 * 6, cut_off).await;
    leading.raft.propose(started(2), SOON).await.unwrap();
    for other in masters {
        other.kill().await;
    }
    wait_for_async("the leader noticing", LATE, async || {
        match cut_off().await {
            Ok(()) => Err("not yet"),
            Err(_) => Ok(()),
        }
    })
    .await;
    let begun = Instant::now();
    let refused = leading.raft.propose(started(3), SOON).await.unwrap_err();
    assert!(
        matches!(refused, ProposeError::NoLeader { .. }),
        "{refused}"
    );
    assert!(begun.elapsed() < Duration::from_secs(1), "told at once");
    leading.stop().await;
}

/// In the middle of an upgrade: the old one waits, and goes on living.
#[tokio::test]
async fn entries_of_the_next_version_are_refused_at_the_door() {
    let ours = place(1, "c", local(quiet_port()));
    let master = Running::start(ours.clone(), Device::default(), Tuning::default()).await;
    let newer = place(2, "c", local(1));
    let mut peer = Network::new(Arc::new(newer)).peer(1, &ours.member);
    let mut write = Write::new(Format::NEWEST, started(9), None);
    write.v = write.v.next();
    let leader = openraft::vote::leader_id_std::CommittedLeaderId::new(9);
    let at = openraft::LogId::new(leader, 1);
    let rpc = AppendEntriesRequest {
        vote: openraft::Vote::new_committed(9, 2),
        prev_log_id: None,
        entries: vec![Entry::new_normal(at, write)],
        leader_commit: None,
    };
    let refused = peer.append_entries(rpc, RPCOption::new(SOON)).await;
    let told = refused.unwrap_err().to_string();
    let newer = Format::NEWEST.next();
    assert!(told.contains(&format!("is of format {newer}")), "{told}");
    assert!(master.raft.leadership().borrow().term < Term(9));
    master.stop().await;
}

/// It would end a master to begin with one: the door says no, before the first piece.
#[tokio::test]
async fn a_snapshot_of_the_next_version_is_refused_at_the_door() {
    let ours = place(1, "c", local(quiet_port()));
    let master = Running::start(ours.clone(), Device::default(), Tuning::default()).await;
    let newer = place(2, "c", local(1));
    let mut peer = Network::new(Arc::new(newer)).peer(1, &ours.member);
    let snapshot = Snapshot {
        meta: SnapshotMeta::default(),
        snapshot: br#"{"format":99,"unknown":{}}"#.to_vec(),
    };
    let vote = openraft::Vote::new_committed(9, 2);
    let never = std::future::pending();
    let option = RPCOption::new(SOON);
    let sent = RaftNetworkV2::full_snapshot(&mut peer, vote, snapshot, never, option);
    let told = sent.await.unwrap_err().to_string();
    assert!(told.contains("snapshot is of format 99"), "{told}");
    let files = master.device.list().unwrap();
    assert!(!files.contains(&"snapshot".to_owned()), "{files:?}");
    assert!(master.raft.leadership().borrow().term < Term(9));
    master.raft.propose(init(), SOON).await.unwrap();
    master.stop().await;
}
