//! What agent and runner say to each other, over a socket whose name says the version of it.
//!
//! The agent sends an order: four bytes that say how long it is, with which three descriptors travel (standard input, output and error), then
//! the words of the command, each closed by a zero byte; none stands for the app's own command. The runner answers twice: one byte when it has
//! taken the order, before anything is run, and four bytes with the exit code when nothing of the job is left. All numbers are little-endian.

use std::ffi::CString;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Name of the socket. Another version of what is said has another name, and is listened for beside this one.
pub const SOCKET: &str = "jobs";

/// Most bytes of a command.
pub const LONGEST: usize = 128 << 10;

/// An order has been taken.
pub const TAKEN: u8 = 1;

/// A job as the runner gets it.
#[derive(Debug)]
pub struct Order {
    /// Program and arguments; empty: the app's own.
    pub command: Vec<CString>,
    /// Its standard input.
    pub stdin: OwnedFd,
    /// Its standard output.
    pub stdout: OwnedFd,
    /// Its standard error.
    pub stderr: OwnedFd,
}

/// The words of an order, to be sent after its [`send_head`].
///
/// # Errors
/// A word has a zero byte in it, or all are too long together.
pub fn words(command: &[String]) -> io::Result<Vec<u8>> {
    let mut words = Vec::new();
    for word in command {
        words.extend(CString::new(word.as_str())?.into_bytes_with_nul());
    }
    match words.len() <= LONGEST {
        true => Ok(words),
        false => Err(too_long(words.len())),
    }
}

/// Sends the head of an order: how many bytes of words follow, and its standard input, output and error.
///
/// # Errors
/// The other side has gone, or `to` would block.
pub fn send_head(to: impl AsFd, words: usize, files: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    let length = u32::try_from(words).map_err(|_| too_long(words))?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    with.push(SendAncillaryMessage::ScmRights(&files));
    let head = length.to_le_bytes();
    match sendmsg(to, &[IoSlice::new(&head)], &mut with, SendFlags::NOSIGNAL)? {
        4 => Ok(()),
        _ => Err(broken("half a head was sent")),
    }
}

/// Receives an order whose first byte has come.
pub(crate) fn receive(from: &UnixStream) -> io::Result<Order> {
    let mut head = [0; 4];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(3))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(&mut head)];
    let got = recvmsg(from, &mut bytes, &mut with, RecvFlags::CMSG_CLOEXEC)?;
    let files: Vec<OwnedFd> = with.drain().flat_map(descriptors).collect();
    if got.bytes != 4 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let [stdin, stdout, stderr] = <[OwnedFd; 3]>::try_from(files)
        .map_err(|_| broken("an order comes with three descriptors"))?;
    let length = u32::from_le_bytes(head) as usize;
    if length > LONGEST {
        return Err(too_long(length));
    }
    let mut words = vec![0; length];
    (&mut &*from).read_exact(&mut words)?;
    Ok(Order {
        command: split(&words)?,
        stdin,
        stdout,
        stderr,
    })
}

fn descriptors(message: RecvAncillaryMessage<'_>) -> Vec<OwnedFd> {
    match message {
        RecvAncillaryMessage::ScmRights(files) => files.collect(),
        _ => Vec::new(),
    }
}

fn split(words: &[u8]) -> io::Result<Vec<CString>> {
    let each = words.split_inclusive(|byte| *byte == 0);
    let closed = |word: &[u8]| CString::from_vec_with_nul(word.to_vec());
    each.map(closed)
        .collect::<Result<_, _>>()
        .map_err(|_| broken("a word is not closed"))
}

/// The order was taken: from now on it may have run.
pub(crate) fn tell_taken(mut to: &UnixStream) -> io::Result<()> {
    to.write_all(&[TAKEN])
}

/// The job has ended, and nothing of it is left.
pub(crate) fn tell_end(mut to: &UnixStream, code: i32) -> io::Result<()> {
    to.write_all(&code.to_le_bytes())
}

fn too_long(length: usize) -> io::Error {
    broken(&format!(
        "the command has {length} bytes; {LONGEST} are allowed"
    ))
}

fn broken(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn sent(command: &[&str], files: usize) -> io::Result<Order> {
        let (agent, runner) = UnixStream::pair().unwrap();
        let command: Vec<_> = command.iter().map(|word| (*word).to_owned()).collect();
        let words = words(&command)?;
        let null = File::open("/dev/null").unwrap();
        match files {
            3 => send_head(&agent, words.len(), [null.as_fd(); 3])?,
            _ => (&agent).write_all(&u32::try_from(words.len()).unwrap().to_le_bytes())?,
        }
        (&agent).write_all(&words)?;
        drop(agent);
        receive(&runner)
    }

    #[test]
    fn a_command_arrives_word_by_word() {
        for command in [&[][..], &["ls"], &["echo", "", "a b\n", "ü"]] {
            let got = sent(command, 3).unwrap().command;
            let got: Vec<_> = got.iter().map(|word| word.to_str().unwrap()).collect();
            assert_eq!(got, command);
        }
        let longest = "x".repeat(LONGEST - 1);
        assert_eq!(sent(&[&longest], 3).unwrap().command.len(), 1);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        assert!(sent(&["ls"], 0).is_err(), "without descriptors");
        assert!(sent(&[&"x".repeat(LONGEST)], 3).is_err(), "too long");
        assert!(sent(&["a\0b"], 3).is_err(), "zero byte");
        assert!(split(b"ls\0-l").is_err(), "not closed");
        let (agent, runner) = UnixStream::pair().unwrap();
        let null = File::open("/dev/null").unwrap();
        send_head(&agent, LONGEST + 1, [null.as_fd(); 3]).unwrap();
        assert!(receive(&runner).is_err(), "longer than allowed");
        let (agent, runner) = UnixStream::pair().unwrap();
        send_head(&agent, 10, [null.as_fd(); 3]).unwrap();
        drop(agent);
        assert!(receive(&runner).is_err(), "ended early");
    }
}
