//! How much goes over the machine's network, between two looks.

use std::fs;
use std::path::Path;

use hancock_proto::resources::Network;
use tokio::time::Instant;

/// Measures what the machine's own interfaces carry.
#[derive(Debug, Default)]
pub struct Meter {
    /// When, and bytes received and sent by then.
    last: Option<(Instant, Bytes)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Bytes {
    received: u64,
    sent: u64,
}

impl Meter {
    /// Since the last look; None: this is the first one, or too soon, or an interface has gone.
    pub fn since_last(&mut self, now: Instant) -> Option<Network> {
        let table = fs::read_to_string("/proc/net/dev").ok()?;
        let is_own = |name: &str| {
            Path::new("/sys/class/net")
                .join(name)
                .join("device")
                .exists()
        };
        self.since_last_of(carried(&table, is_own), now)
    }

    fn since_last_of(&mut self, bytes: Bytes, now: Instant) -> Option<Network> {
        let (then, before) = self.last.replace((now, bytes))?;
        let millis = u64::try_from(now.duration_since(then).as_millis()).ok()?;
        let rate = |now: u64, before: u64| {
            let bits = now.checked_sub(before)?.saturating_mul(8);
            bits.saturating_mul(1000).checked_div(millis)
        };
        Some(Network {
            received: rate(bytes.received, before.received)?,
            sent: rate(bytes.sent, before.sent)?,
        })
    }
}

/// What interfaces with a device behind them carried: what goes over a bridge to a container would count twice. Where none has one, as in
/// some machines within machines, all but those of containers.
fn carried(table: &str, is_own: impl Fn(&str) -> bool) -> Bytes {
    let lines: Vec<_> = table.lines().filter_map(line).collect();
    let own: Vec<_> = lines.iter().filter(|(name, _)| is_own(name)).collect();
    let inner = |name: &str| {
        let kinds = ["lo", "veth", "docker", "br-", "dummy", "ifb"];
        kinds.iter().any(|kind| name.starts_with(kind))
    };
    let counted = match own.is_empty() {
        true => lines.iter().filter(|(name, _)| !inner(name)).collect(),
        false => own,
    };
    counted
        .iter()
        .fold(Bytes::default(), |sum, (_, bytes)| Bytes {
            received: sum.received.saturating_add(bytes.received),
            sent: sum.sent.saturating_add(bytes.sent),
        })
}

/// An interface's name and what it carried.
fn line(line: &str) -> Option<(&str, Bytes)> {
    let (name, numbers) = line.split_once(':')?;
    let mut numbers = numbers.split_whitespace().map(|n| n.parse().ok());
    let received = numbers.next()??;
    let sent = numbers.nth(7)??;
    Some((name.trim(), Bytes { received, sent }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    const TABLE: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
        lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n  eth0: 1000 2 0 0 0 0 0 0 500 2 0 0 0 0 0 0\nveth1: 70 2 0 0 0 0 0 0 70 2 0 0 0 0 0 0\n";

    #[test]
    fn own_interfaces_are_counted_once() {
        let expected = Bytes {
            received: 1000,
            sent: 500,
        };
        assert_eq!(carried(TABLE, |name| name == "eth0"), expected);
        assert_eq!(carried(TABLE, |_| false), expected);
        assert_eq!(carried("", |_| true), Bytes::default());
    }

    #[test]
    fn what_was_carried_between_two_looks_is_a_rate() {
        let (mut meter, begun) = (Meter::default(), Instant::now());
        let bytes = |received, sent| Bytes { received, sent };
        assert_eq!(meter.since_last_of(bytes(1000, 0), begun), None);
        let later = begun + Duration::from_secs(2);
        let rate = meter.since_last_of(bytes(3000, 500), later).unwrap();
        assert_eq!((rate.received, rate.sent), (8000, 2000));
        // An interface has gone.
        assert_eq!(
            meter.since_last_of(bytes(0, 0), later + Duration::from_secs(1)),
            None
        );
    }
}
