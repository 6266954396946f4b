//! JSON with lines: read by the JSON reader, then walked once more for the place of every part.

use hancock_proto::app::path;

use super::document::{Document, Syntax};

/// Reads `text`.
pub fn parse(text: &str) -> Result<Document, Syntax> {
    let value = serde_json::from_str(text).map_err(|e| {
        let message = e.to_string();
        // The line is told in front, as for every other problem.
        let message = message
            .rsplit_once(" at line ")
            .map_or(message.as_str(), |(m, _)| m);
        Syntax::new(e.line(), message)
    })?;
    let mut walk = Walk {
        text,
        at: 0,
        line: 1,
        document: Document::default(),
    };
    walk.value("");
    walk.document.value = value;
    Ok(walk.document)
}

/// A walk over JSON that is known to be well formed and not nested deeper than the reader allows (128).
struct Walk<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    document: Document,
}

impl Walk<'_> {
    /// The next byte that means something.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            match byte {
                b'\n' => self.line += 1,
                b' ' | b'\t' | b'\r' => {}
                other => return Some(*other),
            }
            self.at += 1;
        }
        None
    }

    /// Steps over `byte` when it is next.
    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, path: &str) {
        match self.peek() {
            Some(b'{') => self.table(path),
            Some(b'[') => self.list(path),
            Some(b'"') => drop(self.string()),
            Some(_) => self.word(),
            None => {}
        }
    }

    fn table(&mut self, path: &str) {
        self.at += 1;
        while self.peek() == Some(b'"') {
            let line = self.line;
            let child = path::field(path, &self.string());
            self.document.mark(&child, line);
            self.eat(b':');
            self.value(&child);
            self.eat(b',');
        }
        self.eat(b'}');
    }

    fn list(&mut self, path: &str) {
        self.at += 1;
        let mut index = 0;
        while self.peek().is_some_and(|byte| byte != b']') {
            let child = path::item(path, index);
            self.document.mark(&child, self.line);
            self.value(&child);
            self.eat(b',');
            index += 1;
        }
        self.eat(b']');
    }

    fn string(&mut self) -> String {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.text.as_bytes().get(self.at) {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(quoted).unwrap_or_default()
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |b: &u8| matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n');
        self.at += rest.iter().position(ends).unwrap_or(rest.len()).max(1);
    }
}
