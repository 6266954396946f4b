//! Names of images: a tag may stand for something else tomorrow, a digest cannot.

/// Longest name of an image.
const LONGEST_NAME: usize = 512;

/// Longest digest: an algorithm and its value, with room for ones to come.
const LONGEST: usize = 160;

/// Whether `text` can be the name of an image, like `registry.example/web:3`: without anything that an address or a path would take
/// for its own.
pub fn is_name(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let parts = || text.split(['/', ':', '@']);
    text.len() <= LONGEST_NAME
        && text.chars().all(inside)
        && parts().all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The digest a name has itself. None: it stands for whatever its registry says just now.
pub fn digest(name: &str) -> Option<&str> {
    name.split_once('@').map(|(_, digest)| digest)
}

/// Whether `text` is a digest, like `sha256:…`.
pub fn is_digest(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '=' | '_' | '-' | '+' | '.');
    let parts = text.split_once(':');
    text.len() <= LONGEST
        && parts.is_some_and(|(algorithm, value)| {
            !algorithm.is_empty()
                && value.len() >= 32
                && text.replacen(':', "", 1).chars().all(inside)
        })
}

/// The repository of an image's name, without tag or digest.
pub fn repository(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(before, _)| before);
    let last = name.rfind('/').map_or(0, |at| at + 1);
    match name[last..].find(':') {
        Some(at) => &name[..last + at],
        None => name,
    }
}

/// The name under which exactly this image is found, wherever it is.
pub fn pinned(name: &str, digest: &str) -> String {
    format!("{}@{digest}", repository(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart() {
        for (name, repo) in [
            ("web", "web"),
            ("web:3", "web"),
            ("me/web:3", "me/web"),
            ("registry:5000/web", "registry:5000/web"),
            ("registry:5000/a/web:3", "registry:5000/a/web"),
            ("registry:5000/web:3@sha256:00", "registry:5000/web"),
        ] {
            assert_eq!(repository(name), repo);
        }
        assert_eq!(digest("registry:5000/web:3"), None);
        assert_eq!(digest("web:3@sha256:00"), Some("sha256:00"));
        assert_eq!(
            pinned("registry:5000/web:3", "sha256:00"),
            "registry:5000/web@sha256:00"
        );
        for name in [
            "web",
            "registry:5000/a/web:3",
            "web@sha256:00",
            "a.b/c_d-e:1.2",
        ] {
            assert!(is_name(name), "{name}");
        }
        let long = "a".repeat(LONGEST_NAME + 1);
        for text in ["", "a b", "web?x=1", "../web", "web:", "-v", "a//b", &long] {
            assert!(!is_name(text), "{text}");
        }
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(is_digest(&digest));
        let long = format!("sha256:{}", "0".repeat(1000));
        for text in [
            "",
            "sha256",
            "sha256:00",
            ":00",
            &digest.replace('0', " "),
            &long,
        ] {
            assert!(!is_digest(text), "{text:?}");
        }
    }
}
