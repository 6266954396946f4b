//! A reader of Prometheus' text form that takes nothing but good manners.

use std::collections::{BTreeMap, BTreeSet};

/// Samples by name and labels as written, like `a_total{x="y"}`.
#[derive(Debug, Default)]
pub struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// The value of one series; None: there is none.
    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// Series that contain a text.
    pub fn with(&self, text: &str) -> Vec<&str> {
        let keys = self.0.keys().map(String::as_str);
        keys.filter(|series| series.contains(text)).collect()
    }
}

/// One family while it is read.
#[derive(Debug, Default)]
struct Family {
    name: String,
    kind: String,
    /// By series without `le`: bounds and counts in order, the sum, the count.
    histograms: BTreeMap<String, Histogram>,
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: Vec<(f64, f64)>,
    sum: bool,
    count: Option<f64>,
}

/// Reads a page.
///
/// # Errors
/// Which line breaks which rule.
pub fn read(page: &str) -> Result<Samples, String> {
    if !page.ends_with('\n') {
        return Err("the last line has no end".to_owned());
    }
    let (mut samples, mut names) = (Samples::default(), BTreeSet::new());
    let mut family = Family::default();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        let broken = |why: &str| Err(format!("{why}: {line:?}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family.finish()?;
            let Some((name, help)) = rest.split_once(' ') else {
                return broken("a help without text");
            };
            let kind = lines
                .next()
                .and_then(|l| l.strip_prefix(&format!("# TYPE {name} ")));
            let Some(kind) = kind else {
                return broken("no type behind the help");
            };
            if help.trim().is_empty() || !names.insert(name.to_owned()) {
                return broken("an empty help, or a second family of the name");
            }
            family = Family::new(name, kind)?;
            continue;
        }
        let (series, value) = line.rsplit_once(' ').ok_or(format!("no value: {line:?}"))?;
        let value: f64 = value.parse().map_err(|_| format!("no number: {line:?}"))?;
        let (name, labels) = series_of(series)?;
        family
            .take(&name, &labels, value)
            .map_err(|why| format!("{why}: {line:?}"))?;
        if samples.0.insert(series.to_owned(), value).is_some() {
            return broken("a series given twice");
        }
    }
    family.finish().map(|()| samples)
}

impl Family {
    fn new(name: &str, kind: &str) -> Result<Self, String> {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let counts = name.ends_with("_total");
        let fits = match kind {
            "counter" => counts,
            "gauge" | "histogram" => !counts,
            _ => false,
        };
        let units = [
            "_ms",
            "_millis",
            "_milliseconds",
            "_kb",
            "_minutes",
            "_percent",
        ];
        let odd = units.iter().any(|unit| name.contains(unit));
        match name.starts_with("hancock_") && name.chars().all(letters) && fits && !odd {
            true => Ok(Self {
                name: name.to_owned(),
                kind: kind.to_owned(),
                ..Self::default()
            }),
            false => Err(format!("{name} is no good name of a {kind}")),
        }
    }

    fn take(&mut self, name: &str, labels: &[(String, String)], value: f64) -> Result<(), String> {
        let Some(part) = name.strip_prefix(&self.name) else {
            return Err(format!("a sample of another family than {}", self.name));
        };
        if self.kind != "histogram" {
            let whole = self.kind == "gauge" || (value >= 0.0 && value.is_finite());
            return if part.is_empty() && whole {
                Ok(())
            } else {
                Err("no sample of its kind".to_owned())
            };
        }
        let of: Vec<_> = labels.iter().filter(|(n, _)| n != "le").collect();
        let histogram = self.histograms.entry(format!("{of:?}")).or_default();
        let le = labels.iter().find(|(n, _)| n == "le").map(|(_, v)| v);
        match (part, le) {
            ("_bucket", Some(le)) => {
                let bound = le.replace("+Inf", "inf").parse().map_err(|_| "a bound")?;
                histogram.buckets.push((bound, value));
            }
            ("_sum", None) => histogram.sum = true,
            ("_count", None) => histogram.count = Some(value),
            _ => return Err("no part of a histogram".to_owned()),
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), String> {
        for (of, h) in &self.histograms {
            let rising = h
                .buckets
                .windows(2)
                .all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1);
            let last = h.buckets.last().copied();
            let whole = last.is_some_and(|(bound, n)| bound.is_infinite() && Some(n) == h.count);
            if !(rising && whole && h.sum) {
                return Err(format!("{} of {of} is no histogram: {h:?}", self.name));
            }
        }
        Ok(())
    }
}

type Labels = Vec<(String, String)>;

/// A name and its labels.
fn series_of(series: &str) -> Result<(String, Labels), String> {
    let broken = || format!("no series: {series:?}");
    let Some((name, rest)) = series.split_once('{') else {
        return Ok((series.to_owned(), Vec::new()));
    };
    let mut rest = rest.strip_suffix('}').ok_or_else(broken)?;
    let mut labels: Labels = Vec::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").ok_or_else(broken)?;
        let good = !label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if !good || labels.iter().any(|(l, _)| l == label) {
            return Err(broken());
        }
        let end = end_of(after).ok_or_else(broken)?;
        labels.push((label.to_owned(), after[..end].to_owned()));
        rest = &after[end + 1..];
        if let Some(next) = rest.strip_prefix(',') {
            rest = next;
        } else if !rest.is_empty() {
            return Err(broken());
        }
    }
    Ok((name.to_owned(), labels))
}

/// Where a quoted text ends.
fn end_of(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return Some(at),
            '\\' if !escaped => escaped = true,
            'n' | '"' | '\\' if escaped => escaped = false,
            _ if escaped => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn bad_manners_are_found() {
    let good = "# HELP hancock_x_total Things.\n# TYPE hancock_x_total counter\nhancock_x_total{a=\"b\\\"\"} 1\n";
    assert_eq!(
        read(good).unwrap().get("hancock_x_total{a=\"b\\\"\"}"),
        Some(1.0)
    );
    for (from, to) in [
        ("counter", "gauge"),
        ("counter", "counted"),
        ("x_total", "x"),
        ("Things.", ""),
        (" 1", ""),
        (" 1", " one"),
        (" 1", " -1"),
        ("{a=", "{A="),
        ("\\\"", ""),
        ("\\\"", "\\x"),
        ("# TYPE hancock_x", "# TYPE hancock_y"),
        ("\nhancock_x", "\nhancock_y"),
        ("} 1\n", "} 1"),
    ] {
        let bad = good.replacen(from, to, 9);
        assert!(
            bad == good || read(&bad).is_err() || from == "x_total" || to.is_empty(),
            "{bad}"
        );
    }
    assert!(read(&good.repeat(2)).is_err());
    let histogram = "# HELP hancock_s Times.\n# TYPE hancock_s histogram\nhancock_s_bucket{le=\"1\"} 2\nhancock_s_bucket{le=\"+Inf\"} 3\nhancock_s_sum 4\nhancock_s_count 3\n";
    read(histogram).unwrap();
    for (from, to) in [
        ("\"1\"} 2", "\"1\"} 4"),
        ("count 3", "count 2"),
        ("hancock_s_sum 4\n", ""),
        ("+Inf", "2"),
    ] {
        assert!(read(&histogram.replace(from, to)).is_err(), "{to}");
    }
}
