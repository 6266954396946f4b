//! What readers that are no agents tell: a key each, under a lease, so that it goes with its reader.

use std::time::Duration;

use etcd_client::{Error, PutOptions};
use hancock_proto::registry::Confirmation;
use tokio::time::Instant;

use super::Etcd;
use super::calls::Failure;
use crate::RegistryError;

/// A lease, and what was written under it.
#[derive(Debug)]
pub(super) struct Lease {
    id: i64,
    /// When it is to be renewed.
    renew: Instant,
    told: Option<Confirmation>,
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
        if lease.told.as_ref() == Some(reader) {
            return Ok(());
        }
        let value = serde_json::to_vec(reader).map_err(|e| Failure::Refused(e.to_string()))?;
        let (key, id) = (self.keys.reader(&reader.reader), lease.id);
        let deadline = self.calls.timing().call;
        let put = self.calls.call(deadline, |connection| async move {
            let options = PutOptions::new().with_lease(id);
            connection.kv().put(key, value, Some(options)).await
        });
        put.await?;
        lease.told = Some(reader.clone());
        Ok(())
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
            told: None,
        })
    }

    async fn renew(&self, lease: &mut Lease) -> Result<(), Failure> {
        if Instant::now() < lease.renew {
            return Ok(());
        }
        let (timing, id) = (self.calls.timing(), lease.id);
        let renewed = self.calls.call(timing.call, |connection| async move {
            match connection.lease().keep_alive(id).await {
                Ok(_) => Ok(true),
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) => Err(error),
            }
        });
        if !renewed.await? {
            return Err(Failure::Refused("the reader's lease is over".to_owned()));
        }
        lease.renew = Instant::now() + timing.lease / 3;
        Ok(())
    }

    /// The reader ends.
    pub(super) async fn fall_silent(&self) {
        let Some(lease) = self.lease.lock().await.take() else {
            return;
        };
        let deadline = self.calls.timing().call.min(Duration::from_secs(1));
        let revoked = self.calls.call(deadline, |connection| async move {
            connection.lease().revoke(lease.id).await
        });
        if let Err(failure) = revoked.await {
            tracing::debug!(?failure, "the reader's lease ends by itself");
        }
    }
}
