//! Lines for people, events for machines.

use std::io::Write;
use std::time::Duration;

/// Prints an event as one line of JSON on stdout.
pub fn event(value: &serde_json::Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join(",")
}

/// `3725 s` as `1h02m`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(["0", "999", "1,000", "26,878,464"], [0, 999, 1000, 26_878_464].map(grouped)[..]);
    }

    #[test]
    fn durations_show_two_units() {
        let seconds = |s| duration(Duration::from_secs(s));
        assert_eq!(["59s", "1m05s", "1h02m"], [59, 65, 3725].map(seconds)[..]);
    }
}
