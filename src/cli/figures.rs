//! Sizes and times as a line shows them.

/// Milliseconds, in few letters.
pub(super) fn took(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 9.95 => format!("{ms:.1}ms"),
        ms if ms < 999.5 => format!("{ms:.0}ms"),
        ms if ms < 59_950.0 => format!("{:.1}s", ms / 1000.0),
        ms => age((ms / 1000.0) as u64),
    }
}

/// Bytes, in few letters.
pub(super) fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes}B"),
        1_000..1_024_000 => format!("{:.1}K", bytes as f64 / 1024.0),
        1_024_000..1_048_576_000 => format!("{:.1}M", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1}G", bytes as f64 / 1_073_741_824.0),
    }
}

/// Bytes of memory, in whole mebibytes.
pub(super) fn memory(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

/// Seconds, in the two largest units.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h{}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A count, in few letters.
pub(super) fn count(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => format!("{:.1}k", number as f64 / 1e3),
        _ => format!("{:.1}M", number as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        let times = [0.04, 9.9, 10.4, 999.4, 1_000.0, 59_900.0, 61_000.0, 90_061_000.0].map(took);
        assert_eq!(times, ["0.0ms", "9.9ms", "10ms", "999ms", "1.0s", "59.9s", "1m", "1d1h"]);
        assert_eq!([0, 999, 1_000, 32 << 20, 3 << 30].map(size), ["0B", "999B", "1.0K", "32.0M", "3.0G"]);
        assert_eq!([9_999, 10_500, 2_500_000].map(count), ["9999", "10.5k", "2.5M"]);
    }
}
