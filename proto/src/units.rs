//! Quantities with units, as people write them: "10s", "256MiB", 0.5 cores, "50mbps".

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}, write it like {example}")]
pub struct InvalidQuantity {
    what: &'static str,
    text: String,
    example: &'static str,
}

/// A span of time, written "150ms", "10s", "5m", "1h" or "1d". Whole milliseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^[0-9]+(ms|s|m|h|d)$", examples("10s", "150ms"))
)]
#[serde(try_from = "String", into = "String")]
pub struct Span(u64);

impl Span {
    /// `n` milliseconds.
    pub const fn millis(n: u64) -> Self {
        Self(n)
    }

    /// `n` seconds.
    pub const fn seconds(n: u64) -> Self {
        Self(n * 1000)
    }

    /// The same as a [`Duration`].
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

const SPAN_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Span {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        scaled(text, &SPAN_UNITS)
            .map(Self)
            .ok_or_else(|| InvalidQuantity {
                what: "duration",
                text: text.to_owned(),
                example: "\"10s\", \"150ms\", \"5m\" or \"1h\"",
            })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SPAN_UNITS
            .iter()
            .rev()
            .find(|(_, size)| self.0.is_multiple_of(*size) && self.0 >= *size);
        let (name, size) = unit.copied().unwrap_or(("s", 1000));
        write!(f, "{}{name}", self.0 / size)
    }
}

/// A number of bytes, written "256MiB", "1GiB", "64KiB" or "512B"; a plain number is refused.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^[0-9]+(B|KiB|MiB|GiB|TiB)$", examples("256MiB"))
)]
#[serde(try_from = "String", into = "String")]
pub struct Size(u64);

impl Size {
    /// `n` bytes.
    pub const fn bytes(n: u64) -> Self {
        Self(n)
    }

    /// `n` MiB.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number of bytes.
    pub const fn as_bytes(self) -> u64 {
        self.0
    }
}

const SIZE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

impl FromStr for Size {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        scaled(text, &SIZE_UNITS)
            .map(Self)
            .ok_or_else(|| InvalidQuantity {
                what: "size",
                text: text.to_owned(),
                example: "\"256MiB\", \"1GiB\" or \"64KiB\"",
            })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = SIZE_UNITS
            .iter()
            .rev()
            .find(|(_, size)| self.0.is_multiple_of(*size) && self.0 >= *size);
        let (name, size) = unit.copied().unwrap_or(("B", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

/// A data rate in bits per second, written "50mbps" or "1gbps".
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = String, pattern = "^[0-9]+(bps|kbps|mbps|gbps)$", examples("50mbps"))
)]
#[serde(try_from = "String", into = "String")]
pub struct Bandwidth(u64);

const BANDWIDTH_UNITS: [(&str, u64); 4] = [
    ("bps", 1),
    ("kbps", 1000),
    ("mbps", 1_000_000),
    ("gbps", 1_000_000_000),
];

impl Bandwidth {
    /// Bits per second.
    pub const fn bits_per_second(self) -> u64 {
        self.0
    }
}

impl FromStr for Bandwidth {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        scaled(text, &BANDWIDTH_UNITS)
            .map(Self)
            .ok_or_else(|| InvalidQuantity {
                what: "bandwidth",
                text: text.to_owned(),
                example: "\"50mbps\" or \"1gbps\"",
            })
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = BANDWIDTH_UNITS
            .iter()
            .rev()
            .find(|(_, size)| self.0.is_multiple_of(*size) && self.0 >= *size);
        let (name, size) = unit.copied().unwrap_or(("bps", 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidQuantity;

            fn try_from(text: String) -> Result<Self, InvalidQuantity> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

as_text!(Span, Size, Bandwidth);

/// Processor time in thousandths of a core; written in cores, like 0.5.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(
    feature = "schema",
    derive(utoipa::ToSchema),
    schema(value_type = f64, minimum = 0, maximum = 100_000, examples(0.5))
)]
#[serde(try_from = "f64", into = "f64")]
pub struct Cpu(u32);

impl Cpu {
    /// `n` thousandths of a core.
    pub const fn millicores(n: u32) -> Self {
        Self(n)
    }

    /// The number of thousandths of a core.
    pub const fn as_millicores(self) -> u32 {
        self.0
    }
}

impl TryFrom<f64> for Cpu {
    type Error = InvalidQuantity;

    fn try_from(cores: f64) -> Result<Self, InvalidQuantity> {
        if (0.0..=100_000.0).contains(&cores) {
            // In range, so the cast neither truncates nor wraps.
            Ok(Self((cores * 1000.0).round() as u32))
        } else {
            Err(InvalidQuantity {
                what: "number of cores",
                text: cores.to_string(),
                example: "0.5 or 2",
            })
        }
    }
}

impl From<Cpu> for f64 {
    fn from(cpu: Cpu) -> f64 {
        f64::from(cpu.0) / 1000.0
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

/// A whole number followed by one of `units`; `None` when it is neither or overflows.
fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let size = units
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()))?
        .1;
    number.parse::<u64>().ok()?.checked_mul(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_print() {
        assert_eq!("10s".parse::<Span>().unwrap(), Span::seconds(10));
        assert_eq!("150ms".parse::<Span>().unwrap().to_string(), "150ms");
        assert_eq!(Span::seconds(120).to_string(), "2m");
        assert_eq!(Span::millis(0).to_string(), "0s");
        assert_eq!("256MiB".parse::<Size>().unwrap(), Size::mib(256));
        assert_eq!(Size::mib(1024).to_string(), "1GiB");
        assert_eq!(
            "50mbps".parse::<Bandwidth>().unwrap().bits_per_second(),
            50_000_000
        );
        assert_eq!(Cpu::try_from(0.5).unwrap(), Cpu::millicores(500));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for bad in [
            "",
            "10",
            "s",
            "-1s",
            "1.5s",
            "10 parsecs",
            "99999999999999999999s",
        ] {
            let error = bad.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("write it like"), "{error}");
        }
        assert!("256".parse::<Size>().is_err());
        assert!(Cpu::try_from(-1.0).is_err() && Cpu::try_from(f64::NAN).is_err());
    }
}
