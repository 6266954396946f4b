//! Forms of a document that its types do not show: levels with names, and whole numbers without a fraction.

use serde::Serializer;

/// Levels as a list, or as an object in its order.
pub(super) mod levels {
    use std::fmt;

    use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
    use serde::ser::{SerializeMap, Serializer};

    use crate::upstream::Level;

    pub fn serialize<S: Serializer>(levels: &[Level], to: S) -> Result<S::Ok, S::Error> {
        if levels.is_empty() || levels.iter().any(|l| l.name.is_none()) {
            return to.collect_seq(levels);
        }
        let mut object = to.serialize_map(Some(levels.len()))?;
        for level in levels {
            object.serialize_entry(level.name.as_deref().unwrap_or_default(), level)?;
        }
        object.end()
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Level>, D::Error> {
        from.deserialize_any(Levels)
    }

    struct Levels;

    impl<'de> Visitor<'de> for Levels {
        type Value = Vec<Level>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of levels, or an object of named ones")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<Level>, A::Error> {
            let mut levels = Vec::new();
            while let Some(level) = from.next_element()? {
                levels.push(level);
            }
            Ok(levels)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Vec<Level>, A::Error> {
            let mut levels = Vec::<Level>::new();
            while let Some((name, level)) = from.next_entry::<String, Level>()? {
                // A name given twice counts as it was given last.
                levels.retain(|l| l.name.as_ref() != Some(&name));
                levels.push(Level {
                    name: Some(name),
                    ..level
                });
            }
            Ok(levels)
        }
    }
}

/// Levels as a list, or as an object.
#[cfg(feature = "schema")]
pub(super) fn schema_of_levels() -> utoipa::openapi::Schema {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref};

    let level = || Ref::from_schema_name("Level");
    OneOfBuilder::new()
        .description(Some(
            "Levels, the first one preferred. A list, or an object when they have names.",
        ))
        .item(ArrayBuilder::new().items(level()))
        .item(ObjectBuilder::new().additional_properties(Some(level())))
        .into()
}

/// Whole numbers leave as they mostly came: without a fraction.
pub(super) fn number<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(n) if n.fract() == 0.0 && n.abs() < 1e15 => to.serialize_i64(*n as i64),
        Some(n) => to.serialize_f64(*n),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use crate::upstream::UpstreamDoc;

    #[test]
    fn documents_are_echoed_as_they_were_written() {
        for text in [
            r#"{"cluster":[{"servers":[{"host":"a","port":1,"weight":2}]}],"timeout":1.5}"#,
            r#"{"cluster":{"z":{"servers":[{"host":"a","port":1}]},"b":{"servers":[],"note":1}}}"#,
            r#"{"cluster":[{"servers":[{"host":"a","port":1,"rack":"r7"}]}],"x":[1]}"#,
            r#"{"cluster":[],"http_opts":{"statuses":{"500":false,"501":0,"502":null}}}"#,
        ] {
            let doc: UpstreamDoc = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&doc).expect(text), text);
        }
    }
}
