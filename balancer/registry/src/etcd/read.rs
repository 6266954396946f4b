//! Everything, as of one revision: page by page, so that no answer grows with the number of services.

use std::sync::Arc;

use etcd_client::{GetOptions, GetResponse, KeyValue, Txn, TxnOp, TxnOpResponse, TxnResponse};
use hancock_proto::ids::Revision;
use hancock_proto::registry::{Entry, Fence, Listing};

use super::calls::Failure;
use super::{Etcd, keys};
use crate::RegistryError;
use crate::mark::{Found, Mark, Place};

/// Documents of one page.
const PAGE: i64 = 500;
/// Lists begun again because a member fell silent or the revision was compacted meanwhile.
const TRIES: u32 = 4;

/// A list being read.
struct Reading {
    listing: Listing,
    mark: Mark,
    /// Where the next page begins. None: there is none.
    next: Option<Vec<u8>>,
}

impl Etcd {
    pub(super) async fn read_all(&self) -> Result<Listing, RegistryError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read_once().await {
                Ok(listing) => return Ok(listing),
                Err(Failure::Lost(reason) | Failure::Unreachable(reason)) if tries < TRIES => {
                    tracing::debug!(reason, "listing is begun again");
                }
                Err(Failure::Compacted) if tries < TRIES => {}
                Err(failure) => return Err(self.calls.error(failure)),
            }
        }
    }

    async fn read_once(&self) -> Result<Listing, Failure> {
        self.compare_recalled().await?;
        let mut reading = self.first_page().await?;
        while let Some(from) = reading.next.take() {
            let options = self.page().with_revision(signed(reading.listing.revision));
            let deadline = self.calls.timing().call;
            let page = self.calls.call(deadline, |connection| async move {
                connection.kv().get(from, Some(options)).await
            });
            reading.take(self, &page.await?);
        }
        let mut history = self.history();
        let entries = reading.listing.entries.iter();
        history.written = entries
            .map(|(name, entry)| (name.clone(), signed(entry.revision)))
            .collect();
        history.fence = reading.listing.fence.clone();
        history.listed = Some(signed(reading.listing.revision));
        history.mark = Some(reading.mark);
        history.recalled = false;
        reading.listing.another = std::mem::take(&mut history.another);
        Ok(reading.listing)
    }

    /// With the fence as of the same revision.
    async fn first_page(&self) -> Result<Reading, Failure> {
        let page = TxnOp::get(self.keys.begin(), Some(self.page()));
        let fence = TxnOp::get(self.keys.fence(), None);
        let both = Txn::new().and_then([fence, page]);
        let deadline = self.calls.timing().call;
        let answer = self.calls.call(deadline, |connection| async move {
            connection.kv().txn(both).await
        });
        let answer = answer.await?;
        let (cluster, revision) = header(&answer)?;
        let [fence, page] = gets(&answer);
        let fence = fence.and_then(|found| found.kvs().first().cloned());
        let mut reading = Reading {
            listing: Listing {
                revision: unsigned(revision),
                fence: fence.as_ref().map(ruling).transpose()?,
                entries: Default::default(),
                damaged: Default::default(),
                another: false,
            },
            mark: Mark {
                cluster,
                fence: fence.as_ref().map(place),
                newest: None,
                seen: revision,
            },
            next: None,
        };
        if let Some(page) = page {
            reading.take(self, &page);
        }
        Ok(reading)
    }

    fn page(&self) -> GetOptions {
        GetOptions::new()
            .with_range(self.keys.end())
            .with_limit(PAGE)
    }

    /// What the store is now: where the fence lies, and `key`. Answered by a member that is up to date.
    pub(super) async fn looks(&self, key: Option<&str>) -> Result<Found, Failure> {
        let fence = self.keys.fence();
        let key = key.unwrap_or(&fence);
        let both = [
            TxnOp::get(fence.as_str(), None),
            TxnOp::get(key, Some(GetOptions::new().with_keys_only())),
        ];
        let both = Txn::new().and_then(both);
        let deadline = self.calls.timing().call;
        let answer = self.calls.call(deadline, |connection| async move {
            connection.kv().txn(both).await
        });
        let answer = answer.await?;
        let (cluster, revision) = header(&answer)?;
        let [fence, newest] = gets(&answer).map(|found| found?.kvs().first().map(place));
        Ok(Found {
            cluster,
            revision,
            fence,
            newest,
        })
    }
}

impl Reading {
    fn take(&mut self, etcd: &Etcd, page: &GetResponse) {
        for kv in page.kvs() {
            let Some(name) = etcd.keys.service(kv.key()) else {
                continue;
            };
            self.mark.advance(kv.key(), kv.mod_revision());
            match keys::document(kv.value()) {
                Ok(doc) => {
                    let revision = unsigned(kv.mod_revision());
                    let doc = Arc::new(doc);
                    self.listing.entries.insert(name, Entry { revision, doc });
                }
                Err(problem) => drop(self.listing.damaged.insert(name, problem)),
            }
        }
        let last = page.kvs().last().filter(|_| page.more());
        self.next = last.map(|kv| [kv.key(), &[0]].concat());
    }
}

/// Cluster and revision an answer is from.
pub(super) fn header(answer: &TxnResponse) -> Result<(u64, i64), Failure> {
    let header = answer.header();
    let known = header.map(|header| (header.cluster_id(), header.revision()));
    known.ok_or_else(|| Failure::Lost("an answer without a header".to_owned()))
}

/// The answers to two reads of one transaction.
fn gets(answer: &TxnResponse) -> [Option<GetResponse>; 2] {
    let mut each = answer.op_responses().into_iter().map(|each| match each {
        TxnOpResponse::Get(found) => Some(found),
        _ => None,
    });
    [each.next().flatten(), each.next().flatten()]
}

pub(super) fn ruling(kv: &KeyValue) -> Result<Fence, Failure> {
    keys::fence(kv.value()).map_err(Failure::Refused)
}

fn place(kv: &KeyValue) -> Place {
    Place {
        created: kv.create_revision(),
        modified: kv.mod_revision(),
    }
}

/// Etcd counts from 1, with a sign.
pub(super) fn unsigned(revision: i64) -> Revision {
    Revision(u64::try_from(revision).unwrap_or_default())
}

pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}
