use std::time::Duration;

use hancock_proto::ids::ClusterId;
use hancock_proto::time::{Clock, SystemClock, Timestamp};

use super::*;
use crate::identity::certificate;
use crate::{Authority, Identity, Role};

const HOUR: Duration = Duration::from_secs(3600);

fn now() -> Timestamp {
    SystemClock.now()
}

fn authority() -> Authority {
    let cluster: ClusterId = "c1".parse().unwrap();
    Authority::found(&cluster, now()).unwrap()
}

fn master(authority: &Authority) -> Identity {
    let role = Role::Master("m1".to_owned());
    authority.issue(role, &[], now(), HOUR).unwrap()
}

/// What a client that knows `anchor` says to who shows `identity` at a time.
fn judge(anchor: Anchor, identity: &Identity, at: Timestamp) -> Result<(), String> {
    let verifier = Masters::new(anchor, &crate::party::provider());
    let leaf = certificate(&identity.signed.certificate).unwrap();
    let sent = [certificate(identity.authority()).unwrap()];
    // Not where the certificate says the master is: nobody looks.
    let host = ServerName::try_from("192.0.2.1").unwrap();
    let at = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
    let judged = verifier.verify_server_cert(&leaf, &sent, &host, &[], at);
    judged.map(drop).map_err(|error| error.to_string())
}

fn anchors(authority: &Authority) -> [Anchor; 2] {
    [
        Anchor::Pin(authority.pin().unwrap()),
        Anchor::Authority(certificate(authority.certificate()).unwrap()),
    ]
}

#[test]
fn masters_of_the_authority_are_believed() {
    let ours = authority();
    for anchor in anchors(&ours) {
        judge(anchor, &master(&ours), now()).unwrap();
    }
}

#[test]
fn masters_of_another_authority_are_not() {
    let (ours, theirs) = (authority(), authority());
    let [pin, whole] = anchors(&ours);
    let said = judge(pin, &master(&theirs), now()).unwrap_err();
    assert!(said.contains("another fingerprint"), "{said}");
    // Same names, other keys.
    let said = judge(whole, &master(&theirs), now()).unwrap_err();
    assert!(said.contains("BadSignature"), "{said}");
}

#[test]
fn the_right_authority_beside_a_strangers_certificate_is_not_enough() {
    let (ours, theirs) = (authority(), authority());
    let mut forged = master(&theirs);
    forged.signed.authority = ours.certificate().to_owned();
    for anchor in anchors(&ours) {
        let said = judge(anchor, &forged, now()).unwrap_err();
        assert!(said.contains("BadSignature"), "{said}");
    }
}

#[test]
fn nodes_are_no_masters() {
    let ours = authority();
    let role = Role::Node("n1".parse().unwrap());
    let node = ours.issue(role, &[], now(), HOUR).unwrap();
    for anchor in anchors(&ours) {
        let said = judge(anchor, &node, now()).unwrap_err();
        assert!(said.contains("invalid peer certificate"), "{said}");
    }
}

#[test]
fn certificates_end_and_clocks_may_be_behind() {
    let ours = authority();
    for anchor in anchors(&ours) {
        let shown = master(&ours);
        judge(anchor.clone(), &shown, now() - Duration::from_secs(600)).unwrap();
        let said = judge(anchor, &shown, now() + HOUR + HOUR).unwrap_err();
        assert!(said.contains("expired"), "{said}");
    }
}
