//! `report.html`: one file that draws `report.json`; styles, script and figures are in it, nothing is fetched.

use super::figures::Figures;

const TEMPLATE: &str = include_str!("page.html");
const PLACE: &str = "/*FIGURES*/null";

/// The page of a dataset.
pub fn page(figures: &Figures) -> String {
    // Inside a script element only `<` can end it.
    let json = serde_json::to_string(figures).unwrap_or_default().replace('<', "\\u003c");
    TEMPLATE.replacen(PLACE, &json, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_has_its_place_once_and_fetches_nothing() {
        assert_eq!(TEMPLATE.matches(PLACE).count(), 1);
        for word in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!TEMPLATE.replace("http://www.w3.org/2000/svg", "").contains(word), "{word}");
        }
    }
}
