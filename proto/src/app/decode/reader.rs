//! Fields and sections of a document: each read gives a value or reports a problem with its path, and reading goes on.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::Problem;
use super::words::{found, hint, one_of};
use crate::app::path;
use crate::ids::{AppName, ZoneName};
use crate::units::{Bandwidth, Size, Span};

/// Where problems are collected.
#[derive(Default)]
pub struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    /// Adds one problem.
    pub fn report(&self, path: &str, message: impl Display) {
        self.0.borrow_mut().push(Problem {
            path: path.to_owned(),
            message: message.to_string(),
        });
    }

    /// All problems in the order they were found.
    pub fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// Quantities and names written as text.
pub trait Written: FromStr<Err: Display> {
    /// With its article.
    const WHAT: &'static str;
    /// As it stands in a document.
    const EXAMPLE: &'static str;
}

macro_rules! written {
    ($($type:ty, $what:literal, $example:literal;)*) => {$(
        impl Written for $type {
            const WHAT: &'static str = $what;
            const EXAMPLE: &'static str = $example;
        }
    )*};
}

written! {
    Span, "a duration", "\"10s\"";
    Size, "a size", "\"256MiB\"";
    Bandwidth, "a data rate", "\"50mbps\"";
    AppName, "a name", "web";
    ZoneName, "a zone's name", "oslo";
}

/// One field, present or not.
pub struct Field<'a> {
    path: String,
    value: Option<&'a Value>,
    sink: &'a Sink,
}

impl<'a> Field<'a> {
    /// The whole document.
    pub fn root(value: &'a Value, sink: &'a Sink) -> Self {
        Self {
            path: String::new(),
            value: Some(value),
            sink,
        }
    }

