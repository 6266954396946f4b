//! Which failed attempts are repeated.

use std::time::Duration;

use hancock_proto::time::Timestamp;

use crate::passive::Failure;

/// Attempts per request.
const ATTEMPTS: u32 = 2;
/// Attempts per request as long as every one was refused: a refusal costs next to nothing.
const ATTEMPTS_REFUSED: u32 = 3;
/// Attempts per TCP connection: the original got past three dead peers to the fourth.
const DIALS: u32 = 16;
/// No further attempt once this much has passed since the first began.
const BUDGET: Duration = Duration::from_secs(5);

/// What is known of a request when an attempt failed.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Attempts made, this one included.
    pub made: u32,
    /// When the first began.
    pub began: Timestamp,
    /// Repeating it does no harm.
    pub idempotent: bool,
    /// The body can be sent again in full.
    pub replayable: bool,
    /// The client has been sent something.
    pub answered: bool,
    /// The service's document was not written by a master: the original's limit holds.
    pub plain: bool,
}

impl Attempt {
    /// Whether the request may be tried again after `failure`.
    pub fn may_repeat(&self, failure: Failure, now: Timestamp) -> bool {
        let limit = if failure == Failure::Refused && !self.plain {
            ATTEMPTS_REFUSED
        } else {
            ATTEMPTS
        };
        let safe = failure.before_request() || (self.idempotent && self.replayable);
        !self.answered && safe && self.made < limit && now.since(self.began) < BUDGET
    }
}

/// Whether a TCP connection may be tried on another peer after `made` attempts since `began`. Nothing was sent yet, so only the client's
/// patience counts.
pub fn may_dial_again(made: u32, began: Timestamp, now: Timestamp) -> bool {
    made < DIALS && now.since(began) < BUDGET
}

/// Whether repeating a request of this method does no harm. As in the original, every method but three counts as harmless.
pub fn is_idempotent(method: &str) -> bool {
    !matches!(method, "POST" | "PATCH" | "LOCK")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Attempt = Attempt {
        made: 1,
        began: Timestamp(0),
        idempotent: true,
        replayable: true,
        answered: false,
        plain: false,
    };

    #[test]
    fn the_table_of_the_original() {
        let post = Attempt {
            idempotent: false,
            ..GET
        };
        let now = Timestamp(4999);
        for (failure, get, posted) in [
            (Failure::Refused, true, true),
            (Failure::Unreachable, true, true),
            (Failure::Lost, true, false),
            (Failure::TimedOut, true, false),
            (Failure::BadGateway, true, false),
        ] {
            assert_eq!(GET.may_repeat(failure, now), get, "{failure:?}");
            assert_eq!(post.may_repeat(failure, now), posted, "{failure:?}");
            assert!(!GET.may_repeat(failure, Timestamp(5000)));
            let answered = Attempt {
                answered: true,
                ..GET
            };
            assert!(!answered.may_repeat(failure, now));
        }
    }

    #[test]
    fn attempts_are_counted() {
        let made = |made| Attempt { made, ..GET };
        assert!(made(2).may_repeat(Failure::Refused, Timestamp(0)));
        assert!(!made(3).may_repeat(Failure::Refused, Timestamp(0)));
        assert!(!made(2).may_repeat(Failure::Lost, Timestamp(0)));
        let plain = Attempt {
            plain: true,
            ..made(2)
        };
        assert!(!plain.may_repeat(Failure::Refused, Timestamp(0)));
        assert!(is_idempotent("PUT") && is_idempotent("PROPFIND") && !is_idempotent("LOCK"));
    }
}
