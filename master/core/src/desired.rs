//! What nodes shall run and what balancers shall see, derived from the state.

mod assignment;
mod documents;
mod repairs;
mod stream;

pub use assignment::assignment;
pub(crate) use assignment::{assigned, derive_assigned, is_other_image, is_ready};
pub use documents::{batch, documents};
pub use repairs::repairs;
pub use stream::{chosen, registry_news};
