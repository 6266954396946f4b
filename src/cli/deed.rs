//! What was asked of an app and what came of it, in words.

use hancock_proto::api::ApplyReply;

/// A write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A spec.
    Apply,
    /// A number of instances.
    Scale(u32),
    /// An earlier version.
    Rollback,
    /// All instances anew.
    Restart,
    /// No instances.
    Stop,
    /// Instances again.
    Start,
    /// The end of the app.
    Delete,
}

impl Deed {
    /// What the master took on.
    pub fn begun(self, reply: &ApplyReply) -> String {
        let ApplyReply { app, version, .. } = reply;
        let deed = match self {
            Deed::Apply => format!("{app} version {version} applied"),
            Deed::Scale(n) => format!("{app} scaled to {}, as version {version}", instances(n)),
            Deed::Rollback => format!("{app} goes back to version {version}"),
            Deed::Restart => format!("{app} restarts version {version}"),
            Deed::Stop => format!("{app} stops"),
            Deed::Start => format!("{app} starts version {version}"),
            Deed::Delete => format!("{app} is being deleted"),
        };
        match reply.deployment {
            Some(id) => format!("{deed}; deployment {id} carries it out"),
            None => deed,
        }
    }

    /// Why no deployment was needed; `stopped` is how the app is.
    pub fn nothing(self, reply: &ApplyReply, stopped: bool) -> String {
        let ApplyReply { app, version, .. } = reply;
        match self {
            Deed::Stop => format!("{app} is stopped already"),
            Deed::Delete => format!("{app} is being deleted already"),
            _ if stopped => format!(
                "{app} is stopped and takes up version {version} when it starts: `hancock app start {app}`"
            ),
            Deed::Scale(n) => format!("{app} is scaled to {} already", instances(n)),
            Deed::Start => format!("{app} version {version} is started already"),
            Deed::Apply | Deed::Rollback | Deed::Restart => {
                format!("{app} version {version} is deployed already, nothing had to change")
            }
        }
    }
}

fn instances(n: u32) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} instance{plural}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hancock_proto::ids::{DeploymentId, LogIndex, Version};

    use super::*;

    #[test]
    fn the_words_say_what_was_done() {
        let reply = ApplyReply {
            app: "web".parse().unwrap(),
            version: Version(3),
            deployment: Some(DeploymentId(7)),
            index: LogIndex(1),
        };
        assert_eq!(
            Deed::Scale(1).begun(&reply),
            "web scaled to 1 instance, as version 3; deployment 7 carries it out"
        );
        assert_eq!(
            Deed::Scale(5).nothing(&reply, true),
            "web is stopped and takes up version 3 when it starts: `hancock app start web`"
        );
        assert_eq!(Deed::Stop.nothing(&reply, true), "web is stopped already");
    }
}
