//! A command run inside an instance, as a client, the leader and the node tell it to each other.
//!
//! Nobody keeps what another one does not read: each direction has [`WINDOW`] pieces under way at most, and the reader gives every piece it
//! has done with back as a credit.

use serde::{Deserialize, Serialize};

use crate::hub::Stream;
use crate::ids::InstanceId;

/// Pieces of one direction that may be under way.
pub const WINDOW: usize = 4;

/// Most bytes in one piece.
pub const MAX_PIECE: usize = 32 << 10;

/// Most bytes of a command with all its arguments.
pub const MAX_COMMAND: usize = 128 << 10;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The program and its arguments; empty only for a job.
    pub command: Vec<String>,
    /// It reads what the client sends; otherwise nothing.
    #[serde(default)]
    pub stdin: bool,
    /// It gets a terminal of this size; then it has one output only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<Window>,
    /// It is a job of an instance that waits for those; without a command it runs the app's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub job: bool,
}

impl Order {
    /// What is wrong with it; None: nothing.
    pub fn problem(&self) -> Option<String> {
        let bytes: usize = self.command.iter().map(|word| word.len() + 1).sum();
        let own = self.job && self.command.is_empty();
        if !own && self.command.first().is_none_or(String::is_empty) {
            return Some("no command is named".to_owned());
        }
        if self.job && self.tty.is_some() {
            return Some("a job has no terminal".to_owned());
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return Some("the command has a zero byte in it".to_owned());
        }
        (bytes > MAX_COMMAND)
            .then(|| format!("the command has {bytes} bytes; {MAX_COMMAND} are allowed"))
    }
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Characters in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
}

/// What a client says, after the [`Order`] as its first text, in texts of a WebSocket. Binary messages are the command's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientWord {
    /// The terminal has another size.
    Resize(Window),
    /// No more input will come.
    InputEnd,
}

/// What the leader says to a client in texts. Binary messages are output: one byte says of which [`Stream`] ([`MARKS`]), the rest is it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum MasterWord {
    /// It runs.
    Begun,
    /// It has ended.
    Ended {
        /// Its exit code; 128 and the signal's number when a signal ended it.
        code: i32,
    },
    /// It did not run, or what became of it is not known.
    Failed {
        /// Why.
        message: String,
    },
}

/// The first byte of output.
pub const MARKS: [(u8, Stream); 2] = [(1, Stream::Stdout), (2, Stream::Stderr)];

/// Leader to node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum ToCommand {
    /// Run it. The first word of a command, and only that.
    Begin {
        /// Where.
        instance: InstanceId,
        /// What.
        order: Order,
    },
    /// A piece of its input.
    Input {
        /// At most [`MAX_PIECE`] bytes.
        #[serde(with = "base64")]
        data: Vec<u8>,
    },
    /// No more input will come.
    InputEnd,
    /// Its terminal has another size.
    Resize(Window),
    /// A piece of output was taken; one more may come.
    Credit,
    /// Nobody waits for it any more: end it.
    End,
}

/// Node to leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub enum FromCommand {
    /// It runs.
    Begun,
    /// A piece of its output.
    Output {
        /// Standard output or standard error.
        stream: Stream,
        /// At most [`MAX_PIECE`] bytes.
        #[serde(with = "base64")]
        data: Vec<u8>,
    },
    /// A piece of input was taken; one more may come.
    Credit,
    /// It has ended with this exit code, or could not be run for this reason. The last word.
    Ended {
        /// How.
        outcome: Result<i32, String>,
    },
}

/// Bytes as text of JSON.
mod base64 {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(data: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(data))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        STANDARD.decode(text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::hub::{AgentMessage, HubMessage};

    #[test]
    fn bytes_travel_as_they_are() {
        let word = FromCommand::Output {
            stream: Stream::Stderr,
            data: vec![0, 255, 10, 1],
        };
        let message = AgentMessage::Exec { id: 7, word };
        let text = json!(message);
        assert_eq!(
            text,
            json!({"type": "exec", "id": 7, "word": {"word": "output", "stream": "stderr", "data": "AP8KAQ=="}})
        );
        assert_eq!(
            serde_json::from_value::<AgentMessage>(text).unwrap(),
            message
        );
        let end = HubMessage::Exec {
            id: 7,
            word: ToCommand::End,
        };
        assert_eq!(
            json!(end),
            json!({"type": "exec", "id": 7, "word": {"word": "end"}})
        );
    }

    #[test]
    fn orders_that_cannot_be_run_are_told() {
        let order = |command: &[&str]| Order {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            stdin: false,
            tty: None,
            job: false,
        };
        assert_eq!(order(&["ls", ""]).problem(), None);
        for wrong in [&[][..], &[""], &["a\0b"], &[&"x".repeat(MAX_COMMAND)]] {
            assert!(order(wrong).problem().is_some());
        }
        let job = |command: &[&str]| Order {
            job: true,
            ..order(command)
        };
        assert_eq!(job(&[]).problem(), None);
        assert_eq!(job(&["ls"]).problem(), None);
        assert!(job(&[""]).problem().is_some());
        let tty = Some(Window {
            columns: 80,
            rows: 25,
        });
        assert!(Order { tty, ..job(&[]) }.problem().is_some());
    }
}
