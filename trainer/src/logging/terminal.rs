//! A run in the terminal: the loss as a curve of dots, and the last numbers.

use super::History;

/// Rows of braille cells.
const ROWS: usize = 12;

/// One picture of a run.
pub struct Frame<'a> {
    /// What it has logged.
    pub history: &'a History,
    /// Characters of a line.
    pub columns: usize,
}

/// The mean of the values that fall into each of `count` equal parts of the steps; none where a part has no value.
fn bucketed(series: &[(u64, f64)], count: usize) -> Vec<Option<f64>> {
    let (Some(first), Some(last)) = (series.first(), series.last()) else { return vec![None; count] };
    let span = (last.0 - first.0 + 1) as u128;
    let mut sums = vec![(0f64, 0u32); count];
    for (step, value) in series.iter().filter(|(step, value)| value.is_finite() && *step >= first.0) {
        let index = (u128::from(step - first.0) * count as u128 / span) as usize;
        if let Some(sum) = sums.get_mut(index) {
            *sum = (sum.0 + value, sum.1 + 1);
        }
    }
    sums.into_iter().map(|(sum, n)| (n > 0).then(|| sum / f64::from(n))).collect()
}

/// The dot of a braille cell at column `x` (of 2) and row `y` (of 4).
fn dot(x: usize, y: usize) -> u32 {
    [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]][x % 2][y % 4]
}

/// A curve of `columns` x `rows` braille characters.
fn curve(series: &[(u64, f64)], columns: usize, rows: usize) -> Vec<String> {
    let values = bucketed(series, columns * 2);
    let known = || values.iter().flatten().copied();
    let (low, high) = (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
    let span = (high - low).max(1e-9);
    let mut cells = vec![vec![0u32; columns]; rows];
    for (x, value) in values.iter().enumerate().filter_map(|(x, value)| Some((x, (*value)?))) {
        let y = ((high - value) / span * (rows * 4 - 1) as f64).round() as usize;
        if let Some(cell) = cells.get_mut(y / 4).and_then(|row| row.get_mut(x / 2)) {
            *cell |= dot(x, y);
        }
    }
    let character = |dots: &u32| char::from_u32(0x2800 + dots).unwrap_or(' ');
    let label = |row: usize| match row {
        0 => format!("{high:8.4} "),
        row if row + 1 == rows => format!("{low:8.4} "),
        _ => " ".repeat(9),
    };
    cells.iter().enumerate().map(|(row, dots)| label(row) + &dots.iter().map(character).collect::<String>()).collect()
}

impl Frame<'_> {
    /// The lines of the picture.
    pub fn lines(&self) -> Vec<String> {
        let Some((step, loss)) = self.history.last("loss") else { return vec!["no step yet".to_owned()] };
        let mut lines = curve(self.history.series("loss"), self.columns.saturating_sub(10).clamp(20, 160), ROWS);
        let mut numbers = format!("step {step}  loss {loss:.4}");
        if let Some((at, val_loss)) = self.history.last("val_loss") {
            numbers += &format!("  val_loss {val_loss:.4} (step {at})");
        }
        for (name, digits) in [("lr", 6), ("grad_norm", 3), ("tokens_per_s", 0)] {
            if let Some((_, value)) = self.history.last(name) {
                numbers += &format!("  {name} {value:.digits$}");
            }
        }
        lines.push(numbers);
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_falling_loss_goes_from_the_upper_left_to_the_lower_right() {
        let series: Vec<(u64, f64)> = (1..=40).map(|step| (step, 5.0 - step as f64 / 10.0)).collect();
        let lines = curve(&series, 10, 3);
        let ink = |row: usize| lines[row].chars().skip(9).position(|c| c != '\u{2800}').unwrap();
        assert!(ink(0) < ink(1) && ink(1) < ink(2));
        assert!(lines[0].starts_with("  4.8500") && lines[2].starts_with("  1.0500"), "{lines:?}");
    }

    #[test]
    fn nothing_one_value_and_no_number_are_drawn() {
        for series in [vec![], vec![(7, 1.0)], vec![(1, f64::NAN), (2, 1.0)]] {
            assert_eq!(curve(&series, 5, 2).len(), 2);
        }
        assert_eq!(Frame { history: &History::default(), columns: 0 }.lines(), ["no step yet"]);
    }
}
