//! Numbers and tables for people, without colour.

use std::io::{self, Write};

/// `1234567` as `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Bytes in the largest binary unit that keeps the number at least 1: `1.5 MiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = number as f64;
    let mut unit = "B";
    for larger in UNITS {
        if scaled < 1024.0 {
            break;
        }
        scaled /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{number} B") } else { format!("{scaled:.1} {unit}") }
}

/// The share of `part` in `whole` in percent; a part that is not nothing never shows as 0.0 %.
pub fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    if part > 0 && percent < 0.05 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") }
}

/// `part / whole` with one decimal; `-` where there is nothing to divide by.
pub fn mean(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1}", part as f64 / whole as f64) }
}

/// The name with its number: `1 file`, `2 files`.
pub fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Text on one line of at most `chars_max` characters: control characters escaped, the rest cut with an ellipsis.
pub fn one_line(text: &str, chars_max: usize) -> String {
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        if index >= chars_max {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Columns by the widths of their cells; the columns marked so are aligned to the right.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
    right: Vec<usize>,
}

impl Table {
    /// An empty table whose columns `right` hold numbers.
    pub fn new(right: &[usize]) -> Table {
        Table { rows: Vec::new(), right: right.to_vec() }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }

    /// Adds a row whose cells are not known by number.
    pub fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines of the table, columns two spaces apart, without blanks at the ends.
    pub fn lines(&self) -> Vec<String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|c| display_width(c)).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        self.rows.iter().map(|row| self.line(row, &widths)).collect()
    }

    fn line(&self, row: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width.saturating_sub(display_width(cell)));
            let (before, after) =
                if self.right.contains(&column) { (padding, String::new()) } else { (String::new(), padding) };
            line.push_str(if column > 0 { "  " } else { "" });
            line.push_str(&before);
            line.push_str(cell);
            line.push_str(&after);
        }
        line.trim_end().to_owned()
    }

    /// Writes the lines, each after `indent`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&self, out: &mut dyn Write, indent: &str) -> io::Result<()> {
        self.lines().iter().try_for_each(|line| writeln!(out, "{indent}{line}"))
    }
}

/// Terminal cells a text takes: two for the wide East Asian blocks, so that tables with Chinese names stay aligned.
fn display_width(text: &str) -> usize {
    text.chars().map(|character| if is_wide(character) { 2 } else { 1 }).sum()
}

fn is_wide(character: char) -> bool {
    matches!(u32::from(character), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF
        | 0xFE30..=0xFE4F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x1F300..=0x1FAFF | 0x20000..=0x3FFFD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(594_705), "594,705");
        assert_eq!(count(1_000_000), "1,000,000");
    }

    #[test]
    fn bytes_take_the_largest_unit() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn a_small_share_is_not_shown_as_nothing() {
        assert_eq!(share(1, 1_000_000), "< 0.1 %");
        assert_eq!(share(0, 10), "0.0 %");
        assert_eq!(share(1, 0), "-");
    }

    #[test]
    fn a_line_break_in_a_value_does_not_break_the_line() {
        assert_eq!(one_line("a\nb\tc", 10), "a\\nb\\tc");
        assert_eq!(one_line("abcdef", 3), "abc…");
    }

    #[test]
    fn columns_are_aligned_by_what_a_terminal_shows() {
        let mut table = Table::new(&[1]);
        table.row(["文件", "9"]);
        table.row(["file", "10"]);
        assert_eq!(table.lines(), ["文件   9", "file  10"]);
    }
}
