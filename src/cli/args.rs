//! Arguments that several commands share, and their words.

use std::time::Duration;

use hancock_proto::ids::AppName;
use hancock_proto::time::{Clock, SystemClock, Timestamp};
use hancock_proto::units::Span;

/// Waiting for a write to be carried out.
#[derive(Debug, Clone, clap::Args)]
pub struct WaitArgs {
    /// Wait until it is carried out; fails when it fails
    #[arg(long)]
    pub wait: bool,
    /// Longest time to wait; it goes on when this is over
    #[arg(long, value_name = "TIME", default_value = "15m", requires = "wait")]
    pub timeout: Span,
}

/// One app.
#[derive(Debug, Clone, clap::Args)]
pub struct AppArg {
    /// Name of the app
    pub app: AppName,
}

/// One app and waiting.
#[derive(Debug, Clone, clap::Args)]
pub struct AppWaitArgs {
    #[command(flatten)]
    pub app: AppArg,
    #[command(flatten)]
    pub wait: WaitArgs,
}

/// The machine's time.
pub fn now() -> Timestamp {
    SystemClock.now()
}

/// The time passed since `at`, as people say it.
pub fn age(at: Timestamp) -> String {
    length(now().since(at))
}

/// The time of day of this machine; with the date when it is another day.
pub fn clock(at: Timestamp) -> String {
    let zone = jiff::tz::TimeZone::system();
    let local = |at: Timestamp| {
        let ms = i64::try_from(at.0).ok()?;
        let time = jiff::Timestamp::from_millisecond(ms).ok()?;
        Some(time.to_zoned(zone.clone()))
    };
    let (Some(then), Some(now)) = (local(at), local(now())) else {
        return at.0.to_string();
    };
    match then.date() == now.date() {
        true => then.strftime("%H:%M:%S").to_string(),
        false => then.strftime("%b %e %H:%M:%S").to_string(),
    }
}

/// A length of time in its largest unit; short ones with tenths.
pub fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Bytes in the unit that reads best.
pub fn bytes(n: u64) -> String {
    let units = [
        (1u64 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    match units.iter().find(|(size, _)| n >= *size) {
        Some((size, unit)) if n.is_multiple_of(*size) => format!("{} {unit}", n / size),
        Some((size, unit)) => format!("{:.1} {unit}", n as f64 / *size as f64),
        None => format!("{n} B"),
    }
}

/// Bits per second in the unit that reads best.
pub fn rate(bits: u64) -> String {
    let units = [
        (1_000_000_000, "Gbit/s"),
        (1_000_000, "Mbit/s"),
        (1000, "kbit/s"),
    ];
    match units.iter().find(|(size, _)| bits >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", bits as f64 / *size as f64),
        None => format!("{bits} bit/s"),
    }
}

/// Thousandths of a core as cores.
pub fn cores(millicores: u64) -> String {
    format!("{}", millicores as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_read_well() {
        let lengths = [3, 10, 119, 120, 7200, 200_000].map(|s| length(Duration::from_secs(s)));
        assert_eq!(lengths, ["3.0 s", "10 s", "119 s", "2 min", "2 h", "2 d"]);
        let tenths = [49, 450, 9999].map(|ms| length(Duration::from_millis(ms)));
        assert_eq!(tenths, ["0.0 s", "0.4 s", "9.9 s"]);
        let sizes = [0, 1023, 64 << 20, 3 << 29].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "64 MiB", "1.5 GiB"]);
        assert_eq!(cores(1500), "1.5");
        let rates = [999, 1500, 20_000_000, 3_400_000_000].map(rate);
        assert_eq!(
            rates,
            ["999 bit/s", "1.5 kbit/s", "20.0 Mbit/s", "3.4 Gbit/s"]
        );
    }

    #[test]
    fn another_day_has_its_date() {
        assert_eq!(clock(now()).len(), "10:02:11".len());
        assert!(clock(Timestamp(86_400_000)).starts_with("Jan "));
    }
}
