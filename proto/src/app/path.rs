//! Paths of fields in a spec, like `ports[1].container`: written the same by the decoder and by readers that know lines.

/// The field `name` of the table at `path`.
pub fn field(path: &str, name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match (path, !name.is_empty() && name.chars().all(plain)) {
        ("", true) => name.to_owned(),
        (_, true) => format!("{path}.{name}"),
        // Quoted, so that a name with dots or brackets stays one step.
        (_, false) => format!("{path}[{name:?}]"),
    }
}

/// The item `index` of the list at `path`, counted from 0.
pub fn item(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// The path around `path`; `None` for the whole document.
pub fn parent(path: &str) -> Option<&str> {
    if path.is_empty() {
        return None;
    }
    let quoted = path.ends_with("\"]").then(|| path.rfind("[\"")).flatten();
    let cut = quoted.or_else(|| path.rfind(['.', '[']));
    Some(&path[..cut.unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_back_to_the_document() {
        let path = field(&item(&field("", "ports"), 1), "container");
        assert_eq!(path, "ports[1].container");
        let up: Vec<_> = std::iter::successors(Some(path.as_str()), |path| parent(path)).collect();
        assert_eq!(up, ["ports[1].container", "ports[1]", "ports", ""]);
        assert_eq!(field("labels", "a.b"), "labels[\"a.b\"]");
        assert_eq!(parent("labels[\"a.b\"]"), Some("labels"));
        assert_eq!(parent("[\"\"]"), Some(""));
    }
}
