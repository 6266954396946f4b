//! Names and numbers that must not be mixed up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {text:?} is not valid: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:tt, $allowed:expr, $rule:literal, $pattern:tt) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(
            feature = "schema",
            derive(utoipa::ToSchema),
            schema(value_type = String, min_length = 1, max_length = $max, pattern = $pattern)
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let fits = !text.is_empty() && text.len() <= $max;
                if fits && text.chars().all($allowed) && !text.starts_with('-') && !text.ends_with('-') {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { kind: $kind, text: text.to_owned(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':')
}

text_id!(
    /// An app, unique in the cluster. 1–48 of `a-z`, `0-9` and `-`, so that an instance name fits a DNS label.
    AppName, "app name", 48, lower,
    "1 to 48 of a-z, 0-9 and \"-\", neither first nor last a \"-\"",
    "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
);
text_id!(
    /// A node: one daemon on one machine.
    NodeId, "node name", 128, token,
    "1 to 128 of letters, digits, \"-\", \"_\", \".\" and \":\"",
    "^[A-Za-z0-9_.:]([A-Za-z0-9_.:-]*[A-Za-z0-9_.:])?$"
);
text_id!(
    /// A zone: a named set of nodes whose balancers carry a service.
    ZoneName, "zone name", 48, lower,
    "1 to 48 of a-z, 0-9 and \"-\", neither first nor last a \"-\"",
    "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
);
text_id!(
    /// One start of one daemon. A new boot voids the confirmations and counts of the one before.
    BootId, "boot id", 64, token,
    "1 to 64 of letters, digits, \"-\", \"_\", \".\" and \":\"",
    "^[A-Za-z0-9_.:]([A-Za-z0-9_.:-]*[A-Za-z0-9_.:])?$"
);
text_id!(
    /// One cluster for ever; made once by the first master.
    ClusterId, "cluster id", 64, token,
    "1 to 64 of letters, digits, \"-\", \"_\", \".\" and \":\"",
    "^[A-Za-z0-9_.:]([A-Za-z0-9_.:-]*[A-Za-z0-9_.:])?$"
);
text_id!(
    /// One instance of an app: `<app>-<number>`; the number is never used again in the cluster.
    InstanceId, "instance id", 80, lower,
    "1 to 80 of a-z, 0-9 and \"-\", neither first nor last a \"-\"",
    "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
);

impl InstanceId {
    /// The instance `number` of `app`.
    pub fn new(app: &AppName, number: u64) -> Self {
        Self(format!("{app}-{number}"))
    }
}

impl AppName {
    /// Stands for upstreams that no app owns: under it a master publishes what operators keep by hand. No app may be called so.
    pub fn by_hand() -> Self {
        Self("by-hand".to_owned())
    }
}

impl Default for ZoneName {
    /// The zone of all nodes, which is always there.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl ZoneName {
    /// Whether it is the zone of all nodes.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The following number.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A version of an app's spec: 1, 2, 3… per app.
    Version
);
number_id!(
    /// A deployment, unique in the cluster.
    DeploymentId
);
number_id!(
    /// Counts the changes of one node's assignment. An agent refuses to go back.
    Generation
);
number_id!(
    /// The index of an app's upstream documents: the Raft log index of the command that changed them.
    DocIndex
);
number_id!(
    /// A revision of the upstream registry's store.
    Revision
);
number_id!(
    /// A Raft term.
    Term
);
number_id!(
    /// A Raft log index.
    LogIndex
);
