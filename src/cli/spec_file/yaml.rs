//! YAML 1.2 with lines. Anchors and aliases work, within a bound; tags and several documents in one file do not.

use std::collections::HashMap;

use hancock_proto::app::path;
use saphyr::Scalar;
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde_json::{Map, Number, Value};

use super::document::{Document, Syntax};

/// Deepest nesting; a spec needs five.
const DEEPEST: usize = 64;
/// Most values aliases may add, so that a small file cannot become a huge one.
const MOST_COPIES: usize = 10_000;

/// Reads `text`.
pub fn parse(text: &str) -> Result<Document, Syntax> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| Syntax::new(e.marker().line(), e.info()))?;
        builder.event(event, span)?;
    }
    Ok(builder.document)
}

/// A list or table that is not finished yet.
struct Open {
    path: String,
    anchor: usize,
    inner: Inner,
}

enum Inner {
    List(Vec<Value>),
    Table(Map<String, Value>, Option<String>),
}

#[derive(Default)]
struct Builder {
    document: Document,
    open: Vec<Open>,
    anchors: HashMap<usize, Value>,
    copies: usize,
    documents: usize,
}

type Tagged<'a> = Option<std::borrow::Cow<'a, Tag>>;

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Syntax> {
        let line = span.start.line();
        match event {
            Event::DocumentStart(_) => self.another(line),
            Event::Scalar(text, ..) if self.wants_key() => {
                self.key(text.into_owned(), line);
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(text, style, tag, line)?;
                self.child(line);
                self.finish(value, anchor);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                self.start(Inner::List(Vec::new()), anchor, tag, line)
            }
            Event::MappingStart(anchor, tag) => {
                self.start(Inner::Table(Map::new(), None), anchor, tag, line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, line),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn another(&mut self, line: usize) -> Result<(), Syntax> {
        self.documents += 1;
        match self.documents {
            1 => Ok(()),
            _ => Err(Syntax::new(
                line,
                "a second document begins here; write one app per file",
            )),
        }
    }

    fn wants_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                inner: Inner::Table(_, None),
                ..
            })
        )
    }

    fn key(&mut self, name: String, line: usize) {
        if let Some(Open {
            path,
            inner: Inner::Table(_, key),
            ..
        }) = self.open.last_mut()
        {
            self.document.mark(&path::field(path, &name), line);
            *key = Some(name);
        }
    }

    /// Path of the value that comes next. Items of lists are marked here, fields at their key.
    fn child(&mut self, line: usize) -> String {
        match self.open.last() {
            None => String::new(),
            Some(Open { path, inner, .. }) => match inner {
                Inner::List(items) => {
                    let path = path::item(path, items.len());
                    self.document.mark(&path, line);
                    path
                }
                Inner::Table(_, key) => path::field(path, key.as_deref().unwrap_or_default()),
            },
        }
    }

    fn start(
        &mut self,
        inner: Inner,
        anchor: usize,
        tag: Tagged<'_>,
        line: usize,
    ) -> Result<(), Syntax> {
        if self.wants_key() {
            return Err(Syntax::new(line, "a key must be a plain word"));
        }
        if self.open.len() >= DEEPEST {
            return Err(Syntax::new(
                line,
                format!("nested deeper than {DEEPEST} levels"),
            ));
        }
        check_tag(tag, line)?;
        let path = self.child(line);
        self.open.push(Open {
            path,
            anchor,
            inner,
        });
        Ok(())
    }

    fn end(&mut self) {
        if let Some(Open { anchor, inner, .. }) = self.open.pop() {
            let value = match inner {
                Inner::List(items) => Value::Array(items),
                Inner::Table(map, _) => Value::Object(map),
            };
            self.finish(value, anchor);
        }
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<(), Syntax> {
        if self.wants_key() {
            return Err(Syntax::new(line, "a key must be a plain word"));
        }
        let value = self.anchors.get(&anchor).cloned().ok_or_else(|| {
            Syntax::new(line, "an alias must come after the whole of what it names")
        })?;
        self.copies += count(&value);
        if self.copies > MOST_COPIES {
            return Err(Syntax::new(
                line,
                format!("aliases add more than {MOST_COPIES} values"),
            ));
        }
        self.child(line);
        self.finish(value, 0);
        Ok(())
    }

    fn finish(&mut self, value: Value, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        match self.open.last_mut().map(|open| &mut open.inner) {
            None => self.document.value = value,
            Some(Inner::List(items)) => items.push(value),
            Some(Inner::Table(map, key)) => {
                if let Some(key) = key.take() {
                    map.insert(key, value);
                }
            }
        }
    }
}

fn scalar(
    text: std::borrow::Cow<'_, str>,
    style: ScalarStyle,
    tag: Tagged<'_>,
    line: usize,
) -> Result<Value, Syntax> {
    let shown = text.to_string();
    let wrong = || Syntax::new(line, format!("{shown:?} does not fit its tag"));
    check_tag(tag.clone(), line)?;
    let scalar =
        Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()).ok_or_else(wrong)?;
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Boolean(flag) => Value::Bool(flag),
        Scalar::Integer(number) => Value::Number(number.into()),
        // Infinity and "not a number" have no JSON form; as text they are refused where a number is needed.
        Scalar::FloatingPoint(number) => Number::from_f64(number.into_inner())
            .map_or_else(|| Value::String(shown.clone()), Value::Number),
        Scalar::String(text) => Value::String(text.into_owned()),
    })
}

fn check_tag(tag: Tagged<'_>, line: usize) -> Result<(), Syntax> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => Err(Syntax::new(
            line,
            format!("tag {tag} has no meaning in an app spec; remove it"),
        )),
        _ => Ok(()),
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}
