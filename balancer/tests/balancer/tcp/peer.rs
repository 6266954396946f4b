//! Peers of TCP services, and peers that look at their connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// A peer; dropping it ends it and its connections.
pub struct Peer {
    pub port: u16,
    serving: JoinHandle<()>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Peer {
    pub async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream));
            }
        });
        Self { port, serving }
    }

    /// Answers any number of requests on a connection; counts how many were opened, and how many the other side has closed.
    pub async fn patient(opened: Arc<AtomicU64>, closed: Arc<AtomicU64>) -> Self {
        Self::start(move |mut stream| {
            let (opened, closed) = (opened.clone(), closed.clone());
            async move {
                opened.fetch_add(1, Ordering::SeqCst);
                let mut request = [0; 4096];
                while stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
                    let _ = stream.write_all(answer).await;
                }
                closed.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await
    }

    /// Says its name and hangs up.
    pub async fn named(name: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            let _ = stream.write_all(name.as_bytes()).await;
        })
        .await
    }

    /// Answers with what it gets.
    pub async fn echo() -> Self {
        Self::start(|mut stream| async move {
            let (mut read, mut write) = stream.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
        })
        .await
    }

    /// Answers only when the client has ended: how many bytes came.
    pub async fn counting() -> Self {
        Self::start(|mut stream| async move {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            let _ = stream.write_all(all.len().to_string().as_bytes()).await;
        })
        .await
    }

    /// A port that refuses.
    pub fn dead() -> u16 {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    }
}

/// A listener that takes no more connections: those wait until their time is over.
pub struct Full {
    pub port: u16,
    _listener: socket2::Socket,
    _filling: Vec<TcpStream>,
}

impl Full {
    pub async fn new() -> Self {
        let listener =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut filling = Vec::new();
        // Ends with the first that has to wait.
        let patience = Duration::from_millis(100);
        while let Ok(filled) = timeout(patience, TcpStream::connect(address)).await {
            filling.push(filled.unwrap());
        }
        Self {
            port: address.port(),
            _listener: listener,
            _filling: filling,
        }
    }
}
