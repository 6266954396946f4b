//! The moving line of something that is waited for.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two pictures of it.
const TICK: Duration = Duration::from_millis(120);

/// One of `name`; what is told of it stands behind.
pub fn spinner(name: String) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {prefix}   {wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.set_prefix(name);
    bar.enable_steady_tick(TICK);
    bar
}
