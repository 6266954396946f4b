//! Writes: one transaction each, which compares the fence and the last write of every key that was seen.

use etcd_client::{Compare, CompareOp, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use hancock_proto::registry::{Batch, Fence, Outcome};

use super::calls::Failure;
use super::read::{header, ruling, unsigned};
use super::{Etcd, keys};
use crate::RegistryError;
use crate::embedded::check_size;

/// A write is tried again when somebody else wrote in between, at most so often.
const TRIES: u32 = 5;

/// What a transaction that was not carried out saw instead.
struct Found {
    fence: Option<KeyValue>,
    documents: Vec<KeyValue>,
}

impl Etcd {
    pub(super) async fn raise_fence(&self, fence: &Fence) -> Result<Option<Fence>, RegistryError> {
        for _ in 0..TRIES {
            match self.try_raise(fence).await {
                Ok(Some(ruling)) => {
                    self.history().fence = Some(ruling.clone());
                    return Ok(Some(ruling).filter(|ruling| ruling != fence));
                }
                // Somebody else was faster, or the end is not known: what lies there now decides.
                Ok(None) | Err(Failure::Lost(_)) => {}
                Err(failure) => return Err(self.calls.error(failure)),
            }
        }
        Err(self.contended("the fence"))
    }

    /// The fence that rules now. None: look again.
    async fn try_raise(&self, fence: &Fence) -> Result<Option<Fence>, Failure> {
        let key = self.keys.fence();
        let deadline = self.calls.timing().call;
        let look = key.clone();
        let found = self.calls.call(deadline, |connection| async move {
            connection.kv().get(look, None).await
        });
        let found = found.await?;
        let there = found.kvs().first();
        if let Some(have) = there.map(ruling).transpose()?
            && (have.cluster != fence.cluster || have.term >= fence.term)
        {
            return Ok(Some(have));
        }
        let seen = there.map_or(0, KeyValue::mod_revision);
        let unchanged = Compare::mod_revision(key.clone(), CompareOp::Equal, seen);
        let raise = TxnOp::put(key, keys::fence_text(fence), None);
        let txn = Txn::new().when([unchanged]).and_then([raise]);
        let done = self.calls.call(deadline, |connection| async move {
            connection.kv().txn(txn).await
        });
        Ok(done.await?.succeeded().then(|| fence.clone()))
    }

    pub(super) async fn write(
        &self,
        batch: &Batch,
        fence: &Fence,
    ) -> Result<Outcome, RegistryError> {
        check_size(batch)?;
        let key = self.keys.fence();
        for _ in 0..TRIES {
            let rules = Compare::value(key.clone(), CompareOp::Equal, keys::fence_text(fence));
            let answer = match self.transact(batch, rules).await {
                Ok(answer) => answer,
                Err(Failure::Lost(reason)) => {
                    tracing::warn!(app = %batch.app, reason, "whether documents were written is not known");
                    return Ok(Outcome::Unknown);
                }
                Err(failure) => return Err(self.calls.error(failure)),
            };
            if answer.succeeded() {
                return self.written(batch, &answer);
            }
            if let Some(other) = self.overruled(&answer, batch, fence).await? {
                return Ok(Outcome::Lost(other));
            }
        }
        Err(self.contended("the app's documents"))
    }

    /// Writes into a store that has no fence. False: it has one.
    pub(super) async fn write_unfenced(&self, batch: &Batch) -> Result<bool, RegistryError> {
        check_size(batch)?;
        for _ in 0..TRIES {
            let absent = Compare::create_revision(self.keys.fence(), CompareOp::Equal, 0);
            let answer = self.transact(batch, absent).await;
            let answer = answer.map_err(|failure| self.calls.error(failure))?;
            if answer.succeeded() {
                return self.written(batch, &answer).map(|_| true);
            }
            let found = Found::of(&answer);
            if found.fence.is_some() {
                return Ok(false);
            }
            found.note(self, batch);
        }
        Err(self.contended("the app's documents"))
    }

    /// Writes the batch where `rules` holds and nobody else has written; otherwise reads what lies there.
    async fn transact(&self, batch: &Batch, rules: Compare) -> Result<TxnResponse, Failure> {
        let names = batch.changes.keys();
        let seen: Vec<i64> = {
            let history = self.history();
            let seen = names.map(|name| history.written.get(name).copied().unwrap_or(0));
            seen.collect()
        };
        let (mut when, mut then) = (vec![rules], Vec::new());
        let mut instead = vec![TxnOp::get(self.keys.fence(), None)];
        for ((name, doc), seen) in batch.changes.iter().zip(seen) {
            let key = self.keys.document(name);
            when.push(Compare::mod_revision(key.clone(), CompareOp::Equal, seen));
            instead.push(TxnOp::get(key.clone(), None));
            then.push(match doc {
                Some(doc) => TxnOp::put(key, keys::text(doc), None),
                None => TxnOp::delete(key, None),
            });
        }
        let txn = Txn::new().when(when).and_then(then).or_else(instead);
        let deadline = self.calls.timing().call;
        let answer = self.calls.call(deadline, |connection| async move {
            connection.kv().txn(txn).await
        });
        answer.await
    }

    fn written(&self, batch: &Batch, answer: &TxnResponse) -> Result<Outcome, RegistryError> {
        let (_, revision) = header(answer).map_err(|failure| self.calls.error(failure))?;
        let mut history = self.history();
        for (name, doc) in &batch.changes {
            match doc {
                Some(_) => drop(history.written.insert(name.clone(), revision)),
                None => drop(history.written.remove(name)),
            }
        }
        Ok(Outcome::Committed(unsigned(revision)))
    }

    /// Why a write was not carried out: another fence, which is returned, or none at all, or writes that were not ours. After those it is
    /// tried again: an owned name is its owner's.
    async fn overruled(
        &self,
        answer: &TxnResponse,
        batch: &Batch,
        fence: &Fence,
    ) -> Result<Option<Fence>, RegistryError> {
        let found = Found::of(answer);
        let failed = |failure| self.calls.error(failure);
        let Some(there) = found.fence.as_ref() else {
            if self.history().fence.is_some() {
                return Err(RegistryError::Wiped {
                    store: self.calls.shown(),
                });
            }
            return self.raise_fence(fence).await;
        };
        let there = ruling(there).map_err(failed)?;
        self.history().fence = Some(there.clone());
        if there != *fence {
            return Ok(Some(there));
        }
        found.note(self, batch);
        Ok(None)
    }

    fn contended(&self, what: &str) -> RegistryError {
        let reason = format!("{what} changed {TRIES} times while they were written");
        self.calls.error(Failure::Refused(reason))
    }
}

impl Found {
    fn of(answer: &TxnResponse) -> Self {
        let mut each = answer.op_responses().into_iter().map(|each| match each {
            TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
            _ => None,
        });
        Self {
            fence: each.next().flatten(),
            documents: each.flatten().collect(),
        }
    }

    /// Takes over what lies there. What was known to lie there otherwise was written by somebody else.
    fn note(&self, etcd: &Etcd, batch: &Batch) {
        let mut history = etcd.history();
        for name in batch.changes.keys() {
            let key = etcd.keys.document(name);
            let there = self.documents.iter().find(|kv| kv.key() == key.as_bytes());
            let before = match there.map(KeyValue::mod_revision) {
                Some(revision) => history.written.insert(name.clone(), revision),
                None => history.written.remove(name),
            };
            if before.is_some() {
                tracing::warn!(%name, "somebody else wrote this document; it is overwritten");
            }
        }
    }
}