    /// Whether it was written, be it wrong.
    pub fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// What was written.
    pub fn value(&self) -> Option<&'a Value> {
        self.value
    }

    /// Reports a problem of this field.
    pub fn problem(&self, message: impl Display) {
        self.sink.report(&self.path, message);
    }

    /// Reports it when it is missing.
    pub fn required(self, example: &str) -> Self {
        if !self.is_present() {
            self.problem(format!("is missing; write it like {example}"));
        }
        self
    }

    /// The good value, or a problem.
    pub fn accept<T>(&self, result: Result<T, impl Display>) -> Option<T> {
        result.map_err(|error| self.problem(error)).ok()
    }

    fn of_type<T>(
        &self,
        read: impl Fn(&'a Value) -> Option<T>,
        what: &str,
        example: &str,
    ) -> Option<T> {
        let value = self.value?;
        let read = read(value);
        if read.is_none() {
            let value = found(value);
            self.problem(format!(
                "expected {what}, found {value}; write it like {example}"
            ));
        }
        read
    }

    /// A text.
    pub fn text(&self) -> Option<&'a str> {
        // A number or flag only lacks its quotes: show exactly this value with them.
        let example = self.value.filter(|v| v.is_number() || v.is_boolean());
        let example = example.map_or_else(|| "\"text\"".to_owned(), |v| format!("\"{v}\""));
        let text = self.of_type(Value::as_str, "text", &example)?;
        match text.contains('\0') {
            true => self.accept(Err("must not contain a zero byte")),
            false => Some(text),
        }
    }

    /// The text, without any check or problem.
    pub fn raw_text(&self) -> Option<&'a str> {
        self.value.and_then(Value::as_str)
    }

    /// A text of at least one character and without white space.
    pub fn word_text(&self) -> Option<String> {
        let text = self.text()?;
        match text.is_empty() || text.contains(char::is_whitespace) {
            true => self.accept(Err(format!("{text:?} must be one word"))),
            false => Some(text.to_owned()),
        }
    }

    /// An absolute path of a folder or file.
    pub fn folder(&self) -> Option<String> {
        let text = self.text()?;
        match text.starts_with('/') {
            true => Some(text.to_owned()),
            false => self.accept(Err(format!("{text:?} must begin with \"/\""))),
        }
    }

    /// A quantity or name.
    pub fn parsed<T: Written>(&self) -> Option<T> {
        let text = self.of_type(Value::as_str, T::WHAT, T::EXAMPLE)?;
        self.accept(text.parse::<T>())
    }

    /// A duration within limits.
    pub fn span(&self, range: RangeInclusive<Span>) -> Option<Span> {
        let span = self.parsed()?;
        if !range.contains(&span) {
            self.problem(format!(
                "{span} must be from {} to {}",
                range.start(),
                range.end()
            ));
        }
        Some(span)
    }

    /// A whole number within limits.
    pub fn whole(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |v: &Value| v.as_u64().filter(|n| range.contains(n));
        self.of_type(read, &what, &range.start().max(&1).to_string())
    }

    /// A whole number within limits that may be below zero.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        let read = |v: &Value| v.as_i64().filter(|n| range.contains(n));
        self.of_type(read, &what, &range.start().max(&1).to_string())
    }

    /// A number.
    pub fn number(&self, example: &str) -> Option<f64> {
        self.of_type(Value::as_f64, "a number", example)
    }

    /// Yes or no.
    pub fn flag(&self) -> Option<bool> {
        self.of_type(Value::as_bool, "true or false", "true")
    }

    /// One of some words, of which `later` are known but not there yet.
    pub fn word<T: Copy>(&self, now: &[(&str, T)], later: &[&str]) -> Option<T> {
        let names: Vec<&str> = now.iter().map(|(name, _)| *name).collect();
        let text = self.of_type(Value::as_str, &one_of(&names), names.first()?)?;
        let found = now
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, value)| *value);
        if found.is_none() && later.contains(&text) {
            self.problem(format!(
                "not supported yet: {text:?}; for now there is {}",
                one_of(&names)
            ));
        } else if found.is_none() {
            let all: Vec<&str> = names.iter().chain(later).copied().collect();
            self.problem(format!("{text:?} is unknown; {}", hint(text, &all)));
        }
        found
    }

    /// The items of a list; none when it is missing or something else.
    pub fn items(&self, example: &str) -> Vec<Field<'a>> {
        self.of_type(Value::as_array, "a list", example);
        self.items_silently()
    }

    /// As [`Self::items`], for a second look.
    pub fn items_silently(&self) -> Vec<Field<'a>> {
        let items = self.value.and_then(Value::as_array).into_iter().flatten();
        items
            .enumerate()
            .map(|(n, value)| self.child(path::item(&self.path, n), value))
            .collect()
    }

    /// The entries of a table with names of the owner's choice.
    pub fn entries(&self) -> Vec<(&'a str, Field<'a>)> {
        self.of_type(Value::as_object, "a table", "NAME: \"value\"");
        self.entries_silently()
    }

    /// As [`Self::entries`], for a second look.
    pub fn entries_silently(&self) -> Vec<(&'a str, Field<'a>)> {
        let entries = self.value.and_then(Value::as_object).into_iter().flatten();
        let entry = |(name, value): (&'a String, &'a Value)| {
            (
                name.as_str(),
                self.child(path::field(&self.path, name), value),
            )
        };
        entries.map(entry).collect()
    }

    /// A table with names of ours.
    pub fn section(&self) -> Option<Section<'a>> {
        let map = self.of_type(Value::as_object, "a table of fields", "name: value")?;
        Some(Section {
            path: self.path.clone(),
            map,
            known: Vec::new(),
            sink: self.sink,
        })
    }

    fn child(&self, path: String, value: &'a Value) -> Field<'a> {
        Field {
            path,
            value: Some(value),
            sink: self.sink,
        }
    }

    /// The same field with its problems going elsewhere.
    pub fn reporting_to<'b>(&'b self, sink: &'b Sink) -> Field<'b> {
        Field {
            path: self.path.clone(),
            value: self.value,
            sink,
        }
    }
}

/// A table whose fields are ours: whatever is in it and not asked for is unknown.
pub struct Section<'a> {
    path: String,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    sink: &'a Sink,
}

impl<'a> Section<'a> {
    /// The field `name`.
    pub fn field(&mut self, name: &'static str) -> Field<'a> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        Field {
            path: path::field(&self.path, name),
            value: self.map.get(name),
            sink: self.sink,
        }
    }

    /// The field `name` when it is there; where it is not, nobody is pointed at it.
    pub fn aside(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.map.contains_key(name).then(|| self.field(name))
    }

    /// Reports a problem of the table itself.
    pub fn problem(&self, message: impl Display) {
        self.sink.report(&self.path, message);
    }

    /// Reports everything that was not asked for; names beginning with `x-` are the owner's.
    pub fn end(self) {
        let known = |name: &str| name.starts_with("x-") || self.known.contains(&name);
        for name in self.map.keys().filter(|name| !known(name)) {
            let message = format!("unknown field; {}", hint(name, &self.known));
            self.sink.report(&path::field(&self.path, name), message);
        }
    }
}
