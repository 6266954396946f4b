//! The framed management protocol: a line, a length and a body in; a length, a code and a text out; as many as one likes.
//!
//! Refusals are in the original's words.

#[cfg(test)]
mod tests;

/// Longest line.
pub const MAX_LINE: usize = 8 << 10;
/// Largest body.
pub const MAX_BODY: usize = 1 << 20;
/// A length before a body, and before a reply.
const LENGTH: usize = 4;

/// What a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// Documents.
    Upstream,
    /// Scripts.
    Code,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they say what they are")]
pub enum Method {
    Get,
    Put,
    Post,
    Load,
    Delete,
}

/// A line that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// What is to be done.
    pub method: Method,
    /// What it is about.
    pub topic: Topic,
    /// Which one.
    pub name: String,
}

impl Command {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, &'static str> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let text = std::str::from_utf8(line).map_err(|_| "command invalid")?;
        let mut fields = text.split([' ', '\t']).filter(|f| !f.is_empty());
        let (Some(method), Some(topic), Some(name), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("command invalid");
        };
        let topic = match topic.to_ascii_lowercase().as_str() {
            "upstream" => Topic::Upstream,
            "code" => Topic::Code,
            _ => return Err("topic invalid"),
        };
        let method = match method.to_ascii_lowercase().as_str() {
            "get" => Method::Get,
            "put" => Method::Put,
            "post" => Method::Post,
            "load" if topic == Topic::Code => Method::Load,
            "delete" => Method::Delete,
            _ => return Err("method invalid"),
        };
        Ok(Self {
            method,
            topic,
            name: name.to_owned(),
        })
    }

    /// Whether a length and a body follow the line.
    pub fn has_body(&self) -> bool {
        match self.topic {
            Topic::Upstream => matches!(self.method, Method::Put | Method::Post),
            Topic::Code => matches!(self.method, Method::Post | Method::Load),
        }
    }
}

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A command and its body; empty when it has none.
    Command(Command, Vec<u8>),
    /// To be answered with these words; the next command follows.
    Refused(&'static str),
    /// To be answered with these words, and then closed: what follows cannot be told from the next command.
    Last(&'static str),
    /// No length a body may have: the original hangs up.
    Close,
}

/// Takes what a client sends apart, as it arrives.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Its body, behind so many bytes, has not arrived wholly.
    open: Option<(Command, usize)>,
    /// Bytes in which no end of the line was found.
    looked: usize,
}

impl Decoder {
    /// The next item at the beginning of `arrived`, and how many bytes it took. None: more is needed, at the same place.
    pub fn next(&mut self, arrived: &[u8]) -> Option<(Item, usize)> {
        match self.open.take() {
            Some((command, start)) => self.body(command, arrived, start),
            None => self.line(arrived),
        }
    }

    /// Whether a command's body is what is waited for.
    pub fn awaits_body(&self) -> bool {
        self.open.is_some()
    }

    fn line(&mut self, arrived: &[u8]) -> Option<(Item, usize)> {
        let from = std::mem::take(&mut self.looked).min(arrived.len());
        let end = arrived[from..].iter().position(|b| *b == b'\n');
        let Some(end) = end.map(|at| from + at).filter(|end| *end <= MAX_LINE) else {
            if arrived.len() > MAX_LINE {
                return Some((Item::Last("command invalid"), arrived.len()));
            }
            self.looked = arrived.len();
            return None;
        };
        match Command::parse(&arrived[..end]) {
            Err(words) => Some((Item::Refused(words), end + 1)),
            Ok(command) if command.has_body() => self.body(command, arrived, end + 1),
            Ok(command) => Some((Item::Command(command, Vec::new()), end + 1)),
        }
    }

    /// The body behind `start`.
    fn body(&mut self, command: Command, arrived: &[u8], start: usize) -> Option<(Item, usize)> {
        let rest = arrived.get(start..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<LENGTH>() else {
            self.open = Some((command, start));
            return None;
        };
        let length = u32::from_be_bytes(*length);
        if length == 0 || length >> 31 == 1 {
            return Some((Item::Close, arrived.len()));
        }
        let length = length as usize;
        if length > MAX_BODY {
            return Some((Item::Last("body too big"), arrived.len()));
        }
        match rest.get(..length) {
            None => {
                self.open = Some((command, start));
                None
            }
            Some(body) => {
                let taken = start + LENGTH + length;
                Some((Item::Command(command, body.to_vec()), taken))
            }
        }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done.
    Done,
    /// What was asked for.
    Data(String),
    /// Why not.
    Error(String),
}

impl Reply {
    /// Length of what follows, code, text.
    pub fn encode(&self) -> Vec<u8> {
        let (code, text) = match self {
            Reply::Done => (0u32, "OK"),
            Reply::Data(text) => (1, text.as_str()),
            Reply::Error(text) => (2, text.as_str()),
        };
        let length = u32::try_from(text.len() + LENGTH).unwrap_or(u32::MAX);
        let mut out = Vec::with_capacity(text.len() + 2 * LENGTH);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
        out
    }
}
