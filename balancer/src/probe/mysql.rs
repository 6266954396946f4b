//! The mysql probe: a login, nothing else. Knows `mysql_native_password` and the short way of `caching_sha2_password`.

use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use hancock_balancer_core::upstream::Login;

use super::net::{Asked, Failure, step};

/// Largest packet read.
const MAX_PACKET: usize = 64 * 1024;

const LONG_PASSWORD: u32 = 0x1;
const CONNECT_WITH_DB: u32 = 0x8;
const PROTOCOL_41: u32 = 0x200;
const TRANSACTIONS: u32 = 0x2000;
const SECURE_CONNECTION: u32 = 0x8000;
const PLUGIN_AUTH: u32 = 0x8_0000;
const UTF8: u8 = 33;

const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";

struct Client {
    stream: TcpStream,
    limit: Duration,
    sequence: u8,
}

pub(super) async fn ask(stream: TcpStream, login: &Login, limit: Duration) -> Asked {
    let mut client = Client {
        stream,
        limit,
        sequence: 0,
    };
    let greeting = client.receive().await?;
    if let Some(refusal) = refusal(&greeting) {
        return Err(Some(refusal));
    }
    let greeting = Greeting::read(&greeting).ok_or_else(odd)?;
    client.send(&greeting.response(login)).await?;
    client.outcome(login).await?;
    // A word of farewell; the answer is known already.
    client.sequence = 0;
    let _ = client.send(&[1]).await;
    Ok(())
}

impl Client {
    async fn receive(&mut self) -> Result<Vec<u8>, Failure> {
        let mut head = [0; 4];
        let received = step(self.limit, self.stream.read_exact(&mut head)).await;
        received.map_err(|e| while_doing("failed to receive packet header", e))?;
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        self.sequence = head[3].wrapping_add(1);
        if length == 0 || length > MAX_PACKET {
            return Err(Some(format!("packet of {length} bytes")));
        }
        let mut body = vec![0; length];
        let received = step(self.limit, self.stream.read_exact(&mut body)).await;
        received.map_err(|e| while_doing("failed to receive packet", e))?;
        Ok(body)
    }

    async fn send(&mut self, body: &[u8]) -> Result<(), Failure> {
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut packet = vec![length[0], length[1], length[2], self.sequence];
        packet.extend_from_slice(body);
        let sent = step(self.limit, self.stream.write_all(&packet)).await;
        sent.map_err(|e| while_doing("failed to send packet", e))
    }

    /// Follows the server to its verdict.
    async fn outcome(&mut self, login: &Login) -> Asked {
        // Switch of the plugin, fast authentication, verdict: never more.
        for _ in 0..4 {
            let packet = self.receive().await?;
            match packet.as_slice() {
                [0x00, ..] => return Ok(()),
                // The proof was known; the verdict follows.
                [0x01, 0x03] => {}
                [0x01, 0x04] => {
                    let problem = "the server wants the password in full, which takes an encrypted connection; use mysql_native_password for the probe";
                    return Err(Some(problem.to_owned()));
                }
                [0xfe, rest @ ..] => self.switch(rest, login).await?,
                other => return Err(Some(refusal(other).unwrap_or_else(unknown))),
            }
        }
        Err(odd())
    }

    async fn switch(&mut self, packet: &[u8], login: &Login) -> Result<(), Failure> {
        let (plugin, seed) = zero_ended(packet).ok_or_else(odd)?;
        let plugin = String::from_utf8_lossy(plugin);
        let seed = seed.strip_suffix(&[0]).unwrap_or(seed);
        let Some(proof) = proof(&plugin, &login.password, seed) else {
            return Err(Some(format!("unknown login plugin {plugin:?}")));
        };
        self.send(&proof).await
    }
}

/// What the server says first.
struct Greeting {
    seed: Vec<u8>,
    plugin: String,
}

impl Greeting {
    fn read(packet: &[u8]) -> Option<Self> {
        let (10, rest) = (*packet.first()?, &packet[1..]) else {
            return None;
        };
        let (_version, rest) = zero_ended(rest)?;
        // Connection, 8 bytes of seed, a zero, flags, character set, status, more flags, length of the seed, 10 unused.
        let (fixed, rest) = rest.split_at_checked(31)?;
        let length = usize::from(fixed[20]).max(21) - 8;
        let (more, rest) = rest.split_at(length.min(rest.len()));
        let more = more.strip_suffix(&[0]).unwrap_or(more);
        let plugin = zero_ended(rest).map_or(rest, |(plugin, _)| plugin);
        Some(Self {
            seed: [&fixed[4..12], more].concat(),
            plugin: String::from_utf8_lossy(plugin).into_owned(),
        })
    }

