//! Lines and paragraphs of a text, as the peers cut them.

/// Python's `splitlines`: at every line end of Unicode and some control characters, `\r\n` as one; no last empty line.
pub(super) fn python_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((at, end)) = rest.char_indices().find(|(_, c)| is_line_end(*c)) else {
            return Some(std::mem::take(&mut rest));
        };
        let line = rest.get(..at).unwrap_or_default();
        let tail = rest.get(at..).unwrap_or_default();
        let ended = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(end));
        rest = ended.unwrap_or_default();
        Some(line)
    })
}

fn is_line_end(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What lies between runs of at least `least` line feeds; the ends of the text are such bounds only where a run stands.
pub(super) fn between_line_feeds(text: &str, least: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest.take()?;
        let mut from = 0;
        while let Some(at) =
            whole.get(from..).and_then(|tail| memchr::memchr(b'\n', tail.as_bytes())).map(|at| at + from)
        {
            let tail = whole.get(at..).unwrap_or_default();
            let run = tail.len() - tail.trim_start_matches('\n').len();
            if run >= least {
                rest = tail.get(run..);
                return whole.get(..at);
            }
            from = at + run;
        }
        Some(whole)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<&str> {
        python_lines(text).collect()
    }

    fn between(text: &str, least: usize) -> Vec<&str> {
        between_line_feeds(text, least).collect()
    }

    #[test]
    fn splitlines_knows_ten_line_ends() {
        assert_eq!(lines("a\r\nb\rc\nd\u{b}e\u{85}f\u{2028}"), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(lines("\n\n"), ["", ""]);
        assert!(lines("").is_empty());
    }

    #[test]
    fn runs_of_line_feeds_are_one_bound() {
        assert_eq!(between("\na\n\n\nb\n", 1), ["", "a", "b", ""]);
        assert_eq!(between("a\nb\n\nc", 2), ["a\nb", "c"]);
        assert_eq!(between("", 1), [""]);
    }
}
