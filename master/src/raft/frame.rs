//! Frames between masters: who speaks to whom in which cluster is judged before a body is read.

use hancock_proto::ids::ClusterId;
use hancock_tls::Caller;
use hancock_wire::peers::PeerFrame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::member::Seat;
use crate::access::is_bearer;

/// Largest frame: a batch of entries ends at [`super::log::BATCH`], a single entry may be larger.
pub(crate) const LIMIT: usize = 64 << 20;
/// Metadata key of tokens.
const AUTHORIZATION: &str = "authorization";

/// One end of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    pub(crate) cluster: ClusterId,
    pub(crate) us: u64,
    pub(crate) them: u64,
}

impl Ends {
    pub(crate) fn new(seat: &Seat, them: u64) -> Self {
        Self {
            cluster: seat.cluster.clone(),
            us: seat.id,
            them,
        }
    }

    /// A frame with raw bytes.
    pub(crate) fn raw(&self, body: Vec<u8>) -> PeerFrame {
        PeerFrame {
            cluster: self.cluster.to_string(),
            from: self.us,
            to: self.them,
            body,
        }
    }

    /// A frame with a value as JSON.
    pub(crate) fn frame(&self, value: &impl Serialize) -> Result<PeerFrame, Status> {
        let body = serde_json::to_vec(value)
            .map_err(|e| Status::internal(format!("a message cannot be written: {e}")))?;
        Ok(self.raw(body))
    }

    /// The ends of an answer to `frame`, when it is for this master of this cluster.
    pub(crate) fn of(frame: &PeerFrame, seat: &Seat) -> Result<Self, Status> {
        let ends = Self::new(seat, frame.from);
        ends.judge(frame)?;
        Ok(ends)
    }

    /// As [`Ends::of`], whichever master of the cluster `frame` is for.
    pub(crate) fn of_any(frame: &PeerFrame, seat: &Seat) -> Result<Self, Status> {
        let ends = Self::new(seat, frame.from);
        ends.judge_cluster(frame)?;
        Ok(ends)
    }

    /// Whether `frame` is of this conversation.
    pub(crate) fn judge(&self, frame: &PeerFrame) -> Result<(), Status> {
        self.judge_cluster(frame)?;
        if (frame.from, frame.to) != (self.them, self.us) {
            return Err(Status::failed_precondition(format!(
                "a message of master {} for master {} came to master {}; two masters were given one address",
                frame.from, frame.to, self.us
            )));
        }
        Ok(())
    }

    fn judge_cluster(&self, frame: &PeerFrame) -> Result<(), Status> {
        if frame.cluster != self.cluster.as_str() {
            let (theirs, ours) = (&frame.cluster, &self.cluster);
            return Err(Status::failed_precondition(format!(
                "master {} belongs to cluster {theirs}, this is cluster {ours}; correct the addresses of its configuration",
                frame.from
            )));
        }
        Ok(())
    }
}

/// A frame's body as a type.
pub(crate) fn read<T: DeserializeOwned>(frame: &PeerFrame) -> Result<T, Status> {
    serde_json::from_slice(&frame.body)
        .map_err(|e| Status::invalid_argument(format!("the frame's body is not as expected: {e}")))
}

/// Shows the cluster's secret with a request.
pub(crate) fn sign<T>(request: &mut Request<T>, seat: &Seat) {
    if let Some(credentials) = &seat.credentials {
        show(request.metadata_mut(), &credentials.peers);
    }
}

/// Refuses who does not show the cluster's secret and, where there are certificates, that of a master.
pub(crate) fn admit<T>(request: &Request<T>, seat: &Seat) -> Result<(), Status> {
    if seat.party.is_some() && !is_master(request) {
        return Err(Status::unauthenticated(
            "the caller does not show a master's certificate of this cluster",
        ));
    }
    match &seat.credentials {
        Some(credentials) if !shows(request.metadata(), &credentials.peers) => {
            Err(Status::unauthenticated(
                "the caller does not show this cluster's secret; only masters that joined it have it",
            ))
        }
        _ => Ok(()),
    }
}

/// Whether the other end of the connection is a master.
fn is_master<T>(request: &Request<T>) -> bool {
    let caller = request.extensions().get::<Caller>();
    let name = caller.and_then(|caller| caller.name.as_ref());
    name.is_some_and(|name| name.as_master().is_some())
}

/// Puts `token` on a message.
pub(crate) fn show(metadata: &mut MetadataMap, token: &str) {
    if let Ok(value) = format!("Bearer {token}").parse() {
        metadata.insert(AUTHORIZATION, value);
    }
}

/// Whether a message has `token` on it.
pub(crate) fn shows(metadata: &MetadataMap, token: &str) -> bool {
    let shown = metadata.get(AUTHORIZATION);
    shown.is_some_and(|shown| is_bearer(shown.as_bytes(), token))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hancock_proto::time::Timestamp;
    use hancock_tls::{Authority, Name, Party, Role};
    use tonic::Code;

    use super::*;
    use crate::access::Credentials;

    fn seat(encrypted: bool) -> Seat {
        let cluster: ClusterId = "c".parse().unwrap();
        let authority = Authority::found(&cluster, Timestamp(0)).unwrap();
        let hour = Duration::from_secs(3600);
        let issued = authority.issue(Role::Master("m1".into()), &[], Timestamp(0), hour);
        let party = Party::new(issued.unwrap()).unwrap();
        Seat {
            credentials: Some(Arc::new(Credentials::draw(Some(authority)).unwrap())),
            party: encrypted.then_some(party),
            ..Seat::alone(cluster, "m1")
        }
    }

    /// A request with the cluster's secret over a connection of `name`.
    fn from(seat: &Seat, name: Option<Name>) -> Request<()> {
        let mut request = Request::new(());
        sign(&mut request, seat);
        let address = None;
        request.extensions_mut().insert(Caller { address, name });
        request
    }

    #[test]
    fn the_secret_counts_with_a_masters_certificate_only() {
        let seat = seat(true);
        let cluster = &seat.cluster;
        let master = Some(Name::master(cluster, "m2"));
        admit(&from(&seat, master.clone()), &seat).unwrap();
        let node = Some(Name::node(cluster, &"n1".parse().unwrap()));
        for name in [None, node] {
            let refused = admit(&from(&seat, name), &seat).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated);
        }
        let mut secretless = from(&seat, master);
        secretless.metadata_mut().clear();
        assert!(admit(&secretless, &seat).is_err());
    }

    #[test]
    fn without_certificates_the_secret_is_enough() {
        let seat = seat(false);
        admit(&from(&seat, None), &seat).unwrap();
    }
}
