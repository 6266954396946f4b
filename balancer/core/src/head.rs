//! The head of a request, read strictly before any engine sees it: what two readers could understand differently is refused.
//!
//! Every byte of a request passes here first, so that one request in is one request for everybody behind.

mod bytes;
mod chunks;
mod parse;
mod target;
#[cfg(test)]
mod tests;

pub use chunks::Chunks;
pub(crate) use parse::lines;
pub use target::as_sent;

/// Most bytes of a whole head.
pub const MAX_HEAD: usize = 32 * 1024;
/// Most bytes of one line.
pub const MAX_LINE: usize = 16 * 1024;
/// Most header lines.
pub const MAX_HEADERS: usize = 100;
/// Largest request body.
pub const MAX_BODY: u64 = 1 << 30;
/// Empty lines left out before a request: some clients end a body with one too many.
const BLANKS: usize = 4;

/// Why a request is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Status of the answer.
    pub status: u16,
    /// One word for people and counters.
    pub reason: &'static str,
}

impl Refusal {
    pub(crate) fn bad(reason: &'static str) -> Self {
        Self {
            status: 400,
            reason,
        }
    }
}

/// How a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// After this many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
}

/// A head that is fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the input it took, left out lines included.
    pub length: usize,
    /// What to hand on.
    pub text: Text,
    /// How the body ends.
    pub body: Body,
    /// The connection may become a stream of its own.
    pub upgrade: bool,
    /// The client waits for a word before it sends the body.
    pub expects: bool,
}

/// What is handed on of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// The input from this offset on, as it came.
    AsSent(usize),
    /// Another text: the target was reduced to a path, or lines were left out.
    Rewritten(Vec<u8>),
}

/// Finds the end of a head in bytes that arrive piece by piece; every byte is looked at once.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Where the first line begins.
    start: usize,
    /// Where the current line begins.
    line: usize,
    at: usize,
    lines: usize,
    blanks: usize,
}

impl Scanner {
    /// Looks at what arrived; `input` is everything since the request's first byte. None: more is needed.
    ///
    /// # Errors
    /// It will never be a request worth serving.
    pub fn scan(&mut self, input: &[u8]) -> Result<Option<Head>, Refusal> {
        while let Some(end) = self.line_end(input)? {
            let empty = end == self.line + 2;
            match (empty, self.lines) {
                (true, 0) => self.skip_blank(end)?,
                (true, _) => return parse::head(input, self.start, end).map(Some),
                (false, _) => self.next_line(end)?,
            }
        }
        Ok(None)
    }

    /// Just behind the current line, when it is all there.
    fn line_end(&mut self, input: &[u8]) -> Result<Option<usize>, Refusal> {
        let found = bytes::find(&input[self.at..], b'\n');
        let end = found.map(|n| self.at + n + 1);
        self.at = end.unwrap_or(input.len());
        if self.at - self.line > MAX_LINE + 2 {
            return Err(self.too_long());
        }
        if self.at - self.start > MAX_HEAD {
            return Err(Refusal::bad("header_too_large"));
        }
        if end.is_some_and(|end| end < self.line + 2 || input[end - 2] != b'\r') {
            return Err(Refusal::bad("bare_lf"));
        }
        Ok(end)
    }

    fn too_long(&self) -> Refusal {
        match self.lines {
            0 => Refusal {
                status: 414,
                reason: "target_too_long",
            },
            _ => Refusal::bad("header_too_large"),
        }
    }

    fn skip_blank(&mut self, end: usize) -> Result<(), Refusal> {
        self.blanks += 1;
        (self.start, self.line) = (end, end);
        if self.blanks > BLANKS {
            return Err(Refusal::bad("blank_lines"));
        }
        Ok(())
    }

    fn next_line(&mut self, end: usize) -> Result<(), Refusal> {
        self.lines += 1;
        self.line = end;
        // The request line is one of them.
        if self.lines > MAX_HEADERS + 1 {
            return Err(Refusal::bad("too_many_headers"));
        }
        Ok(())
    }
}
