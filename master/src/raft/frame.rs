//! Frames between masters: who speaks to whom in which cluster is judged before a body is read.

use hancock_proto::ids::ClusterId;
use hancock_wire::peers::PeerFrame;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use super::member::Seat;

/// Largest frame: a batch of entries ends at [`super::log::BATCH`], a single entry may be larger.
pub(crate) const LIMIT: usize = 64 << 20;
/// Metadata key of the cluster's secret.
const SECRET: &str = "authorization";

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

    /// The ends of an answer to `frame`, when it is for master `us` of this cluster.
    pub(crate) fn of(frame: &PeerFrame, seat: &Seat) -> Result<Self, Status> {
        let ends = Self::new(seat, frame.from);
        ends.judge(frame)?;
        Ok(ends)
    }

    /// Whether `frame` is of this conversation.
    pub(crate) fn judge(&self, frame: &PeerFrame) -> Result<(), Status> {
        if frame.cluster != self.cluster.as_str() {
            let (theirs, ours) = (&frame.cluster, &self.cluster);
            return Err(Status::failed_precondition(format!(
                "master {} belongs to cluster {theirs}, this is cluster {ours}; correct the addresses of its configuration",
                frame.from
            )));
        }
        if (frame.from, frame.to) != (self.them, self.us) {
            return Err(Status::failed_precondition(format!(
                "a message of master {} for master {} came to master {}; two masters were given one address",
                frame.from, frame.to, self.us
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
    let value = seat.secret.as_deref().map(bearer);
    if let Some(Ok(value)) = value.map(|text| text.parse()) {
        request.metadata_mut().insert(SECRET, value);
    }
}

/// Refuses who does not show the cluster's secret.
pub(crate) fn admit(metadata: &MetadataMap, seat: &Seat) -> Result<(), Status> {
    let Some(secret) = &seat.secret else {
        return Ok(());
    };
    let shown = metadata.get(SECRET).map_or(&[][..], |v| v.as_bytes());
    match crate::access::same(shown, bearer(secret).as_bytes()) {
        true => Ok(()),
        false => Err(Status::unauthenticated(
            "the caller does not show this cluster's secret; only masters that joined it have it",
        )),
    }
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}
