//! Brings a master up and takes it down.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use hancock_wire::hub_server::HubServer;

use crate::hub::Service;
use crate::raft::{Raft, StoreError};

/// What a master needs.
pub struct Options {
    /// Its name, shown as the leader's.
    pub name: String,
    /// Where it keeps what must survive.
    pub data_dir: PathBuf,
    /// Where the API listens; bound by the caller, so that a port in use is found before anything starts.
    pub api: TcpListener,
    /// Where requests enter on this machine, shown in the status.
    pub proxy: Option<String>,
}

/// Why a master did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// What is on disk cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running master.
pub struct Master {
    raft: Raft,
    service: Service,
}

impl Master {
    /// Starts one; initialises a new cluster in an empty directory.
    ///
    /// # Errors
    /// What is on disk cannot be used.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let raft = Raft::start(&options.data_dir.join("raft"), &options.name).await?;
        Ok(Self {
            raft,
            service: Service {},
        })
    }

    /// The service agents call; as many as there are doors.
    pub fn hub(&self) -> HubServer<Service> {
        HubServer::new(self.service.clone())
    }

    /// Ends: sessions and requests first, then the log.
    pub async fn shutdown(self, deadline: Duration) {
        self.raft.shutdown(deadline).await;
    }
}
