//! What readers that are no agents tell: a key each, under a lease, so that it goes with its reader.

use std::time::Duration;

use etcd_client::{Error, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions};
use hancock_proto::registry::{Confirmation, Reader};
use tokio::time::Instant;

use super::Etcd;
use super::calls::{Connection, Failure};
use crate::RegistryError;

/// Readers of one page: what each tells is bounded, too.
const PAGE: i64 = 64;
/// Longest a farewell may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A lease, and what was written under it.
#[derive(Debug)]
pub(super) struct Lease {
    id: i64,
    /// When it is to be renewed.
    renew: Instant,
    renewals: Option<Renewals>,
    told: Option<Confirmation>,
}

/// Questions and answers that keep a lease alive. They stay open: to begin them costs the store more than they do.
#[derive(Debug)]
struct Renewals {
    /// The connection they are on.
    epoch: u64,
    ask: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Renewals {
    /// Begins them, which renews the lease.
    async fn begin(connection: &Connection, lease: i64) -> Result<Self, Error> {
        let (ask, answers) = connection.lease().keep_alive(lease).await?;
        let epoch = connection.epoch();
        Ok(Self {
            epoch,
            ask,
            answers,
        })
    }

    /// Renews the lease once more.
    async fn again(mut self) -> Result<Self, Error> {
        self.ask.keep_alive().await?;
        let ended = || Error::LeaseKeepAliveError("the member ended it".to_owned());
        let answer = self.answers.message().await?.ok_or_else(ended)?;
        match answer.ttl() {
            ..=0 => Err(Error::LeaseKeepAliveError("it is over".to_owned())),
            _ => Ok(self),
        }
    }
}

impl Etcd {
    /// Writes what changed, and keeps the lease alive. A lease that is over is taken anew with the next word.
    pub(super) async fn tell(&self, reader: &Confirmation) -> Result<(), RegistryError> {
        let mut held = self.lease.lock().await;
        let told = self.try_tell(&mut held, reader).await;
        if told.is_err() {
            *held = None;
        }
        told.map_err(|failure| self.calls.error(failure))
    }

    async fn try_tell(
        &self,
        held: &mut Option<Lease>,
        reader: &Confirmation,
    ) -> Result<(), Failure> {
        let lease = match held {
            Some(lease) => {
                self.renew(lease).await?;
                lease
            }
            None => held.insert(self.grant().await?),
        };
        if lease.told.as_ref() != Some(reader) {
            self.put_reader(lease.id, reader).await?;
            lease.told = Some(reader.clone());
        }
        Ok(())
    }

    async fn put_reader(&self, lease: i64, reader: &Confirmation) -> Result<(), Failure> {
        let value = serde_json::to_vec(reader).map_err(|e| Failure::Refused(e.to_string()))?;
        let key = self.keys.reader(&reader.reader);
        let deadline = self.calls.timing().call;
        let put = self.calls.call(deadline, |connection| async move {
            let options = PutOptions::new().with_lease(lease);
            connection.kv().put(key, value, Some(options)).await
        });
        put.await.map(drop)
    }

    async fn grant(&self) -> Result<Lease, Failure> {
        let timing = self.calls.timing();
        let seconds = i64::try_from(timing.lease.as_secs().max(1)).unwrap_or(i64::MAX);
        let granted = self.calls.call(timing.call, |connection| async move {
            connection.lease().grant(seconds, None).await
        });
        Ok(Lease {
            id: granted.await?.id(),
            renew: Instant::now() + timing.lease / 3,
            renewals: None,
            told: None,
        })
    }

    async fn renew(&self, lease: &mut Lease) -> Result<(), Failure> {
        if Instant::now() < lease.renew {
            return Ok(());
        }
        let (timing, id) = (self.calls.timing(), lease.id);
        let open = lease.renewals.take();
        let renewed = self.calls.call(timing.call, |connection| async move {
            let renewed = match open {
                Some(open) if open.epoch == connection.epoch() => open.again().await,
                _ => Renewals::begin(&connection, id).await,
            };
            match renewed {
                Ok(open) => Ok(Some(open)),
                Err(Error::LeaseKeepAliveError(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        lease.renewals = renewed.await?;
        if lease.renewals.is_none() {
            return Err(Failure::Refused("the reader's lease is over".to_owned()));
        }
        lease.renew = Instant::now() + timing.lease / 3;
        Ok(())
    }

    /// The reader ends, and says so: a key that only went away could be of one that cannot reach the store and still serves.
    pub(super) async fn say_farewell(&self) {
        let held = self.lease.lock().await.take();
        let Some((lease, mut told)) = held.and_then(|held| Some((held.id, held.told?))) else {
            return;
        };
        told.ended = true;
        let said = tokio::time::timeout(FAREWELL, self.put_reader(lease, &told)).await;
        if !matches!(said, Ok(Ok(()))) {
            tracing::debug!("the registry does not know that this reader ends");
        }
    }

    /// Every reader whose lease holds, page by page.
    pub(super) async fn all_readers(&self) -> Result<Vec<Reader>, Failure> {
        let (mut from, end) = (self.keys.reader(""), self.keys.readers_end());
        let mut readers = Vec::new();
        loop {
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE);
            let deadline = self.calls.timing().call;
            let page = self.calls.call(deadline, |connection| async move {
                connection.kv().get(from, Some(options)).await
            });
            let page = page.await?;
            let known = page.kvs().iter().filter_map(|kv| self.keys.reader_of(kv));
            readers.extend(known);
            match page.kvs().last().filter(|_| page.more()) {
                Some(last) => from = format!("{}\0", last.key_str().unwrap_or_default()),
                None => return Ok(readers),
            }
        }
    }
}
