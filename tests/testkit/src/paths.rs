//! Several parties on one machine and the paths between them, each of which can be cut in each direction: what is sent then waits.
//!
//! A relay knows who calls by the process that has the other end of the connection.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::proc;

/// All paths. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Paths(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Process of each party that runs.
    parties: Vec<(usize, i32)>,
    /// From whom to whom nothing passes.
    cut: BTreeSet<(usize, usize)>,
}

impl Paths {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Party `party` is process `pid` from now on.
    pub fn is(&self, party: usize, pid: i32) {
        let mut state = self.lock();
        state.parties.retain(|(other, _)| *other != party);
        state.parties.push((party, pid));
    }

    /// `to` hears nothing of `from` any more.
    pub fn cut(&self, from: usize, to: usize) {
        self.lock().cut.insert((from, to));
    }

    /// Everybody hears everybody, also what was said meanwhile.
    pub fn heal(&self) {
        self.lock().cut.clear();
        self.0.changed.notify_all();
    }

    /// Passes on what comes to `front` for `party`, which listens at `target`. Ends with the process.
    ///
    /// # Panics
    /// When `front` cannot be listened on.
    pub fn lead(&self, front: SocketAddr, target: SocketAddr, party: usize) {
        let listener = TcpListener::bind(front).unwrap();
        let paths = self.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let caller = paths.caller(&near);
                if let (Some(caller), Ok(far)) = (caller, TcpStream::connect(target)) {
                    paths.join(near, far, caller, party);
                }
            }
        });
    }

    fn caller(&self, near: &TcpStream) -> Option<usize> {
        let (theirs, ours) = (near.peer_addr().ok()?, near.local_addr().ok()?);
        let parties = self.lock().parties.clone();
        let pids: Vec<i32> = parties.iter().map(|(_, pid)| *pid).collect();
        let pid = proc::connected(theirs, ours, &pids)?;
        let caller = parties.iter().find(|(_, party)| *party == pid);
        caller.map(|(party, _)| *party)
    }

    fn join(&self, near: TcpStream, far: TcpStream, caller: usize, party: usize) {
        let both = [near.try_clone(), far.try_clone()];
        let [Ok(near_again), Ok(far_again)] = both else {
            return;
        };
        let (there, back) = (self.clone(), self.clone());
        std::thread::spawn(move || there.pass(near, far_again, (caller, party)));
        std::thread::spawn(move || back.pass(far, near_again, (party, caller)));
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, way: (usize, usize)) {
        let mut block = vec![0; 16 * 1024];
        while let Ok(n) = from.read(&mut block) {
            self.wait(way);
            if n == 0 || to.write_all(&block[..n]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn wait(&self, way: (usize, usize)) {
        let cut = |state: &mut State| state.cut.contains(&way);
        drop(self.0.changed.wait_while(self.lock(), cut));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::port::{free_port, local};

    #[test]
    fn what_is_cut_waits_in_its_direction_only() {
        let echo = TcpListener::bind(local(0)).unwrap();
        let (front, target) = (local(free_port()), echo.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in echo.incoming().flatten() {
                let mut again = stream.try_clone().unwrap();
                std::thread::spawn(move || std::io::copy(&mut stream, &mut again));
            }
        });
        let paths = Paths::default();
        paths.is(0, i32::try_from(std::process::id()).unwrap());
        paths.lead(front, target, 1);
        let mut stream = TcpStream::connect(front).unwrap();
        let mut two = [0; 2];
        let mut ask = |stream: &mut TcpStream| {
            stream.write_all(b"hi").unwrap();
            stream.read_exact(&mut two)
        };
        ask(&mut stream).unwrap();
        for way in [(0, 1), (1, 0)] {
            paths.cut(way.0, way.1);
            let short = Some(Duration::from_millis(100));
            stream.set_read_timeout(short).unwrap();
            assert!(ask(&mut stream).is_err(), "{way:?}");
            paths.heal();
            stream.set_read_timeout(None).unwrap();
            stream.read_exact(&mut [0; 2]).unwrap();
        }
        paths.cut(1, 2);
        ask(&mut stream).unwrap();
    }
}
