//! A line chart as SVG, readable without colours and in the dark.

/// Points drawn of a line, about; more would not be seen.
const POINTS_MAX: usize = 800;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 240.0;
/// Room for the labels: left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (70.0, 12.0, 10.0, 24.0);

/// A metric over steps.
pub struct Line<'a> {
    /// Its name in the legend.
    pub name: &'a str,
    /// (step, value), in order of steps.
    pub points: &'a [(u64, f64)],
}

/// Lines with common axes.
pub struct Chart<'a> {
    /// Above it.
    pub title: &'a str,
    /// One or two.
    pub lines: Vec<Line<'a>>,
}

/// A range of numbers that has a length.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Option<Range> {
        let fold = |range: Option<Range>, value: f64| {
            let Range { low, high } = range.unwrap_or(Range { low: value, high: value });
            Some(Range { low: low.min(value), high: high.max(value) })
        };
        let Range { low, high } = values.filter(|value| value.is_finite()).fold(None, fold)?;
        let room = if high > low { 0.0 } else { high.abs().max(1e-9) * 0.05 };
        Some(Range { low: low - room, high: high + room })
    }

    fn share(self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// About four round numbers within.
    fn ticks(self) -> Vec<f64> {
        let rough = (self.high - self.low) / 4.0;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * unit).find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() as i64;
        (first..first + 8).map(|tick| tick as f64 * step).take_while(|tick| *tick <= self.high).collect()
    }
}

/// The mean of each run of neighbours, so that a line has no more points than can be seen.
fn thinned(points: &[(u64, f64)]) -> Vec<(f64, f64)> {
    let finite: Vec<(u64, f64)> = points.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let mean = |chunk: &[(u64, f64)]| {
        let count = chunk.len() as f64;
        (chunk.iter().map(|p| p.0 as f64).sum::<f64>() / count, chunk.iter().map(|p| p.1).sum::<f64>() / count)
    };
    finite.chunks(finite.len().div_ceil(POINTS_MAX).max(1)).map(mean).collect()
}

/// A number as short as it is exact enough.
fn label(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e6).contains(&size) => format!("{value:.1e}"),
        size if size >= 1000.0 => crate::cli::grouped(value as u64),
        _ => format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

impl Chart<'_> {
    /// Whether there is nothing to draw.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| line.points.is_empty())
    }

    /// The chart.
    pub fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| line.points);
        let (Some(x), Some(y)) = (Range::of(all().map(|p| p.0 as f64)), Range::of(all().map(|p| p.1))) else {
            return String::new();
        };
        let (left, right, top, bottom) = MARGIN;
        let at_x = |value: f64| left + x.share(value) * (WIDTH - left - right);
        let at_y = |value: f64| top + (1.0 - y.share(value)) * (HEIGHT - top - bottom);
        let mut svg =
            format!("<h2>{}</h2><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">", super::escaped(self.title));
        let mut add = |text: String| svg.push_str(&text);
        for tick in y.ticks() {
            let (at, end, text) = (at_y(tick), WIDTH - right, label(tick));
            add(format!("<path class=\"grid\" d=\"M{left} {at:.1}H{end}\"/>"));
            add(format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", left - 6.0, at + 4.0));
        }
        for tick in x.ticks().into_iter().filter(|tick| tick.fract() == 0.0) {
            let (at, text) = (at_x(tick), label(tick));
            add(format!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", HEIGHT - 6.0));
        }
        for (number, line) in self.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()) {
            let points = thinned(line.points).into_iter().map(|(x, y)| format!("{:.1},{:.1} ", at_x(x), at_y(y)));
            let points = points.collect::<String>();
            let name = super::escaped(line.name);
            add(format!(
                "<polyline class=\"line{number}\" points=\"{}\"><title>{name}</title></polyline>",
                points.trim_end()
            ));
            if self.lines.len() > 1 {
                let y = top + 14.0 + 16.0 * number as f64;
                add(format!(
                    "<text class=\"key{number}\" x=\"{}\" y=\"{y}\" text-anchor=\"end\">{name}</text>",
                    WIDTH - right
                ));
            }
        }
        svg + "</svg>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let ticks = |low, high| Range { low, high }.ticks();
        assert_eq!(ticks(0.3, 4.1), [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(0.0, 1000.0), [0.0, 500.0, 1000.0]);
        assert!(ticks(5.0, 5.0 + 1e-7).len() < 9);
    }

    #[test]
    fn long_lines_are_thinned_to_means() {
        let points: Vec<(u64, f64)> = (0..80_000).map(|step| (step, (step % 2) as f64)).collect();
        let thin = thinned(&points);
        assert!(thin.len() <= POINTS_MAX && thin.iter().all(|(_, value)| *value == 0.5));
    }

    #[test]
    fn values_that_are_no_numbers_leave_gaps_not_panics() {
        let points = [(1, f64::NAN), (2, 1.0), (3, f64::INFINITY)];
        let chart = Chart { title: "x", lines: vec![Line { name: "x", points: &points }] };
        assert!(chart.svg().contains("polyline"));
        let nothing = [(1, f64::NAN)];
        assert_eq!(Chart { title: "x", lines: vec![Line { name: "x", points: &nothing }] }.svg(), "");
    }

    #[test]
    fn labels_are_short() {
        assert_eq!([0.0, 0.0002, 2.5, 12_000.0, 3e9].map(label), ["0", "2.0e-4", "2.5", "12,000", "3.0e9"]);
    }
}
