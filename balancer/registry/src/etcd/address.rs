//! Where an etcd is, as people write it: `etcd://USER:PASS@HOST:PORT,HOST/PREFIX`.

use std::fmt;
use std::str::FromStr;

use hancock_proto::registry::RegistryUrl;
use percent_encoding::percent_decode_str;

use crate::RegistryError;

/// The port of a host that names none.
const PORT: u16 = 2379;
/// The prefix where none is given: where a Slardar looks.
const PREFIX: &str = "config/slardar/";

/// An etcd, and the folder in it. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// `host:port` of each member that is spoken to, in order of preference.
    pub members: Vec<String>,
    /// What every key begins with; ends with a slash.
    pub prefix: String,
    /// Who to be. None: nobody is asked.
    pub user: Option<String>,
    /// The user's password, where the address holds one.
    pub password: Option<String>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no registry: {problem}; write etcd://[USER:PASS@]HOST[:PORT][,HOST...]/PREFIX"
)]
pub struct InvalidAddress {
    text: String,
    problem: &'static str,
}

impl Address {
    /// The etcd at a registry's address.
    ///
    /// # Errors
    /// It is another kind of registry, or not complete.
    pub fn of(url: &RegistryUrl) -> Result<Self, RegistryError> {
        let address = url.secret().parse();
        address.map_err(|problem: InvalidAddress| RegistryError::Unsupported {
            url: url.to_string(),
            problem: problem.problem,
        })
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        read(text).map_err(|problem| InvalidAddress {
            text: masked(text),
            problem,
        })
    }
}

fn read(text: &str) -> Result<Address, &'static str> {
    let rest = text
        .strip_prefix("etcd://")
        .ok_or("it does not begin with etcd://")?;
    let (place, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, hosts) = match place.rsplit_once('@') {
        Some((user, hosts)) => (Some(user), hosts),
        None => (None, place),
    };
    let (user, password) = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
        None => (None, None),
    };
    if user.as_ref().is_some_and(String::is_empty) {
        return Err("there is no user before the @");
    }
    let members: Result<Vec<String>, _> = hosts.split(',').map(member).collect();
    Ok(Address {
        members: members?,
        prefix: folder(&decoded(prefix)?),
        user,
        password: password.filter(|password| !password.is_empty()),
    })
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| "what is written with % is no UTF-8")?;
    Ok(decoded.into_owned())
}

fn member(text: &str) -> Result<String, &'static str> {
    let odd = |c: char| c.is_whitespace() || matches!(c, '@' | '?' | '#');
    if text.is_empty() || text.contains(odd) {
        return Err("a host is missing, or is none");
    }
    let in_brackets = text.rfind(']').map_or(0, |at| at + 1);
    match text[in_brackets..].rsplit_once(':') {
        None => Ok(format!("{text}:{PORT}")),
        Some((host, port)) if port.parse::<u16>().is_ok_and(|port| port > 0) => {
            match host.is_empty() && in_brackets == 0 {
                true => Err("a host is missing, or is none"),
                false => Ok(text.to_owned()),
            }
        }
        Some(_) => Err("a port is none"),
    }
}

fn folder(text: &str) -> String {
    match text.trim_end_matches('/') {
        "" => PREFIX.to_owned(),
        prefix => format!("{prefix}/"),
    }
}

/// Without what may be a password.
fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, hosts)) => format!("etcd://...@{hosts}"),
        None => text.to_owned(),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = self.prefix.trim_end_matches('/');
        write!(f, "etcd://{}/{prefix}", self.members.join(","))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn everything_may_be_given_or_left_out() {
        let all = of("etcd://me:p%40ss@a,b:1,[::1],[::2]:3/edge/eu/");
        assert_eq!(all.members, ["a:2379", "b:1", "[::1]:2379", "[::2]:3"]);
        assert_eq!(all.prefix, "edge/eu/");
        let (user, password) = (all.user.as_deref(), all.password.as_deref());
        assert_eq!((user, password), (Some("me"), Some("p@ss")));
        let least = of("etcd://a");
        assert_eq!((&*least.prefix, least.user), (PREFIX, None));
        assert_eq!(of("etcd://a//edge").prefix, "/edge/");
        assert_eq!(of("etcd://me@a/x").password, None);
    }

    #[test]
    fn passwords_are_never_shown() {
        let address = of("etcd://me:secret@a/x");
        assert_eq!(address.to_string(), "etcd://a:2379/x");
        assert!(!format!("{address:?}").contains("secret"));
        let wrong = "etcd://me:secret@a:b/x".parse::<Address>().unwrap_err();
        assert!(!wrong.to_string().contains("secret"), "{wrong}");
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, why) in [
            ("http://a", "etcd://"),
            ("etcd://", "host"),
            ("etcd://a,,b", "host"),
            ("etcd://:1", "host"),
            ("etcd://a:0", "port"),
            ("etcd://a:x", "port"),
            ("etcd://@a", "user"),
        ] {
            let told = text.parse::<Address>().unwrap_err().to_string();
            assert!(told.contains(why) && told.contains("HOST[:PORT]"), "{told}");
        }
    }
}
