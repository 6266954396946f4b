//! The masters agree on a newer format: never on an older one, never over one.

use hancock_proto::api::ApiError;
use hancock_proto::event::Level;

use super::step::{About, Step};
use crate::command::Reply;
use crate::format::Format;
use crate::refuse;

pub(super) fn agree(step: &mut Step<'_>, format: Format) -> Result<Reply, ApiError> {
    let before = step.state.format;
    // Both, because the largest number is its own next.
    if format <= before || format != before.next() {
        return Err(refuse::outdated(format!("write format {format}")));
    }
    step.state.format = format;
    let message = format!(
        "the masters write format {format} from here on; a version that knows formats up to {before} cannot go on with it"
    );
    step.event(Level::Info, "format_agreed", About::default(), message);
    Ok(Reply::Done)
}