    fn response(&self, login: &Login) -> Vec<u8> {
        let known = proof(&self.plugin, &login.password, &self.seed);
        let (plugin, proof) = match known {
            Some(proof) => (self.plugin.as_str(), proof),
            // The server will name another one.
            None => (NATIVE, native(&login.password, &self.seed)),
        };
        let mut flags =
            LONG_PASSWORD | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGIN_AUTH;
        if !login.database.is_empty() {
            flags |= CONNECT_WITH_DB;
        }
        let mut out = flags.to_le_bytes().to_vec();
        out.extend_from_slice(&(MAX_PACKET as u32).to_le_bytes());
        out.push(UTF8);
        out.extend_from_slice(&[0; 23]);
        out.extend_from_slice(login.user.as_bytes());
        out.push(0);
        out.push(u8::try_from(proof.len()).unwrap_or(0));
        out.extend_from_slice(&proof);
        if !login.database.is_empty() {
            out.extend_from_slice(login.database.as_bytes());
            out.push(0);
        }
        out.extend_from_slice(plugin.as_bytes());
        out.push(0);
        out
    }
}

/// What shows that the password is known. None: the plugin is not.
fn proof(plugin: &str, password: &str, seed: &[u8]) -> Option<Vec<u8>> {
    match plugin {
        // Servers before plugins had names used this one.
        NATIVE | "" => Some(native(password, seed)),
        SHA2 => Some(sha2(password, seed)),
        _ => None,
    }
}

fn native(password: &str, seed: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password);
    let twice = Sha1::digest(once);
    let mask = Sha1::new()
        .chain_update(seed)
        .chain_update(twice)
        .finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

fn sha2(password: &str, seed: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = Sha256::digest(password);
    let twice = Sha256::digest(once);
    let mask = Sha256::new()
        .chain_update(twice)
        .chain_update(seed)
        .finalize();
    once.iter().zip(mask).map(|(a, b)| a ^ b).collect()
}

/// The message of an error packet.
fn refusal(packet: &[u8]) -> Option<String> {
    let rest = packet.strip_prefix(&[0xff])?.get(2..)?;
    let text = match rest.split_first() {
        Some((b'#', state)) => state.get(5..).unwrap_or_default(),
        _ => rest,
    };
    Some(String::from_utf8_lossy(text).into_owned())
}

fn zero_ended(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn while_doing(deed: &str, failure: Failure) -> Failure {
    Some(format!("{deed}: {}", failure.unwrap_or_default()))
}

fn odd() -> Failure {
    Some(unknown())
}

fn unknown() -> String {
    "does not speak MySQL as known here".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn proofs_undo_to_the_password_hash() {
        let seed = b"saltsaltmoresaltsalt";
        // Whoever knows the hash of the hash can undo the mask and must find a hash of it.
        let stored = Sha1::digest(Sha1::digest("secret"));
        let mask = Sha1::new()
            .chain_update(seed)
            .chain_update(stored)
            .finalize();
        let once: Vec<u8> = native("secret", seed)
            .iter()
            .zip(mask)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(hex(&Sha1::digest(once)), hex(&stored));
        let stored = Sha256::digest(Sha256::digest("secret"));
        let mask = Sha256::new()
            .chain_update(stored)
            .chain_update(seed)
            .finalize();
        let once: Vec<u8> = sha2("secret", seed)
            .iter()
            .zip(mask)
            .map(|(a, b)| a ^ b)
            .collect();
        assert_eq!(hex(&Sha256::digest(once)), hex(&stored));
        assert!(native("", seed).is_empty() && sha2("", seed).is_empty());
    }

    #[test]
    fn greetings_and_refusals_are_read() {
        let mut packet = b"\x0a5.7.40\0\x07\0\0\0saltsalt\0\xff\xf7\x21\x02\0\x0f\0\x15".to_vec();
        packet.extend_from_slice(&[0; 10]);
        packet.extend_from_slice(b"moresaltsalt\0mysql_native_password\0");
        let greeting = Greeting::read(&packet).expect("a greeting");
        assert_eq!(greeting.seed, b"saltsaltmoresaltsalt");
        assert_eq!(greeting.plugin, NATIVE);
        assert!(Greeting::read(b"\x09old").is_none() && Greeting::read(b"").is_none());
        let denied = refusal(b"\xff\x15\x04#28000Access denied");
        assert_eq!(denied.as_deref(), Some("Access denied"));
    }
}
