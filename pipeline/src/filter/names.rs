//! What a query names, by its tokens alone: which columns are worth reading.

use super::conjunct::{Token, quote_dotted, tokens};

/// Every word and quoted name of a query, keywords among them.
pub fn names_in(sql: &str) -> Vec<String> {
    let quoted = quote_dotted(sql);
    let name = |token: Token<'_>| match token {
        Token::Word(word) => Some(word.to_owned()),
        Token::Quoted(name) => Some(name.trim_matches(['"', '`']).to_owned()),
        _ => None,
    };
    tokens(&quoted).into_iter().filter_map(|(_, token)| name(token)).collect()
}

/// Whether a query selects `*`, which is neither `count(*)` nor a product.
pub fn selects_all(sql: &str) -> bool {
    let tokens: Vec<Token<'_>> = tokens(sql).into_iter().map(|(_, token)| token).collect();
    tokens.windows(2).any(|pair| match pair {
        [Token::Word(word), Token::Symbol('*')] => {
            ["select", "distinct", "all"].iter().any(|k| word.eq_ignore_ascii_case(k))
        }
        [Token::Symbol(',' | '.'), Token::Symbol('*')] => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_stars_are_found() {
        let names = names_in("SELECT a, \"b c\", meta.lang FROM documents WHERE x = 'y'");
        for name in ["a", "b c", "meta.lang", "documents", "x"] {
            assert!(names.iter().any(|found| found == name), "{name} in {names:?}");
        }
        assert!(selects_all("select * from documents") && selects_all("SELECT d.* FROM documents d"));
        assert!(!selects_all("SELECT count(*), a * 2 FROM documents"));
    }
}
