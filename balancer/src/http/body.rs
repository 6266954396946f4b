//! A request's body on its way through: how much came, and how fast.

use tokio::time::Instant;

use hancock_balancer_core::settings::BodyLimits;

/// See the module.
#[derive(Default)]
pub(super) struct Body {
    limits: Option<BodyLimits>,
    came: u64,
    /// When its first bytes came.
    began: Option<Instant>,
}

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    TooLarge,
    TooSlow,
}

impl Wrong {
    pub(super) fn status(self) -> u16 {
        match self {
            Wrong::TooLarge => 413,
            Wrong::TooSlow => 408,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Wrong::TooLarge => "body_too_large",
            Wrong::TooSlow => "slow_body",
        }
    }
}

impl Body {
    /// These limits hold. A body that tells its length need not be read to be too large.
    pub(super) fn limit(&mut self, limits: BodyLimits, told: Option<u64>) -> Result<(), Wrong> {
        self.limits = Some(limits);
        match told.is_some_and(|length| length > limits.most) {
            true => Err(Wrong::TooLarge),
            false => Ok(()),
        }
    }

    /// It is sent from the beginning: what came before comes again.
    pub(super) fn again(&mut self) {
        self.came = 0;
    }

    /// More of it came.
    pub(super) fn came(&mut self, bytes: usize) -> Result<(), Wrong> {
        let Some(limits) = self.limits else {
            return Ok(());
        };
        let now = Instant::now();
        self.came += bytes as u64;
        let took = now - *self.began.get_or_insert(now);
        if self.came > limits.most {
            return Err(Wrong::TooLarge);
        }
        match limits.is_too_slow(self.came, took) {
            true => Err(Wrong::TooSlow),
            false => Ok(()),
        }
    }
}
