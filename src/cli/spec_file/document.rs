//! What all encodings become: a JSON value, and the line each path is on.

use std::collections::HashMap;

use hancock_proto::app::path;
use serde_json::Value;

use super::Located;

/// A document that cannot be read at all.
#[derive(Debug, PartialEq, Eq)]
pub struct Syntax {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl Syntax {
    /// A mistake on `line`.
    pub fn new(line: usize, message: impl Into<String>) -> Self {
        Self {
            line: line.max(1),
            message: message.into(),
        }
    }
}

/// A document with the places of its parts.
#[derive(Debug, Default)]
pub struct Document {
    /// What it says.
    pub value: Value,
    lines: HashMap<String, usize>,
    twice: Vec<(usize, String, usize)>,
}

impl Document {
    /// Remembers that `path` is on `line`; a second time means that a key was written twice.
    pub fn mark(&mut self, path: &str, line: usize) {
        match self.lines.get(path) {
            Some(first) => self.twice.push((line, path.to_owned(), *first)),
            None => {
                self.lines.insert(path.to_owned(), line);
            }
        }
    }

    /// The line of `path`, or of the nearest thing around it when it is missing from the document.
    pub fn line(&self, path: &str) -> usize {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return *line;
            }
            match path::parent(path) {
                Some(parent) => path = parent,
                None => return 1,
            }
        }
    }

    /// Every key that was written twice, as a problem.
    pub fn duplicates(&self) -> Vec<Located> {
        let problem = |(line, path, first): &(usize, String, usize)| {
            let message = format!("written twice, first on line {first}; keep one");
            super::located(*line, path, message)
        };
        self.twice.iter().map(problem).collect()
    }
}
