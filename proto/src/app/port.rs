//! Ports an instance listens on: single ones and ranges, TCP and UDP.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A port an instance listens on, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name used in `service`, `healthcheck` and `{{ port.<name> }}`, which is the first of a range.
    pub name: String,
    /// Port inside the container. None: the same number as the host port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<PortNumbers>))]
    pub container: Option<PortSpan>,
    /// Fixed host port. None: chosen from the node's ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<PortNumbers>))]
    pub host: Option<PortSpan>,
    /// What is spoken over it.
    #[serde(default, skip_serializing_if = "PortProtocol::is_tcp")]
    pub protocol: PortProtocol,
}

impl Port {
    /// How many ports it stands for.
    pub fn count(&self) -> u16 {
        self.host.or(self.container).map_or(1, PortSpan::count)
    }
}

/// What is spoken over a port.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PortProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP; no balancer carries it, clients come to the node's port.
    Udp,
}

impl PortProtocol {
    /// Whether it is the usual one.
    pub fn is_tcp(&self) -> bool {
        *self == Self::Tcp
    }

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A port, or ports one after the other: written 8080, or "10000-10010".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "PortNumbers", into = "PortNumbers")]
pub struct PortSpan {
    first: u16,
    last: u16,
}

/// A port, or ports one after the other: 8080, or "10000-10010".
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(untagged)]
enum PortNumbers {
    /// One.
    One(u16),
    /// From the first to the last.
    Several(String),
}

/// Why numbers are no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a port nor a range of at most {most} ports, write it like 8080 or \"10000-10010\"",
    most = PortSpan::MOST
)]
pub struct InvalidPorts(String);

impl PortSpan {
    /// Most ports of one range: the engine runs a program for each.
    pub const MOST: u16 = 256;

    /// One port.
    pub const fn one(port: u16) -> Self {
        let (first, last) = (port, port);
        Self { first, last }
    }

    /// `first` and those after it up to `last`.
    ///
    /// # Errors
    /// That is none, or more than [`PortSpan::MOST`].
    pub fn range(first: u16, last: u16) -> Result<Self, InvalidPorts> {
        match first > 0 && first <= last && last - first < Self::MOST {
            true => Ok(Self { first, last }),
            false => Err(InvalidPorts(format!("{first}-{last}"))),
        }
    }

    /// The first port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// How many there are.
    pub const fn count(self) -> u16 {
        self.last - self.first + 1
    }

    /// Each of them.
    pub fn each(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    /// Whether both have a port in common.
    pub fn meets(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl std::str::FromStr for PortSpan {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, InvalidPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<u16>();
        match (number(first), number(last)) {
            (Ok(first), Ok(last)) => Self::range(first, last),
            _ => Err(InvalidPorts(text.to_owned())),
        }
    }
}

impl fmt::Display for PortSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl TryFrom<PortNumbers> for PortSpan {
    type Error = InvalidPorts;

    fn try_from(numbers: PortNumbers) -> Result<Self, InvalidPorts> {
        match numbers {
            PortNumbers::One(port) => Self::range(port, port),
            PortNumbers::Several(text) => text.parse(),
        }
    }
}

impl From<PortSpan> for PortNumbers {
    fn from(span: PortSpan) -> Self {
        match span.first == span.last {
            true => Self::One(span.first),
            false => Self::Several(span.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ports_read_and_print() {
        for (text, first, count) in [("8080", 8080, 1), ("\"10-12\"", 10, 3), ("\"7\"", 7, 1)] {
            let span: PortSpan = serde_json::from_str(text).unwrap();
            assert_eq!((span.first(), span.count()), (first, count));
        }
        let json = |text: &str| serde_json::to_string(&text.parse::<PortSpan>().unwrap()).unwrap();
        assert_eq!((json("7"), json("10-12")), ("7".into(), "\"10-12\"".into()));
        for bad in ["0", "\"9-1\"", "\"1-257\"", "\"a\"", "70000", "\"1-\""] {
            assert!(serde_json::from_str::<PortSpan>(bad).is_err(), "{bad}");
        }
        let span = |text: &str| text.parse::<PortSpan>().unwrap();
        assert!(span("10-20").meets(span("20")) && !span("10-20").meets(span("21-30")));
    }
}
