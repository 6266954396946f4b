//! Requests and answers made to be understood in two ways: whatever a client or an origin sends, one request in is one request seen, and
//! everybody gets their own answer.
//!
//! The cases are in files of their own, one per line. Each goes through the balancer to origins that read differently.

mod answers;
mod cases;
mod origins;
mod reader;
mod requests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hancock_balancer::Balancer;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::PATIENCE;
use crate::world::{WEB, options, plain};

const REQUESTS: &str = include_str!("smuggling/requests.txt");
const ANSWERS: &str = include_str!("smuggling/answers.txt");

/// A balancer in front of one origin.
struct Front {
    proxy: SocketAddr,
    balancer: Balancer,
    _folder: TempDir,
}

impl Front {
    async fn new(origin: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut options, proxy, _) = options(folder.path());
        // One thread has one pool: whoever comes next gets the connection the last one left.
        options.threads = 1;
        let balancer = Balancer::start(options).await.unwrap();
        let doc = plain(json!({
            "enable": false,
            "cluster": [{"servers": [{"host": "127.0.0.1", "port": origin}]}],
        }));
        balancer.handle().apply(WEB, Some(Arc::new(doc))).unwrap();
        Self {
            proxy,
            balancer,
            _folder: folder,
        }
    }

    async fn stop(self) {
        self.balancer.shutdown(Duration::from_secs(5)).await;
    }
}

/// Sends in pieces of so many bytes; answers with everything that comes until the connection ends.
async fn exchange(proxy: SocketAddr, sent: &[u8], piece: usize) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut read, mut write) = stream.split();
    let writing = async {
        for piece in sent.chunks(piece) {
            // Whoever is refused in the middle cannot send the rest.
            if write.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let mut answers = Vec::new();
    // A reset behind the answer is an end as well.
    let reading = timeout(PATIENCE, read.read_to_end(&mut answers));
    let (ended, ()) = tokio::join!(reading, writing);
    match ended {
        Ok(_) => Ok(answers),
        Err(_) => {
            let answers = String::from_utf8_lossy(&answers);
            Err(format!("the connection does not end: {answers:?}"))
        }
    }
}
