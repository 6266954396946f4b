//! The machine's clock beside a master's.

use super::facts::Skew;
use super::finding::{Finding, Level};

const CHECK: &str = "clock";
/// An answer says seconds, and takes its time: less cannot be told.
const TOLERATED: u64 = 3_000;
/// Certificates are made out for a time that begins shortly before.
const TOO_MUCH: u64 = 60_000;

pub fn check(skew: &Skew) -> Finding {
    let ahead = match skew {
        Skew::NotAsked => {
            return Finding::ok(
                CHECK,
                "not compared: name a master with --master URL or HANCOCK_MASTER",
            );
        }
        Skew::Unknown(reason) => {
            return Finding::ok(CHECK, format!("not compared: {reason}")).bad(
                Level::Warn,
                "whether this clock goes as the masters' do is not known",
                "name a master that answers with --master URL",
            );
        }
        Skew::Ahead(ahead) => *ahead,
    };
    let apart = ahead.unsigned_abs();
    #[allow(clippy::cast_precision_loss)]
    let seconds = apart as f64 / 1000.0;
    let finding = match apart {
        0..=TOLERATED => return Finding::ok(CHECK, "as the master's, to the second"),
        _ if ahead > 0 => Finding::ok(CHECK, format!("{seconds:.0} s behind the master's")),
        _ => Finding::ok(CHECK, format!("{seconds:.0} s ahead of the master's")),
    };
    let level = if apart > TOO_MUCH {
        Level::Fail
    } else {
        Level::Warn
    };
    finding.bad(
        level,
        "certificates are good from a time until a time: with a wrong clock the node is not let in; and times of logs and events mislead",
        "apt-get install -y chrony && chronyc makestep",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_judged_by_how_far_it_is_off() {
        for (skew, level, told) in [
            (Skew::NotAsked, Level::Ok, "--master"),
            (Skew::Unknown("away".to_owned()), Level::Warn, "away"),
            (Skew::Ahead(-2_900), Level::Ok, "as the master's"),
            (Skew::Ahead(5_000), Level::Warn, "5 s behind"),
            (Skew::Ahead(-90_000), Level::Fail, "90 s ahead"),
            (Skew::Ahead(i64::MIN), Level::Fail, "ahead"),
        ] {
            let finding = check(&skew);
            assert_eq!(finding.level, level, "{skew:?}");
            assert!(finding.found.contains(told), "{finding:?}");
        }
    }
}
