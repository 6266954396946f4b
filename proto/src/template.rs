//! Placeholders of a spec's texts, `{{ port.http }}`, filled in by the agent when an instance starts.

use crate::ids::{AppName, InstanceId, NodeId, Version};

/// What placeholders can name.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    /// `{{ app }}`.
    pub app: &'a AppName,
    /// `{{ version }}`.
    pub version: Version,
    /// `{{ instance.id }}`.
    pub instance: &'a InstanceId,
    /// `{{ node.name }}`.
    pub node: &'a NodeId,
    /// `{{ port.<name> }}`: the port the app listens on.
    pub ports: &'a [(String, u16)],
}

/// A placeholder that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("\"{{{{\" without \"}}}}\" in {text:?}")]
    Open {
        /// The whole text.
        text: String,
    },
    /// An unknown name.
    #[error(
        "unknown placeholder {name:?}; there are app, version, instance.id, node.name and port.<name> with {ports}"
    )]
    Unknown {
        /// What stood between the braces.
        name: String,
        /// Names of ports there are.
        ports: String,
    },
}

/// Fills in every placeholder of `text`.
///
/// # Errors
/// The first placeholder that cannot be filled in.
pub fn render(text: &str, scope: &Scope<'_>) -> Result<String, TemplateError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        out.push_str(&rest[..open]);
        let inner = &rest[open + 2..];
        let close = inner.find("}}").ok_or_else(|| TemplateError::Open {
            text: text.to_owned(),
        })?;
        out.push_str(&value(inner[..close].trim(), scope)?);
        rest = &inner[close + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

/// Checks the placeholders of `text` against the port names of a spec.
///
/// # Errors
/// As [`render`].
pub fn check(text: &str, ports: &[&str]) -> Result<(), TemplateError> {
    let named: Vec<_> = ports.iter().map(|p| ((*p).to_owned(), 1)).collect();
    let (app, instance, node) = ("a".parse(), "a-1".parse(), "n".parse());
    let (Ok(app), Ok(instance), Ok(node)) = (app, instance, node) else {
        return Ok(());
    };
    let scope = Scope {
        app: &app,
        version: Version(1),
        instance: &instance,
        node: &node,
        ports: &named,
    };
    render(text, &scope).map(drop)
}

fn value(name: &str, scope: &Scope<'_>) -> Result<String, TemplateError> {
    let found = match name {
        "app" => Some(scope.app.to_string()),
        "version" => Some(scope.version.to_string()),
        "instance.id" => Some(scope.instance.to_string()),
        "node.name" => Some(scope.node.to_string()),
        _ => name.strip_prefix("port.").and_then(|port| {
            scope
                .ports
                .iter()
                .find(|(n, _)| n == port)
                .map(|(_, number)| number.to_string())
        }),
    };
    found.ok_or_else(|| TemplateError::Unknown {
        name: name.to_owned(),
        ports: scope
            .ports
            .iter()
            .map(|(n, _)| n.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_or_named() {
        let (app, instance, node) = (
            "web".parse().unwrap(),
            "web-7".parse().unwrap(),
            "n1".parse().unwrap(),
        );
        let ports = [("http".to_owned(), 20001)];
        let scope = Scope {
            app: &app,
            version: Version(3),
            instance: &instance,
            node: &node,
            ports: &ports,
        };
        let text = render(
            "--listen=:{{ port.http }} {{instance.id}}@{{ node.name }} v{{version}}",
            &scope,
        )
        .unwrap();
        assert_eq!(text, "--listen=:20001 web-7@n1 v3");
        assert!(matches!(
            render("{{ port.grpc }}", &scope),
            Err(TemplateError::Unknown { .. })
        ));
        assert!(matches!(
            render("{{ port", &scope),
            Err(TemplateError::Open { .. })
        ));
        assert!(
            check("{{ port.http }}", &["http"]).is_ok()
                && check("{{ port.x }}", &["http"]).is_err()
        );
    }
}
