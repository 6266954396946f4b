//! Which of a node's host ports instances may get: ranges and single ports, as one set.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Host ports from `first` to `last`, both included; written 8080 or 20000-24999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl PortRange {
    /// Each of them.
    pub fn each(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }

    fn count(self) -> u32 {
        u32::from(self.last.saturating_sub(self.first)) + 1
    }
}

/// Why a text is no port and no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no port and no range of ports; write 8080, or FIRST-LAST like 20000-24999")]
pub struct InvalidRange(String);

impl std::str::FromStr for PortRange {
    type Err = InvalidRange;

    fn from_str(text: &str) -> Result<Self, InvalidRange> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.trim().parse::<u16>();
        match (number(first), number(last)) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Self { first, last }),
            _ => Err(InvalidRange(text.to_owned())),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => self.first.fmt(f),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// Host ports, each one once; written like 8080,8443,20000-24999.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "InstancePorts", into = "InstancePorts")]
pub struct PortSet {
    /// In ascending order, with at least one missing port between two of them.
    ranges: Vec<PortRange>,
}

impl PortSet {
    /// Most ports and ranges somebody may write for a node.
    pub const MOST: usize = 64;
    /// Most of them told in a sentence.
    const TOLD: usize = 8;

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.ranges.iter().map(|range| range.count()).sum()
    }

    /// Whether `port` is among them.
    pub fn contains(&self, port: u16) -> bool {
        let at = self.ranges.partition_point(|range| range.last < port);
        self.ranges.get(at).is_some_and(|r| r.first <= port)
    }

    /// The highest one.
    pub fn last(&self) -> Option<u16> {
        self.ranges.last().map(|range| range.last)
    }

    /// Each of them once, in ascending order from the one after the first `skipped` on, and around. More than there are: from the first on.
    pub fn turned(&self, skipped: u32) -> impl Iterator<Item = u16> + '_ {
        let from = self.nth(skipped).unwrap_or(1);
        let (on, around) = (self.ranges.iter(), self.ranges.iter());
        let on = on.flat_map(move |r| r.first.max(from)..=r.last);
        on.chain(around.flat_map(move |r| r.first..=r.last.min(from - 1)))
    }

    fn nth(&self, n: u32) -> Option<u16> {
        let mut left = n;
        self.ranges.iter().find_map(|range| {
            let here = u16::try_from(left).ok().filter(|_| left < range.count());
            left = left.saturating_sub(range.count());
            here.map(|offset| range.first + offset)
        })
    }

    /// Those that are in `range`, too.
    #[must_use]
    pub fn within(&self, range: PortRange) -> Self {
        let clipped = self.ranges.iter().map(|own| PortRange {
            first: own.first.max(range.first),
            last: own.last.min(range.last),
        });
        clipped.collect()
    }

    /// Those that are not in `range`.
    #[must_use]
    pub fn without(&self, range: PortRange) -> Self {
        let clipped = self.ranges.iter().flat_map(|own| {
            let below = PortRange {
                last: own.last.min(range.first.saturating_sub(1)),
                ..*own
            };
            let above = range.last.checked_add(1).map(|next| PortRange {
                first: own.first.max(next),
                ..*own
            });
            [Some(below), above]
        });
        clipped.flatten().collect()
    }

    /// As it is written, the end left out when it is long.
    pub fn brief(&self) -> String {
        let most = self.ranges.len().min(Self::TOLD);
        let (told, left_out) = self.ranges.split_at(most);
        match left_out.len() {
            0 => self.to_string(),
            more => format!("{} and {more} more", Joined(told)),
        }
    }
}

/// Whatever comes, in whatever order; a range that ends before it begins has no port, and 0 is none.
impl FromIterator<PortRange> for PortSet {
    fn from_iter<I: IntoIterator<Item = PortRange>>(ranges: I) -> Self {
        let ranges = ranges.into_iter().map(|range| PortRange {
            first: range.first.max(1),
            ..range
        });
        let mut given: Vec<_> = ranges.filter(|r| r.first <= r.last).collect();
        given.sort_unstable();
        let mut ranges: Vec<PortRange> = Vec::with_capacity(given.len());
        for range in given {
            match ranges.last_mut() {
                Some(before) if range.first <= before.last.saturating_add(1) => {
                    before.last = before.last.max(range.last);
                }
                _ => ranges.push(range),
            }
        }
        Self { ranges }
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let single = |port| PortRange {
            first: port,
            last: port,
        };
        ports.into_iter().map(single).collect()
    }
}

impl From<PortRange> for PortSet {
    fn from(range: PortRange) -> Self {
        [range].into_iter().collect()
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Joined(&self.ranges).fmt(f)
    }
}

/// Ranges with commas between them.
struct Joined<'a>(&'a [PortRange]);

impl fmt::Display for Joined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, range) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            write!(f, "{comma}{range}")?;
        }
        Ok(())
    }
}

/// Host ports that instances may get: a range, and more. Versions that know of one range only read the widest, and pass over the others.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub(crate) struct InstancePorts {
    /// First port of the widest range.
    first: u16,
    /// Its last port; lower than the first when there are no ports.
    last: u16,
    /// All other ranges and single ports, in ascending order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more: Vec<PortRange>,
}

impl From<InstancePorts> for PortSet {
    fn from(ports: InstancePorts) -> Self {
        let (first, last) = (ports.first, ports.last);
        let all = ports.more.into_iter().chain([PortRange { first, last }]);
        all.collect()
    }
}

impl From<PortSet> for InstancePorts {
    fn from(set: PortSet) -> Self {
        let mut more = set.ranges;
        let widest = (0..more.len()).rev().max_by_key(|n| more[*n].count());
        let none = PortRange { first: 1, last: 0 };
        let PortRange { first, last } = widest.map_or(none, |n| more.remove(n));
        Self { first, last, more }
    }
}

#[cfg(test)]
mod tests;
