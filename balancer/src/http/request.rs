//! A request as it came and as it goes on: the target in the client's own bytes, the connection in ours.

use hyper::http::header;
use pingora_core::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use hancock_balancer_core::head;

/// Of a target the engine could not hold, what the client sent: origins, hashes and records are told that.
pub(super) fn restore_target(session: &mut Session) -> Result<()> {
    match head::as_sent(session.req_header().raw_path()) {
        Some(target) => session.req_header_mut().set_raw_path(&target),
        None => Ok(()),
    }
}

/// The client's connection is not the origin's.
pub(super) fn own_connection(request: &mut RequestHeader, upgrade: bool) -> Result<()> {
    if upgrade {
        request.insert_header(header::CONNECTION, "Upgrade")?;
    } else {
        request.remove_header(&header::CONNECTION);
    }
    if request.headers.contains_key(header::TRANSFER_ENCODING) {
        // In one spelling: not everybody reads it in capitals.
        request.insert_header(header::TRANSFER_ENCODING, "chunked")?;
    }
    Ok(())
}
