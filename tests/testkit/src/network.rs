//! A network of a test's own, whose wire can be cut: what is sent then is lost, and nobody is told.

use std::process::Command;

use nix::sched::{CloneFlags, unshare};

/// The network of the thread that runs in it, and of what that starts. Only a loopback.
#[derive(Debug)]
pub struct Network(());

impl Network {
    /// Runs `deed` in a network of its own. Where none may be made, that is recorded as a skip of the test.
    ///
    /// # Panics
    /// When `deed` does.
    pub fn of_its_own(deed: impl FnOnce(&Self) + Send) {
        let name = crate::skip::test_name();
        let ran = std::thread::scope(|scope| {
            let run = || Self::enter().map(|network| deed(&network));
            let named = std::thread::Builder::new().name(name.clone());
            named.spawn_scoped(scope, run).unwrap().join()
        });
        match ran {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => crate::skip::skip(&name, &reason),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn enter() -> Result<Self, String> {
        let refused = |error| format!("a network of its own cannot be made: {error}");
        unshare(CloneFlags::CLONE_NEWNET).map_err(|error| refused(error.to_string()))?;
        run("ip", &["link", "set", "lo", "up"]).map_err(refused)?;
        // Whether it can be cut is known before anything depends on it.
        let network = Self(());
        run("iptables", &["-L", "-n"]).map_err(refused)?;
        Ok(network)
    }

    /// Nothing arrives any more, and no sender is told.
    ///
    /// # Panics
    /// When it cannot be done.
    pub fn cut(&self) {
        run("iptables", &["-I", "INPUT", "-j", "DROP"]).unwrap();
    }

    /// Everything arrives again, also what is sent once more.
    ///
    /// # Panics
    /// When it was not cut.
    pub fn heal(&self) {
        run("iptables", &["-D", "INPUT", "-j", "DROP"]).unwrap();
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let ran = Command::new(program).args(args).output();
    let ran = ran.map_err(|error| format!("{program}: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::port::local;

    #[test]
    fn what_is_sent_over_a_cut_wire_waits_in_silence() {
        Network::of_its_own(|network| {
            let listener = TcpListener::bind(local(0)).unwrap();
            let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (mut far, _) = listener.accept().unwrap();
            far.set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
            network.cut();
            near.write_all(b"hi").unwrap();
            assert!(far.read_exact(&mut [0; 2]).is_err());
            network.heal();
            far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            far.read_exact(&mut [0; 2]).unwrap();
        });
    }
}
