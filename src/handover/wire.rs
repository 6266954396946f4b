//! Messages and descriptors over a Unix socket: a length, a number of descriptors, and JSON. The descriptors come with the first bytes.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// Descriptors of one message; the kernel takes 253.
pub const MOST_DESCRIPTORS: usize = 200;
/// Largest message, in bytes.
const LARGEST: usize = 64 << 20;
/// Time the other end has to take a message, where nobody says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(10);
const HEAD: usize = 6;
const BLOCK: usize = 64 << 10;

/// One end.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    arrived: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

impl Wire {
    /// Over a connected socket.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            arrived: Vec::new(),
            descriptors: VecDeque::new(),
        }
    }

    /// Sends one message, with at most [`MOST_DESCRIPTORS`] descriptors. Meanwhile it takes in what comes, so that two who both send do not
    /// wait for each other. Dropped half way it leaves the wire of no use.
    ///
    /// # Errors
    /// The other end is gone, or the message is too large.
    pub async fn send(
        &mut self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= LARGEST);
        let length = length.ok_or_else(|| wrong("a message is too large to be handed over"))?;
        let count = u16::try_from(descriptors.len()).map_err(|_| wrong("too many descriptors"))?;
        let head = [&length.to_be_bytes()[..], &count.to_be_bytes()[..]].concat();
        let bytes = [head, body].concat();
        let mut sent = 0;
        while sent < bytes.len() {
            let with = if sent == 0 { descriptors } else { &[] };
            match self.try_write(&bytes[sent..], with) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let both = Interest::READABLE | Interest::WRITABLE;
                    if self.stream.ready(both).await?.is_readable() {
                        self.try_read().or_else(unless_blocked)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The same without descriptors, in time.
    ///
    /// # Errors
    /// The other end is gone, or has not taken it within [`PATIENCE`].
    pub async fn send_in_time(&mut self, message: &impl Serialize) -> io::Result<()> {
        let sent = timeout(PATIENCE, self.send(message, &[])).await;
        sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    fn try_write(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let write = || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
            let mut with = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !with.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(wrong("too many descriptors"));
            }
            let bytes = [IoSlice::new(bytes)];
            Ok(rustix::net::sendmsg(
                &self.stream,
                &bytes,
                &mut with,
                SendFlags::NOSIGNAL,
            )?)
        };
        self.stream.try_io(Interest::WRITABLE, write)
    }

    /// The next message; None: the other end is gone. Safe to drop and call again.
    ///
    /// # Errors
    /// What came is no message, or one was cut off.
    pub async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        loop {
            if let Some(whole) = self.next()? {
                return Ok(Some(whole));
            }
            let before = self.arrived.len();
            self.stream.readable().await?;
            match self.try_read() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                read => read?,
            }
            if self.arrived.len() == before {
                return match before {
                    0 => Ok(None),
                    _ => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some((head, rest)) = self.arrived.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let count = usize::from(u16::from_be_bytes([head[4], head[5]]));
        if length > LARGEST || count > MOST_DESCRIPTORS {
            return Err(wrong("what came is no message of a hand-over"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&rest[..length])?;
        if self.descriptors.len() < count {
            return Err(wrong(
                "descriptors were lost; is the limit of open files (ulimit -n) too low?",
            ));
        }
        self.arrived.drain(..HEAD + length);
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }

    fn try_read(&mut self) -> io::Result<()> {
        let Self {
            stream,
            arrived,
            descriptors,
        } = self;
        let read = || {
            let mut block = [0; BLOCK];
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
            let mut with = RecvAncillaryBuffer::new(&mut space);
            let mut blocks = [IoSliceMut::new(&mut block)];
            let got =
                rustix::net::recvmsg(&*stream, &mut blocks, &mut with, RecvFlags::CMSG_CLOEXEC)?;
            for message in with.drain() {
                if let RecvAncillaryMessage::ScmRights(came) = message {
                    descriptors.extend(came);
                }
            }
            arrived.extend_from_slice(&block[..got.bytes]);
            Ok(())
        };
        stream.try_io(Interest::READABLE, read)
    }
}

fn unless_blocked(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(()),
        _ => Err(error),
    }
}

fn wrong(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    fn pair() -> (Wire, Wire) {
        let (one, other) = UnixStream::pair().unwrap();
        (Wire::new(one), Wire::new(other))
    }

    #[tokio::test]
    async fn messages_keep_their_descriptors() {
        let (mut one, mut other) = pair();
        let sockets: Vec<TcpListener> = (0..MOST_DESCRIPTORS + 50)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let ports = |of: &[TcpListener]| -> Vec<u16> {
            of.iter().map(|l| l.local_addr().unwrap().port()).collect()
        };
        let long = "x".repeat(3 * BLOCK);
        let sending = async {
            for chunk in sockets.chunks(MOST_DESCRIPTORS) {
                let descriptors: Vec<_> = chunk.iter().map(AsFd::as_fd).collect();
                one.send(&(ports(chunk), &long), &descriptors)
                    .await
                    .unwrap();
                one.send(&"between", &[]).await.unwrap();
            }
            drop(one);
        };
        let receiving = async {
            for chunk in sockets.chunks(MOST_DESCRIPTORS) {
                let ((named, text), came): ((Vec<u16>, String), _) =
                    other.receive().await.unwrap().unwrap();
                let came: Vec<TcpListener> = came.into_iter().map(Into::into).collect();
                assert_eq!((ports(&came), text.len()), (ports(chunk), long.len()));
                assert_eq!(named, ports(chunk));
                let (between, none): (String, _) = other.receive().await.unwrap().unwrap();
                assert!(between == "between" && none.is_empty());
            }
            assert!(other.receive::<String>().await.unwrap().is_none());
        };
        tokio::join!(sending, receiving);
    }

    #[tokio::test]
    async fn what_is_no_message_is_an_error() {
        for bytes in [&[0xff; 16][..], b"\0\0\0\x02\0\x01{}", b"\0\0\0\x03\0\0{}"] {
            let (mut one, other) = pair();
            other.stream.writable().await.unwrap();
            assert_eq!(other.try_write(bytes, &[]).unwrap(), bytes.len());
            drop(other);
            assert!(one.receive::<()>().await.is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn two_that_both_send_do_not_wait_for_each_other() {
        let (mut one, mut other) = pair();
        let long = "x".repeat(4 << 20);
        let both = |wire: &'static str| (wire, long.clone());
        let (first, second) = (both("one"), both("other"));
        let (a, b) = tokio::join!(one.send(&first, &[]), other.send(&second, &[]));
        a.and(b).unwrap();
        assert_eq!(
            one.receive::<(String, String)>()
                .await
                .unwrap()
                .unwrap()
                .0
                .0,
            "other"
        );
        assert_eq!(
            other
                .receive::<(String, String)>()
                .await
                .unwrap()
                .unwrap()
                .0
                .0,
            "one"
        );
    }
}
