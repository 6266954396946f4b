//! Prometheus' text form, version 0.0.4.

use std::fmt::{Display, Write};

/// A page being written, one family after the other.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// Begins a family. Its samples follow before the next one begins.
    pub(crate) fn family<'p>(&'p mut self, name: &'p str, kind: &str, help: &str) -> Family<'p> {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family {
            out: &mut self.0,
            name,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Samples of one family.
pub(crate) struct Family<'p> {
    out: &'p mut String,
    name: &'p str,
}

impl Family<'_> {
    /// One sample.
    pub(crate) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.part("", labels, value);
    }

    /// A sample of a histogram's or summary's part, like `_sum`.
    pub(crate) fn part(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.out, "{}{suffix}", self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.out, "{before}{name}=\"");
            self.escaped(value);
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        let _ = writeln!(self.out, " {value}");
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '"' => self.out.push_str("\\\""),
                '\n' => self.out.push_str("\\n"),
                c => self.out.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out_of_their_quotes() {
        let mut page = Page::default();
        let mut family = page.family("a_total", "counter", "Things.");
        family.sample(&[], 1);
        family.sample(&[("x", "a\"b\\c\nd"), ("y", "")], 0.5);
        let wanted = "# HELP a_total Things.\n# TYPE a_total counter\na_total 1\na_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 0.5\n";
        assert_eq!(page.into_text(), wanted);
    }
}
