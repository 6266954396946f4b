//! This master's own certificate: signed by itself at every start, because every master holds the authority, and again long before it ends.

use std::time::Duration;

use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_tls::{Authority, Identity, LIFETIME, Party, Role, TlsError};

use crate::raft::Member;

/// Time between two looks at the clock, which may jump.
const LOOK: Duration = Duration::from_secs(60);

/// Signs for one master.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    authority: Authority,
    member: Member,
    lifetime: Duration,
}

impl Signer {
    pub(super) fn new(authority: Authority, member: Member) -> Self {
        Self {
            authority,
            member,
            lifetime: LIFETIME,
        }
    }

    /// What this master shows.
    pub(super) fn party(&self) -> Result<Party, TlsError> {
        Party::new(self.sign(SystemClock.now())?)
    }

    fn sign(&self, now: Timestamp) -> Result<Identity, TlsError> {
        let role = Role::Master(self.member.name.clone());
        let hosts = hosts(&self.member);
        self.authority.issue(role, &hosts, now, self.lifetime)
    }

    /// Renews the certificate of `party` for ever.
    pub(super) async fn keep_fresh(self, party: Party) {
        loop {
            let now = SystemClock.now();
            if party.is_due(now) {
                match self.sign(now).and_then(|identity| party.renew(identity)) {
                    Ok(()) => tracing::info!("this master's certificate was renewed"),
                    Err(error) => tracing::error!(%error, "this master's certificate stays old"),
                }
            }
            tokio::time::sleep(LOOK.min(self.lifetime / 12)).await;
        }
    }
}

/// The hosts of a master's addresses, for clients that look at host names.
fn hosts(member: &Member) -> Vec<String> {
    let addresses = [&member.api, &member.agents, &member.peers];
    let host = |address: &String| {
        let (host, _port) = address.rsplit_once(':')?;
        let host = host.trim_matches(['[', ']']);
        // What is neither IP nor name cannot be written into a certificate.
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        (!host.is_empty() && host.chars().all(fits)).then(|| host.to_owned())
    };
    let mut hosts: Vec<String> = addresses.into_iter().filter_map(host).collect();
    hosts.sort();
    hosts.dedup();
    hosts
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_testkit::wait::wait_for;

    use super::*;

    fn signer(lifetime: Duration) -> Signer {
        let authority = Authority::found(&"c".parse().unwrap(), SystemClock.now()).unwrap();
        let member = Member {
            name: "m1".into(),
            api: "m.example:7400".into(),
            agents: "[::1]:7401".into(),
            peers: "m.example:7402".into(),
            ..Member::default()
        };
        Signer {
            lifetime,
            ..Signer::new(authority, member)
        }
    }

    #[test]
    fn every_host_is_named_once() {
        let hosts = hosts(&signer(LIFETIME).member);
        assert_eq!(hosts, ["::1", "m.example"]);
    }

    #[test]
    fn a_certificate_is_renewed_before_it_ends() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let lifetime = Duration::from_secs(3);
        let signer = signer(lifetime);
        let party = signer.party().unwrap();
        let first = party.identity();
        runtime.spawn(signer.keep_fresh(party.clone()));
        wait_for("another certificate", lifetime, || {
            let now = party.identity();
            if now == first {
                Err("the first")
            } else {
                Ok(())
            }
        });
        assert!(!party.is_due(SystemClock.now()));
    }
}
