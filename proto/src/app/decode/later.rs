//! Fields whose features come later: their types are checked, then they are refused. Never ignored silently.

use super::reader::{Field, Section, Sink};
use crate::units::{Bandwidth, Span};

/// What a field will hold.
pub enum Shape {
    /// Any text.
    Text,
    /// True or false.
    Flag,
    /// A whole number.
    Whole,
    /// A duration.
    Span,
    /// A data rate.
    Rate,
    /// One of these.
    Word(&'static [&'static str]),
    /// A list of such.
    List(&'static Shape),
    /// A table with these fields.
    Table(&'static [(&'static str, &'static Shape)]),
    /// The first or the second.
    Either(&'static Shape, &'static Shape),
}

impl Field<'_> {
    /// Refuses the field, when it is there, after looking at its type.
    pub fn later(&self, feature: &str, shape: &Shape) {
        if self.is_present() {
            self.problem(format!("not supported yet: {feature}; remove the field"));
            self.fits(shape);
        }
    }

    fn fits(&self, shape: &Shape) {
        match shape {
            Shape::Text => drop(self.text()),
            Shape::Flag => drop(self.flag()),
            Shape::Whole => drop(self.whole(0..=u64::from(u32::MAX))),
            Shape::Span => drop(self.parsed::<Span>()),
            Shape::Rate => drop(self.parsed::<Bandwidth>()),
            Shape::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| (*word, ())).collect();
                self.word(&words, &[]);
            }
            Shape::List(item) => {
                self.items("[…]").iter().for_each(|field| field.fits(item));
            }
            Shape::Table(fields) => {
                if let Some(section) = self.section() {
                    table(section, fields);
                }
            }
            Shape::Either(first, second) => {
                let silent = Sink::default();
                self.reporting_to(&silent).fits(first);
                if !silent.into_problems().is_empty() {
                    self.fits(second);
                }
            }
        }
    }
}

fn table(mut section: Section<'_>, fields: &'static [(&'static str, &'static Shape)]) {
    for (name, shape) in fields {
        section.field(name).fits(shape);
    }
    section.end();
}
