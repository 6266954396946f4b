//! The terminal of whoever calls.

use std::io::{self, IsTerminal};

use hancock_proto::exec::Window;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The size of a terminal nobody knows.
const USUAL: Window = Window {
    columns: 80,
    rows: 24,
};

/// Whether somebody types.
pub(super) fn is_input() -> bool {
    io::stdin().is_terminal()
}

/// How large it is.
pub(super) fn window() -> Window {
    let size = terminal_size::terminal_size();
    size.map_or(USUAL, |(columns, rows)| Window {
        columns: columns.0,
        rows: rows.0,
    })
}

/// Every key goes to the command as it is, until this is dropped.
pub(super) struct Raw(Termios);

impl Raw {
    pub(super) fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
