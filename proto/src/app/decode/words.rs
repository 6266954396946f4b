//! Words for problems: what was found, what would be near.

use serde_json::Value;

/// Names this much alike (of 1) are taken for a slip of the finger.
const ALIKE: f64 = 0.75;
/// Characters of a wrong value that are shown.
const SHOWN: usize = 40;

/// The nearest of `names`, or all when none is near.
pub fn hint(wrong: &str, names: &[&str]) -> String {
    let likeness = |name: &&str| strsim::jaro_winkler(&wrong.to_lowercase(), &name.to_lowercase());
    let nearest = names
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match nearest {
        Some(name) if likeness(name) >= ALIKE => format!("did you mean {name:?}?"),
        _ => format!("there is {}", one_of(names)),
    }
}

/// All of them, with an "or".
pub fn one_of(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// What stands there instead, shortened.
pub fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let more = if text.chars().count() > SHOWN {
                "…"
            } else {
                ""
            };
            format!(
                "the text {:?}{more}",
                text.chars().take(SHOWN).collect::<String>()
            )
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}
