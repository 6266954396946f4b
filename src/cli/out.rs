//! Where results go: text for people or JSON for programs, on standard output.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// What results look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    // No help texts here: they would stretch the help of every command.
    #[allow(missing_docs)]
    Text,
    #[allow(missing_docs)]
    Json,
}

/// Standard output.
pub struct Out {
    format: Format,
    colours: bool,
    live: bool,
    width: Option<usize>,
    height: Option<usize>,
}

/// What a word's colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody must look.
    Bad,
    /// Beside the point.
    Faint,
}

impl Out {
    /// Standard output as it is.
    pub fn new(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            format,
            colours: terminal && !refused && !dumb,
            // The moving part of a display goes to standard error.
            live: terminal && io::stderr().is_terminal() && !dumb,
            width: terminal.then(size).flatten().map(|(width, _)| width),
            height: terminal.then(size).flatten().map(|(_, height)| height),
        }
    }

    /// The same for a terminal of `width` columns, without colours.
    #[cfg(test)]
    pub fn narrow(width: usize) -> Self {
        Self {
            format: Format::Text,
            colours: false,
            live: false,
            width: Some(width),
            height: Some(24),
        }
    }

    /// Columns of the terminal; None: a file or a program reads, and nothing is cut.
    pub fn width(&self) -> Option<usize> {
        self.width
    }

    /// Lines of the terminal; None: a file or a program reads.
    pub fn height(&self) -> Option<usize> {
        self.height
    }

    /// Whether programs read it.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person watches and lines can be redrawn.
    pub fn is_live(&self) -> bool {
        self.live && !self.is_json()
    }

    /// Prints `value` as JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// Standard output is closed or full.
    pub fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(value),
            Format::Text => self.text(&text(value)),
        }
    }

    /// Prints one JSON value on a line of its own, at once.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn json<T: Serialize>(&self, value: &T) -> io::Result<()> {
        self.text(&serde_json::to_string(value)?)
    }

    /// Prints text, with a line end when it has none, at once.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn text(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// Prints a question, without a line end.
    ///
    /// # Errors
    /// As [`Self::print`].
    pub fn ask(&self, question: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(question.as_bytes())?;
        stdout.flush()
    }

    /// `text` in the colour of its tone, where there are colours.
    pub fn tint(&self, text: &str, tone: Tone) -> String {
        match self.colours {
            true => format!("\x1b[{}m{text}\x1b[0m", tone.code()),
            false => text.to_owned(),
        }
    }
}

/// Columns and lines of the terminal behind standard output.
fn size() -> Option<(usize, usize)> {
    let (terminal_size::Width(columns), terminal_size::Height(lines)) =
        terminal_size::terminal_size_of(io::stdout())?;
    Some((usize::from(columns), usize::from(lines))).filter(|size| size.0 > 0 && size.1 > 0)
}

impl Tone {
    /// The terminal's number for it.
    pub fn code(self) -> u8 {
        match self {
            Tone::Good => 32,
            Tone::Busy => 33,
            Tone::Bad => 31,
            Tone::Faint => 90,
        }
    }
}
