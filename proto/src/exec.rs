//! A command run inside an instance, as a client, the leader and the node tell it to each other.
//!
//! Nobody keeps what another one does not read: each direction has [`WINDOW`] pieces under way at most, and the reader gives every piece it
//! has done with back as a credit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::hub::Stream;
use crate::ids::InstanceId;

/// Pieces of one direction that may be under way.
pub const WINDOW: usize = 4;

/// Most bytes in one piece.
pub const MAX_PIECE: usize = 32 << 10;

/// Most bytes of a command with all its arguments, and of what it is given beside them.
pub const MAX_COMMAND: usize = 128 << 10;

/// What is to be run. Who does not know a field must not take it: the command would run otherwise than it was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// As whom it runs: a name, or numbers like "1000:1000". None: as the instance does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it runs, from the root. None: where the instance does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Its environment beside that of the instance, which it goes before.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
}

impl Order {
    /// Whether it runs otherwise than the instance does; not every agent knows how.
    pub fn has_surroundings(&self) -> bool {
        self.user.is_some() || self.workdir.is_some() || !self.environment.is_empty()
    }

    /// What is wrong with it; None: nothing.
    pub fn problem(&self) -> Option<String> {
        let bytes = self.bytes();
        if bytes > MAX_COMMAND {
            return Some(format!(
                "the command has {bytes} bytes; {MAX_COMMAND} are allowed"
            ));
        }
        self.wrong_command().or_else(|| self.wrong_surroundings())
    }

    fn bytes(&self) -> usize {
        let variables = self.environment.iter();
        let variables = variables.map(|(name, value)| name.len() + value.len() + 2);
        let rest = [&self.user, &self.workdir].into_iter().flatten();
        let words = self.command.iter().chain(rest).map(|word| word.len() + 1);
        words.chain(variables).sum()
    }

    fn wrong_command(&self) -> Option<String> {
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
        None
    }

    fn wrong_surroundings(&self) -> Option<String> {
        if self.job && self.has_surroundings() {
            return Some("a job has the user, workdir and environment of its app".to_owned());
        }
        let user = self.user.as_deref().unwrap_or("-");
        if user.is_empty() || user.contains('\0') {
            return Some(format!("user {user:?} is none"));
        }
        let workdir = self.workdir.as_deref().unwrap_or("/");
        if !workdir.starts_with('/') || workdir.contains('\0') {
            return Some(format!(
                "workdir {workdir:?} is no path from the root, like /srv"
            ));
        }
        let mut variables = self.environment.iter();
        let wrong = variables.find(|(name, value)| !is_name(name) || value.contains('\0'));
        wrong.map(|(name, _)| format!("environment: {name:?} is no variable"))
    }
}

/// Whether an environment can have a variable of that name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
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
            ..Order::default()
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

    #[test]
    fn surroundings_that_cannot_be_had_are_told_by_their_field() {
        let plain = || Order {
            command: vec!["ls".to_owned()],
            ..Order::default()
        };
        let user = |user: &str| Order {
            user: Some(user.to_owned()),
            ..plain()
        };
        let workdir = |workdir: &str| Order {
            workdir: Some(workdir.to_owned()),
            ..plain()
        };
        let variable = |name: &str, value: &str| Order {
            environment: [(name.to_owned(), value.to_owned())].into(),
            ..plain()
        };
        for good in [
            user("1000:1000"),
            workdir("/srv"),
            variable("A", "x=\"y\""),
            variable("A", ""),
        ] {
            assert!(good.has_surroundings());
            assert_eq!(good.problem(), None);
            let job = Order { job: true, ..good };
            assert!(job.problem().unwrap().contains("of its app"));
        }
        for (field, wrong) in [
            ("user", user("")),
            ("user", user("a\0b")),
            ("workdir", workdir("")),
            ("workdir", workdir("srv")),
            ("workdir", workdir("/a\0b")),
            ("environment", variable("", "x")),
            ("environment", variable("A=B", "x")),
            ("environment", variable("A", "x\0")),
            ("bytes", variable("A", &"x".repeat(MAX_COMMAND))),
        ] {
            let problem = wrong.problem().unwrap();
            assert!(problem.contains(field), "{problem}");
        }
    }

    /// An agent of a version without a field must not run the command without it.
    #[test]
    fn what_is_not_understood_is_not_run() {
        let order = json!({"command": ["ls"], "mask": "0077"});
        let word = json!({"word": "begin", "instance": "web-1", "order": order});
        assert!(serde_json::from_value::<ToCommand>(word).is_err());
        let plain = json!(Order {
            command: vec!["ls".to_owned()],
            ..Order::default()
        });
        assert_eq!(plain, json!({"command": ["ls"], "stdin": false}));
    }
}
