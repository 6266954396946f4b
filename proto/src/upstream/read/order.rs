//! The order of named clusters, which a parsed document no longer shows.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// Names of the member `cluster` in the order of the text; empty when it is no object.
pub fn order_of_clusters(body: &[u8]) -> Vec<String> {
    serde_json::from_slice(body).map_or_else(|_| Vec::new(), |Document(names)| names)
}

struct Document(Vec<String>);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Members).map(Document)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some(key) = from.next_key::<String>()? {
            // Given twice, the last one counts.
            match key.as_str() {
                "cluster" => Keys(names) = from.next_value()?,
                _ => drop(from.next_value::<IgnoredAny>()?),
            }
        }
        Ok(names)
    }
}

struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Names).map(Keys)
    }
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("named clusters")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some((name, IgnoredAny)) = from.next_entry::<String, IgnoredAny>()? {
            names.push(name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::order_of_clusters;

    #[test]
    fn names_come_in_the_order_of_the_text() {
        let text = br#"{"a":1,"cluster":{"z":{"servers":[]},"b":1,"m":[{}]},"x":{"y":2}}"#;
        assert_eq!(order_of_clusters(text), ["z", "b", "m"]);
        assert!(order_of_clusters(br#"{"cluster":[]}"#).is_empty());
        assert!(order_of_clusters(b"[]").is_empty());
    }
}
