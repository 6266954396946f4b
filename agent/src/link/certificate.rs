//! The node's certificate: fetched with the join token when there is none that can be used, renewed with itself, and kept in a file of the
//! node alone.
//!
//! It is looked at whenever a connection is made, which is when it counts; the session that is open goes on with the one it began with.

use std::path::{Path, PathBuf};

use hancock_proto::ids::NodeId;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_tls::{EnrollError, Identity, Party, Pin, Role, enroll, renew};
use tokio::sync::Mutex;

use super::LinkError;
use super::grpc::unreachable;
use crate::journal::write_secret;

/// The file.
const FILE: &str = "certificate.json";

/// One node's certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    pin: Pin,
    node: NodeId,
    path: PathBuf,
    party: Mutex<Option<Party>>,
}

/// What to do before a connection.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Show what there is.
    Show,
    /// Ask for a newer one; what there is still counts.
    Renew,
    /// Ask for the first one.
    Enroll,
}

impl Certificate {
    pub(super) fn new(pin: Pin, node: NodeId, folder: &Path) -> Self {
        Self {
            pin,
            node,
            path: folder.join(FILE),
            party: Mutex::default(),
        }
    }

    /// What to show to the master at `at`, which is asked for a certificate with `token` when that is due.
    ///
    /// # Errors
    /// There is none to show, and that master gives none.
    pub(super) async fn party(&self, at: &str, token: &str) -> Result<Party, LinkError> {
        let mut held = self.party.lock().await;
        let known = held.take().or_else(|| self.load());
        let step = next(known.as_ref().map(Party::identity).as_ref(), now());
        let masters = [at.to_owned()];
        let party = match (known, step) {
            (Some(party), Step::Show) => party,
            (Some(party), Step::Renew) => {
                self.renew(&masters, &party).await;
                party
            }
            (_, Step::Enroll) | (None, _) => self.enroll(&masters, token).await?,
        };
        *held = Some(party.clone());
        Ok(party)
    }

    /// What is in the file, when it is this node's in the token's cluster.
    fn load(&self) -> Option<Party> {
        let text = std::fs::read(&self.path).ok()?;
        let party = serde_json::from_slice(&text)
            .map_err(|e| e.to_string())
            .and_then(|identity| Party::new(identity).map_err(|e| e.to_string()));
        let party = party.inspect_err(|error| {
            let path = self.path.display();
            tracing::warn!(%path, error, "the node's certificate cannot be read; another one is fetched");
        });
        party.ok().filter(|party| self.is_ours(party))
    }

    fn is_ours(&self, party: &Party) -> bool {
        let ours = Role::Node(self.node.clone());
        party.name().role == ours && party.pin() == self.pin
    }

    async fn enroll(&self, masters: &[String], token: &str) -> Result<Party, LinkError> {
        let identity = enroll(masters, token, &self.node).await;
        let identity = identity.map_err(|error| refusal(&error))?;
        let party = Party::new(identity).map_err(|e| unreachable(&e.to_string()))?;
        if !self.is_ours(&party) {
            return Err(unreachable("the certificate that came is another node's"));
        }
        tracing::info!(until = %party.identity().signed().until, "the node got its certificate");
        self.keep(&party.identity());
        Ok(party)
    }

    async fn renew(&self, masters: &[String], party: &Party) {
        match renew(masters, party).await {
            Ok(identity) => {
                tracing::info!(until = %identity.signed().until, "the node's certificate was renewed");
                self.keep(&identity);
            }
            Err(error) => tracing::warn!(%error, "the node's certificate was not renewed"),
        }
    }

    /// A file that cannot be written costs another request at the next start.
    fn keep(&self, identity: &Identity) {
        let written = serde_json::to_vec(identity)
            .map_err(std::io::Error::other)
            .and_then(|bytes| write_secret(&self.path, &bytes));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the node's certificate cannot be kept");
        }
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn next(known: Option<&Identity>, now: Timestamp) -> Step {
    match known.map(Identity::signed) {
        None => Step::Enroll,
        Some(signed) if now >= signed.until => Step::Enroll,
        Some(signed) if signed.is_due(now) => Step::Renew,
        Some(_) => Step::Show,
    }
}

fn refusal(error: &EnrollError) -> LinkError {
    let reason = error.to_string();
    match error {
        EnrollError::Refused { .. } | EnrollError::NoFingerprint => LinkError::Refused { reason },
        _ => LinkError::Unreachable { reason },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use hancock_tls::Authority;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn identity(authority: &Authority, node: &str) -> Identity {
        let role = Role::Node(node.parse().unwrap());
        authority.issue(role, &[], now(), HOUR).unwrap()
    }

    fn authority() -> Authority {
        Authority::found(&"c".parse().unwrap(), now()).unwrap()
    }

    #[test]
    fn it_is_renewed_in_its_last_third_and_fetched_anew_after_it() {
        let known = identity(&authority(), "n1");
        let at = |minutes: u64| known.signed().from + Duration::from_secs(60 * minutes);
        let step = |minutes| next(Some(&known), at(minutes));
        assert_eq!(next(None, at(0)), Step::Enroll);
        assert_eq!([step(0), step(39)], [Step::Show, Step::Show]);
        assert_eq!([step(40), step(59)], [Step::Renew, Step::Renew]);
        assert_eq!(step(60), Step::Enroll);
    }

    #[test]
    fn what_is_another_nodes_or_clusters_is_not_shown() {
        let (ours, theirs) = (authority(), authority());
        let dir = tempfile::tempdir().unwrap();
        let node = |name: &str| name.parse::<NodeId>().unwrap();
        let keeper = Certificate::new(ours.pin().unwrap(), node("n1"), dir.path());
        assert!(keeper.load().is_none());
        keeper.keep(&identity(&ours, "n1"));
        assert!(keeper.load().is_some());
        let mode = std::fs::metadata(&keeper.path)
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let renamed = Certificate::new(ours.pin().unwrap(), node("n2"), dir.path());
        assert!(renamed.load().is_none());
        let moved = Certificate::new(theirs.pin().unwrap(), node("n1"), dir.path());
        assert!(moved.load().is_none());
        std::fs::write(&keeper.path, "{").unwrap();
        assert!(keeper.load().is_none());
    }
}
