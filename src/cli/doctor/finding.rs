//! What a check has found, and how it is shown.

use serde::Serialize;

use crate::cli::out::{Out, Tone};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be, or of no concern here.
    Ok,
    /// It works, and will not under load or in some case.
    Warn,
    /// The node cannot do its work.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub found: String,
    /// Why that matters; nothing when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What to do: a command, where one does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(check: impl Into<String>, found: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            level: Level::Ok,
            found: found.into(),
            why: None,
            fix: None,
        }
    }

    /// It is as bad as `level`.
    pub fn bad(self, level: Level, why: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            level,
            why: Some(why.into()),
            fix: Some(fix.into()),
            ..self
        }
    }
}

/// The command that sets a kernel setting for good.
pub fn sysctl(key: &str, value: impl ToString) -> String {
    let value = value.to_string();
    format!("echo '{key} = {value}' >> /etc/sysctl.d/90-hancock.conf && sysctl --system")
}

/// Everything, the worst last, where it is seen first.
pub fn text(found: &[Finding], out: &Out) -> String {
    let width = found.iter().map(|f| f.check.chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text: String = found.iter().map(|f| one(f, width, out)).collect();
    let count = |level| found.iter().filter(|f| f.level == level).count();
    let (warned, failed) = (count(Level::Warn), count(Level::Fail));
    text += &match (failed, warned) {
        (0, 0) => out.tint("This machine is ready to be a node.\n", Tone::Good),
        (0, 1) => "This machine can be a node; one thing could be better.\n".to_owned(),
        (0, _) => format!("This machine can be a node; {warned} things could be better.\n"),
        (1, _) => out.tint("One thing must be mended first.\n", Tone::Bad),
        _ => out.tint(
            &format!("{failed} things must be mended first.\n"),
            Tone::Bad,
        ),
    };
    text
}

fn one(finding: &Finding, width: usize, out: &Out) -> String {
    let (word, tone) = match finding.level {
        Level::Ok => ("ok  ", Tone::Good),
        Level::Warn => ("warn", Tone::Busy),
        Level::Fail => ("FAIL", Tone::Bad),
    };
    let word = out.tint(word, tone);
    let mut text = format!("{word}  {:<width$}  {}\n", finding.check, finding.found);
    let more = [("why", &finding.why), ("fix", &finding.fix)];
    for (name, told) in more {
        if let Some(told) = told {
            text += &format!("      {name}: {told}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_it_is_and_what_to_do() {
        let found = [
            Finding::ok("disk", "30 GiB free"),
            Finding::ok("somaxconn", "128").bad(Level::Warn, "it is little", sysctl("a.b", 4)),
        ];
        assert_eq!(
            text(&found, &Out::narrow(80)),
            "ok    disk       30 GiB free\nwarn  somaxconn  128\n      why: it is little\n      \
             fix: echo 'a.b = 4' >> /etc/sysctl.d/90-hancock.conf && sysctl --system\n\
             This machine can be a node; one thing could be better.\n"
        );
        let failed = [found[1].clone().bad(Level::Fail, "x", "y")];
        assert!(text(&failed, &Out::narrow(80)).ends_with("One thing must be mended first.\n"));
        assert!(text(&found[..1], &Out::narrow(80)).contains("ready to be a node"));
    }
}
