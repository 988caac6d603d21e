//! Top-level AND conjuncts of an SQL expression, as the user wrote them: the rules of the ledger.
//!
//! The split needs only tokens: quotes, comments, parentheses, CASE .. END, and the AND that belongs to a BETWEEN.

/// A piece of SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or keyword without quotes.
    Word(&'a str),
    /// A quoted name, with its quotes.
    Quoted(&'a str),
    /// A string, with its quotes.
    Text(&'a str),
    /// A number.
    Number(&'a str),
    /// One other character.
    Symbol(char),
}

/// The tokens of `sql` with the byte ranges they stand at; white space and comments are skipped.
pub(super) fn tokens(sql: &str) -> Vec<(std::ops::Range<usize>, Token<'_>)> {
    let mut found = Vec::new();
    let mut start = 0;
    while let Some(rest) = sql.get(start..).filter(|rest| !rest.is_empty()) {
        let (length, token) = first_token(rest);
        let end = start + length.max(1);
        found.extend(token.map(|token| (start..end, token)));
        start = end;
    }
    found
}

fn first_token(rest: &str) -> (usize, Option<Token<'_>>) {
    let Some(first) = rest.chars().next() else { return (0, None) };
    let take = |length: usize| rest.get(..length).unwrap_or(rest);
    let while_true = |test: fn(char) -> bool| rest.find(|c| !test(c)).unwrap_or(rest.len());
    match first {
        c if c.is_whitespace() => (c.len_utf8(), None),
        '-' if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None),
        '/' if rest.starts_with("/*") => (comment_length(rest), None),
        '\'' => with_length(rest, quoted_length(rest, '\''), Token::Text),
        '"' | '`' => with_length(rest, quoted_length(rest, first), Token::Quoted),
        c if c.is_ascii_digit() => {
            let length = number_length(rest);
            (length, Some(Token::Number(take(length))))
        }
        c if is_word(c) => with_length(rest, while_true(is_word), Token::Word),
        c => (c.len_utf8(), Some(Token::Symbol(c))),
    }
}

fn with_length<'a>(rest: &'a str, length: usize, make: fn(&'a str) -> Token<'a>) -> (usize, Option<Token<'a>>) {
    (length, Some(make(rest.get(..length).unwrap_or(rest))))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@' | '#')
}

/// Length of a quoted text with its quotes; a doubled quote stands for itself.
fn quoted_length(rest: &str, quote: char) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// Length of a comment; comments nest.
fn comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while let Some(here) = rest.get(at..).filter(|here| !here.is_empty()) {
        let step = match here {
            _ if here.starts_with("/*") => {
                depth += 1;
                2
            }
            _ if here.starts_with("*/") => {
                depth -= 1;
                2
            }
            _ => here.chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Length of a number: digits, one point, an exponent.
fn number_length(rest: &str) -> usize {
    let mut previous = ' ';
    let inside = |c: char| {
        let sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E');
        previous = c;
        c.is_ascii_alphanumeric() || c == '.' || sign
    };
    let mut inside = inside;
    rest.find(|c| !inside(c)).unwrap_or(rest.len())
}

/// The top-level AND conjuncts of `sql`, without what stands around them: space, and comments that are not inside one.
/// One, if an OR stands at the top level.
pub(super) fn split(sql: &str) -> Vec<&str> {
    let (mut depth, mut cases, mut betweens) = (0_i64, 0_i64, 0_i64);
    let mut cuts = Vec::new();
    for (range, token) in tokens(sql) {
        match token {
            Token::Symbol('(' | '[' | '{') => depth += 1,
            Token::Symbol(')' | ']' | '}') => depth -= 1,
            Token::Word(word) if depth == 0 => match word.to_ascii_uppercase().as_str() {
                "CASE" => cases += 1,
                "END" => cases -= 1,
                "BETWEEN" if cases == 0 => betweens += 1,
                "AND" if cases == 0 && betweens > 0 => betweens -= 1,
                "AND" if cases == 0 => cuts.push(range),
                "OR" if cases == 0 => return vec![bare(sql)],
                _ => {}
            },
            _ => {}
        }
    }
    let starts = std::iter::once(0).chain(cuts.iter().map(|cut| cut.end));
    let ends = cuts.iter().map(|cut| cut.start).chain(std::iter::once(sql.len()));
    starts.zip(ends).map(|(start, end)| bare(sql.get(start..end).unwrap_or_default())).collect()
}

/// `sql` from its first token to its last, so that a rule is not called by the comment behind it.
fn bare(sql: &str) -> &str {
    let tokens = tokens(sql);
    let ends = tokens.first().zip(tokens.last()).map(|((first, _), (last, _))| first.start..last.end);
    ends.and_then(|range| sql.get(range)).unwrap_or(sql.trim())
}

/// `sql` with dotted names (`meta.lang`) as one quoted name each, which is how columns are called here.
pub(super) fn quote_dotted(sql: &str) -> String {
    let tokens = tokens(sql);
    let mut out = String::with_capacity(sql.len() + 16);
    let (mut copied, mut index) = (0, 0);
    while let Some((range, token)) = tokens.get(index) {
        let parts = dotted_parts(&tokens, index);
        let last = index + 2 * parts.len().saturating_sub(1);
        let called = matches!(tokens.get(last + 1), Some((_, Token::Symbol('('))));
        if parts.len() > 1 && !called && name_of(*token).is_some() {
            let end = tokens.get(last).map_or(range.end, |(range, _)| range.end);
            out.push_str(sql.get(copied..range.start).unwrap_or_default());
            out.push_str(&format!("\"{}\"", parts.join(".").replace('"', "\"\"")));
            copied = end;
        }
        index = last + 1;
    }
    out.push_str(sql.get(copied..).unwrap_or_default());
    out
}

/// The names from token `index` on that are joined by dots without space.
fn dotted_parts(tokens: &[(std::ops::Range<usize>, Token<'_>)], index: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut at = index;
    while let Some(name) = tokens.get(at).and_then(|(_, token)| name_of(*token)) {
        parts.push(name);
        let joined = match (tokens.get(at), tokens.get(at + 1), tokens.get(at + 2)) {
            (Some((name, _)), Some((dot, Token::Symbol('.'))), Some((next, _))) => {
                name.end == dot.start && dot.end == next.start
            }
            _ => false,
        };
        if !joined {
            break;
        }
        at += 2;
    }
    parts
}

fn name_of(token: Token<'_>) -> Option<String> {
    match token {
        Token::Word(word) => Some(word.to_owned()),
        Token::Quoted(quoted) => {
            let quote = quoted.get(..1)?;
            let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
            Some(inner.replace(&quote.repeat(2), quote))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conjuncts_are_as_written() {
        assert_eq!(split(" a <  1500 AND\n lang = 'en' "), ["a <  1500", "lang = 'en'"]);
        assert_eq!(split("a<1 and b>2 And c"), ["a<1", "b>2", "c"]);
    }

    #[test]
    fn the_and_of_between_does_not_split() {
        assert_eq!(
            split("a BETWEEN 1 AND 2 AND b NOT BETWEEN 3 AND 4"),
            ["a BETWEEN 1 AND 2", "b NOT BETWEEN 3 AND 4"]
        );
    }

    #[test]
    fn and_in_quotes_comments_parentheses_and_case_does_not_split() {
        for sql in [
            "a = 'x AND y'",
            "a = 'it''s AND'",
            "\"a AND b\" > 1",
            "(a AND b)",
            "a /* AND /* AND */ AND */ > 1",
            "a -- AND\n > 1",
            "CASE WHEN a AND b THEN c ELSE d END",
            "band > 1",
            "a IN (1, 2)",
        ] {
            assert_eq!(split(sql), [sql]);
        }
    }

    #[test]
    fn comments_around_a_conjunct_are_none_of_it() {
        let sql = "-- what\n    a > 1  -- AND why\nAND b /* in */ > 2 -- AND\nAND c -- last";
        assert_eq!(split(sql), ["a > 1", "b /* in */ > 2", "c"]);
        assert_eq!(split("a OR b -- why"), ["a OR b"]);
    }

    #[test]
    fn a_top_level_or_makes_one_conjunct() {
        assert_eq!(split("a AND b OR c AND d"), ["a AND b OR c AND d"]);
        assert_eq!(split("(a OR b) AND c"), ["(a OR b)", "c"]);
    }

    #[test]
    fn a_case_with_between_and_nested_case_splits_after_its_end() {
        let case = "CASE WHEN a BETWEEN 1 AND 2 THEN CASE b WHEN 1 THEN true END ELSE false END";
        assert_eq!(split(&format!("{case} AND x")), [case, "x"]);
    }

    #[test]
    fn an_open_quote_or_comment_ends_with_the_text() {
        assert_eq!(split("a = 'x AND y"), ["a = 'x AND y"]);
        assert_eq!(split("a /* AND b"), ["a"]);
    }

    #[test]
    fn dotted_names_are_quoted_and_other_dots_are_not() {
        assert_eq!(quote_dotted("meta.lang = 'a.b' AND x > 1.5"), "\"meta.lang\" = 'a.b' AND x > 1.5");
        assert_eq!(quote_dotted("a.\"b c\".d>1"), "\"a.b c.d\">1");
        assert_eq!(quote_dotted("\"a.b\" > 1e-3"), "\"a.b\" > 1e-3");
    }
}
