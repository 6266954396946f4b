//! Room on the disks.

use super::facts::{Facts, Room};
use super::finding::{Finding, Level};
use crate::cli::args::bytes;

/// Without so much nothing can be written down.
const LEAST: u64 = 256 << 20;
/// Below so many of a hundred it is nearly full.
const SHARE: u64 = 10;

pub fn check(facts: &Facts) -> Vec<Finding> {
    let rooms = facts.rooms.iter();
    rooms.map(|(what, room)| one(what, room)).collect()
}

fn one(what: &str, room: &Room) -> Finding {
    let ((all, free), (files, unused)) = (room.bytes, room.files);
    let mut found = format!("{}: {} of {} free", room.path, bytes(free), bytes(all));
    if files > 0 {
        found += &format!(", room for {unused} more files");
    }
    let finding = Finding::ok(format!("disk of the {what}"), found);
    let path = &room.path;
    if files > 0 && unused < files / 100 * SHARE {
        let level = if unused < 1000 {
            Level::Fail
        } else {
            Level::Warn
        };
        return finding.bad(
            level,
            "the file system can hold only so many files, however small",
            format!("find what has so many with `du --inodes -x -d 3 {path} | sort -n | tail`"),
        );
    }
    let level = match () {
        () if free < LEAST => Level::Fail,
        () if free < all / 100 * SHARE => Level::Warn,
        () => return finding,
    };
    finding.bad(
        level,
        "on a full disk nothing new is started, and no change is taken",
        format!("find what is large with `du -xh -d 3 {path} | sort -h | tail`; `docker system prune` removes what no container uses"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_in_bytes_and_files() {
        for (bytes, files, level) in [
            ((100 << 30, 50 << 30), (1000, 500), Level::Ok),
            ((100 << 30, 50 << 30), (0, 0), Level::Ok),
            ((100 << 30, 5 << 30), (0, 0), Level::Warn),
            ((100 << 30, 1 << 20), (0, 0), Level::Fail),
            ((1 << 30, 512 << 20), (0, 0), Level::Ok),
            ((100 << 30, 50 << 30), (1_000_000, 50_000), Level::Warn),
            ((100 << 30, 50 << 30), (1_000_000, 999), Level::Fail),
        ] {
            let room = Room {
                path: "/".to_owned(),
                bytes,
                files,
            };
            assert_eq!(one("x", &room).level, level, "{room:?}");
        }
    }
}
