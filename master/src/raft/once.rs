//! Writes that carry a key are carried out once: who asks again with the same key gets the first answer.

use std::sync::Arc;

use hancock_master_core::Reply;
use hancock_proto::persistent::{Map, Recent};
use serde::{Deserialize, Serialize};

/// Keys remembered; the oldest is forgotten first.
const REMEMBERED: usize = 4096;

/// Answers by key. Part of the replicated state: the same on every master, and in every snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Answered>", into = "Vec<Answered>")]
pub(super) struct Once {
    replies: Map<Arc<str>, Arc<Reply>>,
    /// Keys, oldest first.
    order: Recent<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct Answered {
    key: Arc<str>,
    reply: Arc<Reply>,
}

impl Once {
    /// What was answered under this key.
    pub(super) fn answer(&self, key: &str) -> Option<Reply> {
        self.replies.get(key).map(|reply| Reply::clone(reply))
    }

    /// Remembers an answer under a key that has none.
    pub(super) fn remember(&mut self, key: &Arc<str>, reply: &Reply) {
        self.replies.insert(key.clone(), Arc::new(reply.clone()));
        self.order.push(key.clone());
        if let Some(oldest) = self.order.excess(REMEMBERED) {
            self.replies.remove(&oldest);
        }
    }
}

impl From<Vec<Answered>> for Once {
    fn from(answers: Vec<Answered>) -> Self {
        Self {
            order: answers.iter().map(|a| a.key.clone()).collect(),
            replies: answers.into_iter().map(|a| (a.key, a.reply)).collect(),
        }
    }
}

impl From<Once> for Vec<Answered> {
    fn from(once: Once) -> Self {
        let reply = |key: Arc<str>| {
            let reply = once.replies.get(&key).cloned()?;
            Some(Answered { key, reply })
        };
        once.order.iter().cloned().filter_map(reply).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_keys_are_remembered_in_order() {
        let mut once = Once::default();
        for n in 0..=REMEMBERED {
            once.remember(&format!("k{n}").into(), &Reply::Done);
        }
        assert_eq!(once.answer("k0"), None);
        let bytes = serde_json::to_vec(&once).unwrap();
        let mut again: Once = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(again.answer("k1"), Some(Reply::Done));
        again.remember(&"new".into(), &Reply::Done);
        assert_eq!(again.answer("k1"), None, "the oldest one went");
    }
}
