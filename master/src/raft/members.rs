//! Who the masters are: taking one in, sending one away, handing over the lead.
//!
//! An added master first only follows. The leader lets followers vote when that makes the number of voters odd: a second voter alone
//! would add a way to fail and none to survive.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hancock_master_core::Format;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Membership};

use super::member::Member;
use super::runtime::{sleep, timeout};
use super::types::Types;
use super::{Raft, START_DEADLINE};

/// Most masters of a cluster: beyond five every write only becomes slower.
const MOST: usize = 5;
/// Time between two looks at followers that shall vote, and at a handover.
const LOOK: Duration = Duration::from_millis(50);
/// Entries a follower may be behind when it gets its vote.
const BEHIND: u64 = 100;
/// Longest a handover of the lead may take; a follower that does not take it leaves it to an election.
const HANDOVER: Duration = Duration::from_secs(2);

/// One master of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seated {
    pub(crate) id: u64,
    pub(crate) member: Member,
    pub(crate) voter: bool,
    pub(crate) leader: bool,
    /// Entries it has; None: not known here, because another master leads or it was not heard.
    pub(crate) log: Option<u64>,
}

/// Why the masters stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MemberError {
    /// Another master must be asked.
    #[error("this master does not lead")]
    NotLeading,
    /// A name is one master's.
    #[error(
        "there is a master {name} in the cluster already, at {peers}; remove it first, or give the new one another name"
    )]
    NameTaken { name: String, peers: String },
    /// It could not read what the others write.
    #[error(
        "the cluster writes format {agreed}, the version of {name} knows formats up to {knows}: install the version of the other masters"
    )]
    TooOld {
        name: String,
        knows: Format,
        agreed: Format,
    },
    /// Five are enough.
    #[error("the cluster has {MOST} masters, which is the most; remove one first")]
    Full,
    /// No such master.
    #[error("there is no master {name}; there are {known}")]
    Unknown { name: String, known: String },
    /// The last one.
    #[error("{name} is the only voter; the cluster would end with it")]
    Last { name: String },
    /// It follows but has no vote, or is not there.
    #[error("{name} cannot lead: {reason}")]
    CannotLead { name: String, reason: &'static str },
    /// Raft said no, or not yet.
    #[error("the change was not made: {reason}")]
    Refused { reason: String },
}

type Changed<T> = Result<T, RaftError<Types, ClientWriteError<Types>>>;

impl Raft {
    /// The masters, as far as this one knows; by name.
    pub(crate) fn members(&self) -> Vec<Seated> {
        let metrics = self.library.metrics();
        let now = metrics.borrow_watched();
        let voters: BTreeSet<u64> = now.membership_config.voter_ids().collect();
        let log = |id: &u64| match &now.replication {
            _ if *id == self.seat.id => now.last_log_index,
            Some(sent) => sent.get(id).copied().flatten().map(|at| at.index),
            None => None,
        };
        let mut members: Vec<Seated> = now
            .membership_config
            .nodes()
            .map(|(id, member)| Seated {
                id: *id,
                member: member.clone(),
                voter: voters.contains(id),
                leader: now.current_leader == Some(*id),
                log: log(id),
            })
            .collect();
        members.sort_by(|a, b| a.member.name.cmp(&b.member.name));
        members
    }

    /// The newest format each master knows, by name.
    pub(crate) fn knowledge(&self) -> BTreeMap<String, Format> {
        let members = self.members().into_iter();
        members.map(|m| (m.member.name, m.member.knows)).collect()
    }

    /// Makes `member` one of the masters, or changes its addresses. It votes as soon as that makes the voters odd.
    pub(crate) async fn take_in(&self, id: u64, member: &Member) -> Result<(), MemberError> {
        let members = self.members();
        if members.iter().any(|m| m.id == id && m.member == *member) {
            return Ok(());
        }
        self.refuse_older(&member.name, member.knows)?;
        let change = match members.iter().find(|seated| seated.id == id) {
            Some(_) => ChangeMembers::SetNodes([(id, member.clone())].into()),
            None if members.len() >= MOST => return Err(MemberError::Full),
            None => {
                refuse_namesake(&members, member)?;
                ChangeMembers::AddNodes([(id, member.clone())].into())
            }
        };
        self.change(change).await?;
        tracing::info!(name = member.name, peers = member.peers, "master taken in");
        Ok(())
    }

