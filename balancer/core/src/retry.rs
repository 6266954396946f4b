//! Which failed attempts are repeated.

use std::time::Duration;

use hancock_proto::time::Timestamp;

use crate::passive::Failure;

/// Most attempts a document may allow a request.
pub const MOST_ATTEMPTS: u32 = 8;
/// Attempts per TCP connection: the original got past three dead peers to the fourth.
const DIALS: u32 = 16;
/// No further attempt once this much has passed since the first began, if a document does not say how much.
const BUDGET: Duration = Duration::from_secs(5);

/// How often one service's requests may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Attempts per request.
    pub attempts: u32,
    /// The same as long as every one was refused.
    pub refused: u32,
    /// No further attempt once this much has passed since the first began.
    pub budget: Duration,
}

impl Rules {
    /// Those of a document that says nothing. `plain`: not written by a master, so the original's limits hold.
    pub fn unsaid(plain: bool) -> Self {
        Self {
            attempts: 2,
            // A refusal costs next to nothing.
            refused: if plain { 2 } else { 3 },
            budget: BUDGET,
        }
    }
}

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
    /// The service's rules.
    pub rules: Rules,
}

impl Attempt {
    /// Whether the request may be tried again after `failure`.
    pub fn may_repeat(&self, failure: Failure, now: Timestamp) -> bool {
        let limit = match failure {
            Failure::Refused => self.rules.refused,
            _ => self.rules.attempts,
        };
        let safe = failure.before_request() || (self.idempotent && self.replayable);
        !self.answered && safe && self.made < limit && now.since(self.began) < self.rules.budget
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
        rules: Rules {
            attempts: 2,
            refused: 3,
            budget: BUDGET,
        },
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
            rules: Rules::unsaid(true),
            ..made(2)
        };
        assert!(!plain.may_repeat(Failure::Refused, Timestamp(0)));
        assert!(is_idempotent("PUT") && is_idempotent("PROPFIND") && !is_idempotent("LOCK"));
    }
}
