//! Which registry outsiders read: the choice is replicated state, numbered, and switched while everything runs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where upstream documents live besides the masters themselves: `embedded` for nowhere else, or `etcd://[USER:PASS@]HOST[:PORT][,HOST]/PREFIX`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^(embedded|[a-z]+://\\S+)$", examples("embedded", "etcd://10.0.0.1:2379/hancock"))
)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryUrl(String);

/// Why a text is no registry's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no registry; write embedded, or an address like etcd://10.0.0.1:2379/hancock")]
pub struct InvalidRegistryUrl(String);

const EMBEDDED: &str = "embedded";

impl RegistryUrl {
    /// With its password, for who connects.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// Whether it is the masters' own.
    pub fn is_embedded(&self) -> bool {
        self.0 == EMBEDDED
    }
}

impl Default for RegistryUrl {
    fn default() -> Self {
        Self(EMBEDDED.to_owned())
    }
}

impl FromStr for RegistryUrl {
    type Err = InvalidRegistryUrl;

    fn from_str(text: &str) -> Result<Self, InvalidRegistryUrl> {
        let outside = text.split_once("://").is_some_and(|(scheme, rest)| {
            let named = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase());
            named
                && !rest.is_empty()
                && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
        });
        match text == EMBEDDED || outside {
            true => Ok(Self(text.to_owned())),
            // What may hold a password is not repeated.
            false => Err(InvalidRegistryUrl(hidden(text))),
        }
    }
}

impl TryFrom<String> for RegistryUrl {
    type Error = InvalidRegistryUrl;

    fn try_from(text: String) -> Result<Self, InvalidRegistryUrl> {
        text.parse()
    }
}

impl From<RegistryUrl> for String {
    fn from(url: RegistryUrl) -> String {
        url.0
    }
}

/// Without its password.
impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hidden(&self.0))
    }
}

/// Without its password, too: what holds an address may be logged whole.
impl fmt::Debug for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RegistryUrl")
            .field(&hidden(&self.0))
            .finish()
    }
}

fn hidden(text: &str) -> String {
    let login = text.split_once("://").and_then(|(scheme, rest)| {
        let (login, place) = rest.rsplit_once('@')?;
        let user = login.split(':').next()?;
        Some(format!("{scheme}://{user}:***@{place}"))
    });
    login.unwrap_or_else(|| text.to_owned())
}

/// One choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Rises with every choice.
    pub number: u64,
    /// What was chosen.
    pub url: RegistryUrl,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let shown = |text: &str| text.parse::<RegistryUrl>().unwrap().to_string();
        assert_eq!(shown("etcd://10.0.0.1:2379/h"), "etcd://10.0.0.1:2379/h");
        assert_eq!(shown("etcd://u:p@ss@h:1/x"), "etcd://u:***@h:1/x");
        assert_eq!(shown("embedded"), "embedded");
        let whole = "etcd://u:p@ss@h:1/x".parse::<RegistryUrl>().unwrap();
        assert_eq!(format!("{whole:?}"), r#"RegistryUrl("etcd://u:***@h:1/x")"#);
        for wrong in ["", "etcd", "etcd://", "://x", "etcd://a b", "E://x"] {
            assert!(wrong.parse::<RegistryUrl>().is_err(), "{wrong}");
        }
    }
}
