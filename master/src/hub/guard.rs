//! Who may call the hub: agents with a certificate of their node, or, where there are none, with the join token.

use std::sync::Arc;

use hancock_proto::ids::NodeId;
use hancock_wire::EnrollRequest;
use tonic::{Request, Status};

use super::line::At;
use crate::access::{Credentials, is_bearer};

/// How callers are told apart.
#[derive(Clone)]
pub(crate) enum Guard {
    /// Everybody is of this process.
    Open,
    /// By the join token.
    Token(Arc<Credentials>),
    /// By certificate; the join token is for the first one.
    Certificates(Arc<Credentials>),
}

impl Guard {
    pub(crate) fn new(credentials: &Credentials) -> Self {
        let known = Arc::new(credentials.clone());
        match credentials.is_encrypted() {
            true => Self::Certificates(known),
            false => Self::Token(known),
        }
    }

    /// The node a session must be of; None: it may be any.
    pub(super) fn admit<T>(&self, request: &Request<T>) -> Result<Option<NodeId>, Status> {
        match self {
            Self::Open => Ok(None),
            Self::Token(credentials) if shows(request, credentials) => Ok(None),
            Self::Token(_) => Err(no_token()),
            Self::Certificates(_) => certified(request).map(Some).ok_or_else(|| {
                Status::unauthenticated(
                    "the caller shows no certificate of a node; it gets one with the join token",
                )
            }),
        }
    }

    /// Who signs for the node that asks, when it may be given a certificate.
    pub(super) fn enroll(
        &self,
        request: &Request<EnrollRequest>,
    ) -> Result<(&Credentials, NodeId), Status> {
        let Self::Certificates(credentials) = self else {
            return Err(Status::failed_precondition(
                "this cluster was begun without certificates; agents show it the join token",
            ));
        };
        let node: Result<NodeId, _> = request.get_ref().node.parse();
        let node = node.map_err(|e| Status::invalid_argument(e.to_string()))?;
        match certified(request) {
            Some(known) if known == node => Ok((credentials, node)),
            Some(other) => Err(Status::permission_denied(format!(
                "the certificate is of node {other}, which gets none for node {node}"
            ))),
            None if shows(request, credentials) => Ok((credentials, node)),
            None => Err(no_token()),
        }
    }
}

fn no_token() -> Status {
    Status::unauthenticated("this is not the join token that `hancock master init` printed")
}

fn shows<T>(request: &Request<T>, credentials: &Credentials) -> bool {
    let shown = request.metadata().get("authorization");
    shown.is_some_and(|shown| is_bearer(shown.as_bytes(), &credentials.join))
}

/// The node that the connection's certificate names.
fn certified<T>(request: &Request<T>) -> Option<NodeId> {
    let at = request.extensions().get::<At>()?;
    at.caller.name.as_ref()?.as_node().cloned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hancock_proto::time::Timestamp;
    use hancock_tls::{Authority, Caller, Name};
    use tokio_util::sync::CancellationToken;
    use tonic::Code;

    use super::*;

    fn guard() -> (Guard, String) {
        let authority = Authority::found(&"c".parse().unwrap(), Timestamp(0)).unwrap();
        let credentials = Credentials::draw(Some(authority)).unwrap();
        (Guard::new(&credentials), credentials.join)
    }

    fn asks(node: &str, token: Option<&str>, name: Option<Name>) -> Request<EnrollRequest> {
        let node = node.to_owned();
        let public_key = Vec::new();
        let mut request = Request::new(EnrollRequest { node, public_key });
        if let Some(token) = token {
            let value = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        let address = None;
        request.extensions_mut().insert(At {
            caller: Caller { address, name },
            cut: CancellationToken::new(),
        });
        request
    }

    fn node(name: &str) -> Option<Name> {
        let cluster = "c".parse().unwrap();
        Some(Name::node(&cluster, &name.parse().unwrap()))
    }

    #[test]
    fn sessions_are_of_certified_nodes() {
        let (guard, join) = guard();
        let admitted = guard.admit(&asks("n1", None, node("n1"))).unwrap();
        assert_eq!(admitted.unwrap().as_str(), "n1");
        let master = Some(Name::master(&"c".parse().unwrap(), "m1"));
        for (token, name) in [(None, None), (Some(&*join), None), (None, master)] {
            let refused = guard.admit(&asks("n1", token, name)).unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated);
        }
    }

    #[test]
    fn the_join_token_or_the_own_certificate_gets_one() {
        let (guard, join) = guard();
        let code = |request| guard.enroll(&request).map_err(|status| status.code());
        assert!(code(asks("n1", Some(&join), None)).is_ok());
        assert!(code(asks("n1", None, node("n1"))).is_ok());
        let theirs = code(asks("n2", Some(&join), node("n1")));
        assert_eq!(theirs.err(), Some(Code::PermissionDenied));
        for token in [None, Some("join-wrong")] {
            let refused = code(asks("n1", token, None));
            assert_eq!(refused.err(), Some(Code::Unauthenticated));
        }
        let misnamed = code(asks("-", Some(&join), None));
        assert_eq!(misnamed.err(), Some(Code::InvalidArgument));
    }

    #[test]
    fn clusters_without_certificates_have_the_token_only() {
        let credentials = Credentials::draw(None).unwrap();
        let guard = Guard::new(&credentials);
        let shown = asks("n1", Some(&credentials.join), None);
        assert_eq!(guard.admit(&shown).unwrap(), None);
        assert!(guard.admit(&asks("n1", None, None)).is_err());
        let refused = guard.enroll(&shown).map(drop).unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
    }
}