    /// Refuses a master that does not know the format agreed on.
    pub(super) fn refuse_older(&self, name: &str, knows: Format) -> Result<(), MemberError> {
        let agreed = self.newest().state().format;
        match knows >= agreed {
            true => Ok(()),
            false => Err(MemberError::TooOld {
                name: name.to_owned(),
                knows,
                agreed,
            }),
        }
    }

    /// Sends a master away for ever. The leader hands over first: then the answer is [`MemberError::NotLeading`].
    pub(crate) async fn send_away(&self, name: &str) -> Result<(), MemberError> {
        let members = self.members();
        let leaving = find(&members, name)?;
        let voters = members.iter().filter(|seated| seated.voter).count();
        if leaving.voter && voters == 1 {
            let name = name.to_owned();
            return Err(MemberError::Last { name });
        }
        if leaving.id == self.seat.id {
            self.hand_over().await;
            return Err(MemberError::NotLeading);
        }
        let ids = BTreeSet::from([leaving.id]);
        if leaving.voter {
            self.change(ChangeMembers::RemoveVoters(ids)).await?;
        } else {
            self.change(ChangeMembers::RemoveNodes(ids)).await?;
        }
        tracing::info!(name, "master removed");
        Ok(())
    }

    /// Makes one change after the other: while one is under way the next waits.
    async fn change(&self, change: ChangeMembers<u64, Member>) -> Result<(), MemberError> {
        let attempts = async {
            let _turn = self.changing.lock().await;
            loop {
                let changed = self.library.change_membership(change.clone(), false).await;
                if !is_busy(&changed) {
                    return judge(changed);
                }
                sleep(LOOK).await;
            }
        };
        let late = |_| MemberError::Refused {
            reason: "too few masters answer; see which with `hancock master list`".into(),
        };
        timeout(START_DEADLINE, attempts).await.map_err(late)?
    }

    /// Makes the master `name` the leader.
    pub(crate) async fn transfer(&self, name: &str) -> Result<(), MemberError> {
        let members = self.members();
        let next = find(&members, name)?;
        let cannot = |reason| MemberError::CannotLead {
            name: name.to_owned(),
            reason,
        };
        match next {
            next if next.leader => Ok(()),
            next if !next.voter => Err(cannot("it only follows and has no vote")),
            next if !self.is_close(next) => {
                Err(cannot("it is behind or away; see `hancock master list`"))
            }
            next if self.hand_to(next).await => Ok(()),
            _ => Err(cannot("it did not take the lead in time; try again")),
        }
    }

    /// Whether no change of the voters is under way. In the middle of one, the old voters and the new must both agree: whoever leaves
    /// then may leave the others unable to write.
    pub(super) fn is_settled(&self) -> bool {
        let metrics = self.library.metrics();
        let now = metrics.borrow_watched();
        let newest = &now.membership_config;
        !is_joint(newest.membership())
            && newest.log_id() == now.committed_membership_config.log_id()
    }

    /// Waits for [`Raft::is_settled`], but not longer than `deadline`.
    async fn settled(&self, deadline: Duration) {
        let looks = async {
            while !self.is_settled() {
                sleep(LOOK).await;
            }
        };
        if timeout(deadline, looks).await.is_err() {
            tracing::warn!(?deadline, "the voters are still changing");
        }
    }

    /// Gives the lead to whoever has most of the log; nothing when this master does not lead or is the only voter.
    pub(crate) async fn hand_over(&self) {
        if !self.leadership.borrow().leading {
            return;
        }
        self.settled(HANDOVER).await;
        let members = self.members();
        let others = members
            .iter()
            .filter(|seated| seated.voter && !seated.leader);
        let Some(next) = others.max_by_key(|seated| seated.log) else {
            return;
        };
        if !self.is_close(next) || !self.hand_to(next).await {
            tracing::warn!("no other master took the lead; they will elect one");
        }
    }

