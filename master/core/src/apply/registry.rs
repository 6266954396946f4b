//! The embedded registry.

use std::sync::Arc;

use hancock_proto::api::ApiError;
use hancock_proto::registry::{Batch, Fence};

use super::step::Step;
use crate::command::Reply;

pub(super) fn publish(
    step: &mut Step<'_>,
    batch: &Batch,
    fence: &Fence,
) -> Result<Reply, ApiError> {
    let store = Arc::make_mut(&mut step.state.registry);
    Ok(Reply::Registry(store.publish(batch, fence)))
}

pub(super) fn raise(step: &mut Step<'_>, fence: &Fence) -> Result<Reply, ApiError> {
    let store = Arc::make_mut(&mut step.state.registry);
    let raised = store.raise(fence);
    let rules = store.list().fence;
    Ok(Reply::Raised(rules.filter(|_| !raised)))
}
