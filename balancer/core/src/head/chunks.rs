//! Where a chunked body ends, read strictly: no bare line feeds, no signs, no blanks in sizes.

use super::{MAX_BODY, Refusal};

/// Most bytes of a chunk's extensions, and of all trailers.
const MAX_EXTRA: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Digits read so far.
    Size(u8),
    Extension,
    SizeLf,
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line.
    Trailer,
    TrailerLine,
    TrailerLf,
    LastLf,
    Done,
}

/// Follows a chunked body as it passes.
#[derive(Debug)]
pub struct Chunks {
    state: State,
    size: u64,
    total: u64,
    /// Most bytes of all chunks together.
    most: u64,
    extra: usize,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            state: State::Size(0),
            size: 0,
            total: 0,
            most: MAX_BODY,
            extra: 0,
        }
    }
}

impl Chunks {
    /// Chunks of an answer, which may go on for ever.
    pub fn endless() -> Self {
        Self {
            most: u64::MAX,
            ..Self::default()
        }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Looks at the next bytes; answers how many of them belong to the body.
    ///
    /// # Errors
    /// It is no chunked body, or too large a one.
    pub fn pass(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            if let State::Data(left) = self.state {
                let here = left.min((bytes.len() - at) as u64);
                self.state = match left - here {
                    0 => State::DataCr,
                    rest => State::Data(rest),
                };
                at += here as usize;
            } else {
                self.state = self.step(bytes[at])?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size(digits), _) => self.size(digits, byte),
            (State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, _) => self.extra(byte, State::Extension),
            (State::SizeLf, b'\n') => self.begin(),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size(0)),
            (State::Trailer, b'\r') => Ok(State::LastLf),
            (State::TrailerLine, b'\r') => Ok(State::TrailerLf),
            (State::Trailer | State::TrailerLine, _) => self.extra(byte, State::TrailerLine),
            (State::TrailerLf, b'\n') => Ok(State::Trailer),
            (State::LastLf, b'\n') => Ok(State::Done),
            _ => Err(Refusal::bad("chunk")),
        }
    }

    fn size(&mut self, digits: u8, byte: u8) -> Result<State, Refusal> {
        match (char::from(byte).to_digit(16), byte) {
            (Some(digit), _) if digits < 8 => {
                self.size = self.size * 16 + u64::from(digit);
                Ok(State::Size(digits + 1))
            }
            (None, b'\r') if digits > 0 => Ok(State::SizeLf),
            (None, b';') if digits > 0 => Ok(State::Extension),
            _ => Err(Refusal::bad("chunk_size")),
        }
    }

    fn begin(&mut self) -> Result<State, Refusal> {
        let size = std::mem::take(&mut self.size);
        self.total = self.total.saturating_add(size);
        if self.total > self.most {
            return Err(Refusal {
                status: 413,
                reason: "body_too_large",
            });
        }
        Ok(match size {
            0 => State::Trailer,
            size => State::Data(size),
        })
    }

    fn extra(&mut self, byte: u8, next: State) -> Result<State, Refusal> {
        self.extra += 1;
        if self.extra > MAX_EXTRA || (byte < b' ' && byte != b'\t') || byte == 0x7f {
            return Err(Refusal::bad("chunk_extra"));
        }
        Ok(next)
    }
}
