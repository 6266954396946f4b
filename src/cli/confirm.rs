//! Questions before something that cannot be taken back.

use std::io::{self, IsTerminal};

use super::out::Out;

/// Whether a person is asked.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Yes {
    /// Do not ask; scripts are never asked
    #[arg(short, long)]
    yes: bool,
}

impl Yes {
    /// Whether there is somebody to ask, who wants to be.
    pub fn asks(self, out: &Out) -> bool {
        !self.yes && out.is_live() && io::stdin().is_terminal()
    }
}

/// Asks, and waits for the answer. False: anything but yes.
///
/// # Errors
/// The terminal is gone.
pub fn agreed(out: &Out, question: &str) -> io::Result<bool> {
    out.ask(&format!("{question} [y/N] "))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Yes", " yes "].iter().all(|a| is_yes(a)));
        assert!(["", "\n", "n", "yep", "ye s"].iter().all(|a| !is_yes(a)));
    }
}
