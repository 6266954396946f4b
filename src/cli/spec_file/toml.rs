//! TOML with lines.

use hancock_proto::app::path;
use serde_json::{Map, Number, Value};
use toml_edit::{Item, TableLike};

use super::document::{Document, Syntax};

/// Reads `text`.
pub fn parse(text: &str) -> Result<Document, Syntax> {
    let lines = Lines::of(text);
    let parsed = toml_edit::Document::parse(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start);
        Syntax::new(lines.of_offset(at), e.message().trim().replace('\n', ", "))
    })?;
    let mut reader = Reader {
        lines,
        document: Document::default(),
    };
    reader.document.value = reader.table(parsed.as_table(), "");
    Ok(reader.document)
}

/// Offsets of line starts.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn of_offset(&self, offset: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= offset)
    }
}

struct Reader {
    lines: Lines,
    document: Document,
}

impl Reader {
    fn table(&mut self, table: &dyn TableLike, path: &str) -> Value {
        let mut map = Map::new();
        for (name, item) in table.iter() {
            let child = path::field(path, name);
            let key = table.key(name).and_then(toml_edit::Key::span);
            self.mark(&child, key.or_else(|| item.span()));
            map.insert(name.to_owned(), self.item(item, &child));
        }
        Value::Object(map)
    }

    fn mark(&mut self, path: &str, span: Option<std::ops::Range<usize>>) {
        // A table that is only implied by a longer header has no place of its own; the one around it stands in.
        if let Some(span) = span {
            self.document.mark(path, self.lines.of_offset(span.start));
        }
    }

    fn item(&mut self, item: &Item, path: &str) -> Value {
        match item {
            Item::None => Value::Null,
            Item::Value(value) => self.value(value, path),
            Item::Table(table) => self.table(table, path),
            Item::ArrayOfTables(tables) => {
                let tables = tables.iter().enumerate();
                Value::Array(tables.map(|(n, t)| self.nth_table(n, t, path)).collect())
            }
        }
    }

    fn nth_table(&mut self, n: usize, table: &toml_edit::Table, path: &str) -> Value {
        let child = path::item(path, n);
        self.mark(&child, table.span());
        self.table(table, &child)
    }

    fn value(&mut self, value: &toml_edit::Value, path: &str) -> Value {
        match value {
            toml_edit::Value::String(text) => Value::String(text.value().clone()),
            toml_edit::Value::Integer(number) => Value::Number((*number.value()).into()),
            toml_edit::Value::Float(number) => Number::from_f64(*number.value())
                .map_or_else(|| Value::String(number.value().to_string()), Value::Number),
            toml_edit::Value::Boolean(flag) => Value::Bool(*flag.value()),
            // No field of a spec is a date; as text it is refused with its own words.
            toml_edit::Value::Datetime(date) => Value::String(date.value().to_string()),
            toml_edit::Value::Array(items) => {
                let items = items.iter().enumerate();
                Value::Array(items.map(|(n, v)| self.nth_value(n, v, path)).collect())
            }
            toml_edit::Value::InlineTable(table) => self.table(table, path),
        }
    }

    fn nth_value(&mut self, n: usize, value: &toml_edit::Value, path: &str) -> Value {
        let child = path::item(path, n);
        self.mark(&child, value.span());
        self.value(value, &child)
    }
}
