//! How long a peer takes to answer: a peak-sensitive moving average, one word of memory per peer, no lock.
//!
//! After Finagle's `PeakEwma` balancer, which Linkerd and tower took up: a sample above the average becomes the average at once, so a peer
//! that turns slow is known after one answer; below it the average moves towards the sample by `1 - e^(-t/10s)`, `t` since the sample
//! before. Where nothing is sent it fades at the same pace, so a peer that was slow is asked again now and then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hancock_proto::time::Timestamp;

/// After this long without a sample an average has fallen to 1/e; Finagle's default.
pub const DECAY: Duration = Duration::from_secs(10);
/// What a failed attempt counts as, at least: a peer that fails fast must not look like the best one.
pub const FAILURE: Duration = Duration::from_secs(1);

/// Lower half: milliseconds, wrapping, of the last sample. Upper half: the average as f32, in microseconds; 0: no sample yet.
#[derive(Debug, Default)]
pub struct Latency(AtomicU64);

impl Latency {
    /// An attempt ended after `took`: it was answered, or it failed.
    pub fn took(&self, took: Duration, answered: bool, now: Timestamp) {
        let counted = if answered { took } else { took.max(FAILURE) };
        let sample = (counted.as_secs_f64() * 1e6).max(1.0);
        let add = |word| Some(pack(added(word, sample, now), now));
        // It never declines, so it cannot fail.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The average as it is now, in microseconds; None: nothing is known.
    pub fn micros(&self, now: Timestamp) -> Option<f64> {
        let word = self.0.load(Ordering::Relaxed);
        (word != 0).then(|| average(word) * fading(word, now))
    }
}

fn added(word: u64, sample: f64, now: Timestamp) -> f64 {
    let average = average(word);
    if sample >= average {
        return sample;
    }
    let kept = fading(word, now);
    average * kept + sample * (1.0 - kept)
}

fn pack(average: f64, now: Timestamp) -> u64 {
    (u64::from((average as f32).to_bits()) << 32) | u64::from(now.0 as u32)
}

fn average(word: u64) -> f64 {
    f64::from(f32::from_bits((word >> 32) as u32))
}

/// What is left of an average by now. A clock that went back, or 24 days without a sample, leaves it as it is.
fn fading(word: u64, now: Timestamp) -> f64 {
    let passed = (now.0 as u32).wrapping_sub(word as u32) as i32;
    let decay = DECAY.as_millis() as f64;
    (-f64::from(passed.max(0)) / decay).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn known(latency: &Latency, at: u64) -> f64 {
        latency.micros(Timestamp(at)).expect("known") / 1000.0
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        assert_eq!(latency.micros(Timestamp(7)), None);
        latency.took(ms(10), true, Timestamp(0));
        assert_eq!(known(&latency, 0), 10.0);
        latency.took(ms(200), true, Timestamp(1));
        assert_eq!(known(&latency, 1), 200.0);
        let faded = known(&latency, 10_001);
        assert!((faded - 200.0 / 1f64.exp()).abs() < 0.01, "{faded}");
        latency.took(ms(10), true, Timestamp(10_001));
        let moved = known(&latency, 10_001);
        assert!(
            (moved - (10.0 + 190.0 / 1f64.exp())).abs() < 0.01,
            "{moved}"
        );
    }

    #[test]
    fn failing_fast_is_slow() {
        let latency = Latency::default();
        latency.took(ms(10), true, Timestamp(0));
        latency.took(ms(1), false, Timestamp(0));
        assert_eq!(known(&latency, 0), 1000.0);
        latency.took(ms(3000), false, Timestamp(0));
        assert_eq!(known(&latency, 0), 3000.0);
    }

    #[test]
    fn odd_clocks_and_samples_do_no_harm() {
        let latency = Latency::default();
        latency.took(Duration::ZERO, true, Timestamp(u64::MAX));
        assert_eq!(known(&latency, u64::MAX - 5000), 0.001);
        latency.took(Duration::MAX, true, Timestamp(0));
        assert!(known(&latency, 1).is_finite());
    }
}
