//! A TCP port in front of another one, on the way to which words may be lost: connections that are half open, answers that never come.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::port::local;

/// The path. Ends with the process; connections of it with their ends.
#[derive(Debug)]
pub struct Lossy {
    /// Where to connect to.
    pub address: SocketAddr,
    losses: Arc<Losses>,
}

/// Connections accepted so far, and up to which of them each direction is lost.
#[derive(Debug, Default)]
struct Losses {
    accepted: AtomicU64,
    to: AtomicU64,
    from: AtomicU64,
}

impl Lossy {
    /// A path to `target` on which nothing is lost yet.
    ///
    /// # Panics
    /// When no port can be had.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(local(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let losses = Arc::<Losses>::default();
        let mine = losses.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let number = mine.accepted.fetch_add(1, Ordering::SeqCst) + 1;
                if let Ok(far) = TcpStream::connect(target) {
                    join(near, far, number, &mine);
                }
            }
        });
        Self { address, losses }
    }

    /// What clients say on the connections there are now is lost from now on. New ones are well.
    pub fn lose_requests(&self) {
        let now = self.losses.accepted.load(Ordering::SeqCst);
        self.losses.to.store(now, Ordering::SeqCst);
    }

    /// Nothing gets through in either direction, on new connections either, until [`Lossy::heal`].
    pub fn partition(&self) {
        self.losses.to.store(u64::MAX, Ordering::SeqCst);
        self.losses.from.store(u64::MAX, Ordering::SeqCst);
    }

    /// New connections are well again. Those there were stay half open: nobody tells their ends.
    pub fn heal(&self) {
        self.lose_requests();
        self.lose_answers();
    }

    /// The same with what the server says.
    pub fn lose_answers(&self) {
        let now = self.losses.accepted.load(Ordering::SeqCst);
        self.losses.from.store(now, Ordering::SeqCst);
    }
}

fn join(near: TcpStream, far: TcpStream, number: u64, losses: &Arc<Losses>) {
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else {
        return;
    };
    let (to, from) = (losses.clone(), losses.clone());
    std::thread::spawn(move || copy(near, far_again, || to.to.load(Ordering::SeqCst) >= number));
    std::thread::spawn(move || {
        copy(far, near_again, || {
            from.from.load(Ordering::SeqCst) >= number
        })
    });
}

fn copy(mut from: TcpStream, mut to: TcpStream, lost: impl Fn() -> bool) {
    let mut block = vec![0; 64 * 1024];
    while let Ok(n) = from.read(&mut block) {
        if n == 0 || (!lost() && to.write_all(&block[..n]).is_err()) {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn words_are_lost_on_connections_there_are() {
        let echo = TcpListener::bind(local(0)).unwrap();
        let path = Lossy::to(echo.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in echo.incoming().flatten() {
                std::thread::spawn(move || copy(stream.try_clone().unwrap(), stream, || false));
            }
        });
        let say = |stream: &mut TcpStream| {
            stream
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            stream.write_all(b"hi").unwrap();
            stream.read_exact(&mut [0; 2])
        };
        let mut first = TcpStream::connect(path.address).unwrap();
        say(&mut first).unwrap();
        path.lose_answers();
        assert!(say(&mut first).is_err());
        let mut second = TcpStream::connect(path.address).unwrap();
        say(&mut second).unwrap();
        path.lose_requests();
        assert!(say(&mut second).is_err());
    }
}
