//! Who may write where: whether two instances can run on one node at the same time.

use super::{Volume, VolumeKind};
use crate::ids::AppName;

/// The first of an app's `volumes` that keeps one of its instances from running on a node beside another one, of whatever app: both would
/// write to it, and one of the two is to be its only writer. Who only reads is in nobody's way.
pub fn clash<'a>(
    (app, volumes): (&AppName, &'a [Volume]),
    (other, theirs): (&AppName, &[Volume]),
) -> Option<&'a Volume> {
    let mut mine = volumes.iter();
    mine.find(|v| {
        theirs
            .iter()
            .any(|t| excludes(v, t) && meets((app, v), (other, t)))
    })
}

/// How a message speaks of a volume.
pub fn spoken(volume: &Volume) -> String {
    match volume.kind {
        VolumeKind::Bind => format!("folder {}", volume.source),
        VolumeKind::Volume | VolumeKind::Tmpfs => format!("volume {}", volume.source),
    }
}

/// Whether one is to have a single writer and both would write.
fn excludes(a: &Volume, b: &Volume) -> bool {
    (a.exclusive || b.exclusive) && !a.read_only && !b.read_only
}

/// Whether they are, on one node, the same place or one within the other. A named volume is one app's own.
fn meets((app, a): (&AppName, &Volume), (other, b): (&AppName, &Volume)) -> bool {
    match (a.kind, b.kind) {
        (VolumeKind::Volume, VolumeKind::Volume) => app == other && a.source == b.source,
        (VolumeKind::Bind, VolumeKind::Bind) => {
            is_within(&a.source, &b.source) || is_within(&b.source, &a.source)
        }
        _ => false,
    }
}

/// Whether a folder is another one or below it.
fn is_within(folder: &str, parent: &str) -> bool {
    let parts = |path| str::split(path, '/').filter(|part| !matches!(*part, "" | "."));
    let mut below = parts(folder);
    parts(parent).all(|part| below.next() == Some(part))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `volume` or `bind`, where, and `!` for a single writer, `r` for a reader.
    fn volume(kind: VolumeKind, source: &str, how: &str) -> Volume {
        Volume {
            kind,
            source: source.to_owned(),
            target: "/data".to_owned(),
            read_only: how == "r",
            size: None,
            exclusive: how == "!",
        }
    }

    #[test]
    fn one_of_two_that_write_to_the_same_place_is_enough_to_keep_them_apart() {
        let web: AppName = "web".parse().unwrap();
        let api: AppName = "api".parse().unwrap();
        let named = |source, how| volume(VolumeKind::Volume, source, how);
        let bind = |source, how| volume(VolumeKind::Bind, source, how);
        let tmpfs = || volume(VolumeKind::Tmpfs, "", "");
        let cases = [
            (&web, named("data", "!"), &web, named("data", "!"), true),
            (&web, named("data", "!"), &web, named("data", ""), true),
            (&web, named("data", ""), &web, named("data", ""), false),
            (&web, named("data", "!"), &web, named("data", "r"), false),
            (&web, named("data", "!"), &web, named("logs", "!"), false),
            // A name is one app's, a folder is everybody's.
            (&web, named("data", "!"), &api, named("data", "!"), false),
            (&web, bind("/data", "!"), &api, bind("/data", "!"), true),
            (&web, bind("/data", "!"), &api, bind("/data/", ""), true),
            (&web, bind("/data", ""), &api, bind("/data", ""), false),
            (&web, bind("/data", "!"), &api, bind("/data", "r"), false),
            (&web, bind("/data", "!"), &api, bind("/data/db", ""), true),
            (&web, bind("/data/db", "!"), &api, bind("//data", ""), true),
            (
                &web,
                bind("/data", "!"),
                &api,
                bind("/database", "!"),
                false,
            ),
            (&web, bind("/data", "!"), &web, named("data", "!"), false),
            (&web, named("data", "!"), &web, tmpfs(), false),
        ];
        for (app, a, other, b, expected) in cases {
            let (mine, theirs) = (std::slice::from_ref(&a), std::slice::from_ref(&b));
            let found = clash((app, mine), (other, theirs)).is_some();
            assert_eq!(found, expected, "{a:?} of {app} and {b:?} of {other}");
            let turned = clash((other, theirs), (app, mine)).is_some();
            assert_eq!(turned, expected, "turned round: {a:?} and {b:?}");
        }
    }
}