    async fn hand_to(&self, next: &Seated) -> bool {
        tracing::info!(to = next.member.name, "handing over the lead");
        if self
            .library
            .trigger()
            .transfer_leader(next.id)
            .await
            .is_err()
        {
            return false;
        }
        let taken = self.library.wait(Some(HANDOVER));
        let taken = taken.current_leader(next.id, "handover");
        taken.await.is_ok()
    }

    /// Whether a follower has nearly everything the leader has.
    fn is_close(&self, follower: &Seated) -> bool {
        let metrics = self.library.metrics();
        let last = metrics.borrow_watched().last_log_index.unwrap_or(0);
        follower.log.is_some_and(|has| has + BEHIND >= last)
    }

    /// It leads and has no room, while another one may have.
    pub(super) fn is_stuck(&self) -> bool {
        let others = self.library.voter_ids().nth(1).is_some();
        others && self.leadership.borrow().leading && self.full().is_some()
    }

    /// Gives followers their vote, and ends changes that a former leader has left half done, for as long as Raft runs.
    pub(super) async fn promote(self) {
        let mut leadership = self.leadership.clone();
        while leadership.wait_for(|now| now.leading).await.is_ok() {
            // Without a sign of life the others elect one of them. A handover would wait for what cannot be written here.
            let lives = !self.is_stuck();
            self.library.runtime_config().heartbeat(lives);
            // One that this master is making is not left half done: ended twice, it would be refused to who asked for it.
            let due = self.changing.try_lock().ok().and_then(|_turn| self.due());
            if let Some(ids) = due {
                match self.change(ChangeMembers::AddVoterIds(ids)).await {
                    Ok(()) => tracing::info!("more masters vote"),
                    Err(error) => tracing::debug!(%error, "followers do not vote yet"),
                }
            }
            tokio::select! {
                biased;
                () = self.ended() => return,
                () = sleep(LOOK) => {}
            }
        }
    }

    /// Followers that shall vote now; an empty set ends what is half done.
    fn due(&self) -> Option<BTreeSet<u64>> {
        let metrics = self.library.metrics();
        if is_joint(metrics.borrow_watched().membership_config.membership()) {
            return Some(BTreeSet::new());
        }
        let members = self.members();
        let (voters, others): (Vec<_>, Vec<_>) = members.iter().partition(|m| m.voter);
        let ready = others.iter().filter(|follower| self.is_close(follower));
        let mut ready: Vec<u64> = ready.map(|follower| follower.id).collect();
        ready.sort_unstable();
        // As many as keep the number of voters odd.
        let surplus = (voters.len() + ready.len() + 1) % 2;
        ready.truncate(ready.len().saturating_sub(surplus));
        (!ready.is_empty()).then(|| ready.into_iter().collect())
    }
}

fn find<'a>(members: &'a [Seated], name: &str) -> Result<&'a Seated, MemberError> {
    let found = members.iter().find(|seated| seated.member.name == name);
    found.ok_or_else(|| {
        let known: Vec<&str> = members.iter().map(|m| m.member.name.as_str()).collect();
        MemberError::Unknown {
            name: name.to_owned(),
            known: known.join(", "),
        }
    })
}

fn refuse_namesake(members: &[Seated], member: &Member) -> Result<(), MemberError> {
    match members.iter().find(|m| m.member.name == member.name) {
        Some(other) => Err(MemberError::NameTaken {
            name: member.name.clone(),
            peers: other.member.peers.clone(),
        }),
        None => Ok(()),
    }
}

/// Whether it is the middle of a change: the old voters and the new.
fn is_joint(membership: &Membership<u64, Member>) -> bool {
    membership.get_joint_config().len() > 1
}

/// Whether another change is under way.
fn is_busy<T>(changed: &Changed<T>) -> bool {
    let Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error))) = changed else {
        return false;
    };
    matches!(error, ChangeMembershipError::InProgress(_))
}

fn judge<T>(changed: Changed<T>) -> Result<(), MemberError> {
    match changed {
        Ok(_) => Ok(()),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_))) => {
            Err(MemberError::NotLeading)
        }
        Err(other) => Err(MemberError::Refused {
            reason: other.to_string(),
        }),
    }
}
