//! Where an answer's body ends, and how it is framed for the client.

use super::Framing;
use crate::head::Chunks;

/// Follows a body as it passes.
#[derive(Debug)]
pub enum Body {
    /// So many bytes are still to come.
    Length(u64),
    /// By its chunks.
    Chunked(Chunks),
    /// Until the connection ends; the client is sent chunks.
    UntilClose,
    /// It has ended.
    Done,
}

impl Body {
    /// A body of which nothing has passed.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunks::endless()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// Whether it has ended.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How many of `bytes` belong to it.
    ///
    /// # Errors
    /// It breaks its framing.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        let (ours, done) = match self {
            Self::Length(left) => {
                let ours = (*left).min(bytes.len() as u64);
                *left -= ours;
                (ours as usize, *left == 0)
            }
            Self::Chunked(chunks) => {
                let ours = chunks.pass(bytes).map_err(|refusal| refusal.reason)?;
                (ours, chunks.is_done())
            }
            Self::UntilClose => (bytes.len(), false),
            Self::Done => (0, true),
        };
        if done {
            *self = Self::Done;
        }
        Ok(ours)
    }

    /// What the client is sent of a piece.
    pub fn write(&self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::UntilClose if !piece.is_empty() => {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(piece),
        }
    }

    /// The origin hung up. Answers what the client is sent then, None: the body is incomplete.
    pub fn end(&mut self) -> Option<&'static [u8]> {
        match self {
            Self::UntilClose => {
                *self = Self::Done;
                Some(b"0\r\n\r\n")
            }
            Self::Done => Some(b""),
            _ => None,
        }
    }
}
