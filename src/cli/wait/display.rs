//! How a deployment looks while it is waited for: one of three ways.

use std::io;
use std::time::Duration;

use hancock_proto::api::DeploymentView;

use super::lines::Lines;
use super::live::Live;
use crate::cli::args::now;
use crate::cli::out::Out;

/// Longest time without asking for the newest view.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shows progress.
pub struct Display<'a> {
    out: &'a Out,
    kind: Kind,
    shown: bool,
}

enum Kind {
    /// Redrawn in place.
    Live(Live),
    /// A line when something worth telling happened.
    Lines(Lines),
    /// A JSON value per change; what was printed last.
    Json(Option<DeploymentView>),
}

impl<'a> Display<'a> {
    /// The kind that suits `out`.
    pub fn new(out: &'a Out) -> Self {
        let kind = match (out.is_json(), out.is_live()) {
            (true, _) => Kind::Json(None),
            (false, true) => Kind::Live(Live::new()),
            (false, false) => Kind::Lines(Lines::default()),
        };
        Self {
            out,
            kind,
            shown: false,
        }
    }

    /// Whether anything was shown yet.
    pub fn has_shown(&self) -> bool {
        self.shown
    }

    /// Time after which [`Self::show`] has something to say although nothing changes.
    pub fn patience(&self) -> Duration {
        match &self.kind {
            Kind::Lines(lines) => lines.due(now()).map_or(PATIENCE, |due| due.min(PATIENCE)),
            Kind::Live(_) | Kind::Json(_) => PATIENCE,
        }
    }

    /// Shows how things are now.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn show(&mut self, view: &DeploymentView) -> io::Result<()> {
        self.shown = true;
        match &mut self.kind {
            Kind::Json(last) => {
                // The index moves with the whole cluster; that alone is no change.
                let index = view.index;
                let told = last.as_ref().map(|last| DeploymentView {
                    index,
                    ..last.clone()
                });
                if told.as_ref() == Some(view) {
                    return Ok(());
                }
                *last = Some(view.clone());
                self.out.json(view)
            }
            Kind::Live(live) => {
                live.show(view, self.out);
                Ok(())
            }
            Kind::Lines(lines) => lines
                .news(view, now())
                .iter()
                .try_for_each(|line| self.out.text(line)),
        }
    }

    /// Says something that is no change of the deployment.
    ///
    /// # Errors
    /// Standard output is closed.
    pub fn notice(&mut self, text: &str) -> io::Result<()> {
        match &mut self.kind {
            Kind::Json(_) => Ok(()),
            Kind::Live(live) => {
                live.notice(text, self.out);
                Ok(())
            }
            Kind::Lines(lines) => match lines.is_new(text) {
                true => self.out.text(text),
                false => Ok(()),
            },
        }
    }

    /// Leaves the terminal to what comes after.
    pub fn close(self) {
        if let Kind::Live(live) = self.kind {
            live.close();
        }
    }
}
