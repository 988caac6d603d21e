//! The names of inputs in a dataset: short, distinct, and the same wherever the files lie.

use std::collections::HashMap;
use std::path::{Component, Path};

/// A name that can be extended by the folders around the file.
pub struct Label {
    /// Components of the absolute path.
    components: Vec<String>,
    /// How many of the last ones are the name.
    taken: usize,
}

impl Label {
    /// The last `taken` components of an absolute path.
    pub fn new(path: &Path, taken: usize) -> Label {
        let components: Vec<String> = path
            .components()
            .filter(|component| matches!(component, Component::Normal(_)))
            .map(|component| component.as_os_str().to_string_lossy().into_owned())
            .collect();
        Label { taken: taken.clamp(1, components.len().max(1)), components }
    }

    fn text(&self) -> String {
        let skipped = self.components.len().saturating_sub(self.taken);
        self.components.get(skipped..).unwrap_or_default().join("/")
    }
}

/// Extends labels that collide by parent folders until all are distinct, or nothing is left to extend by.
pub fn distinct(mut labels: Vec<Label>) -> Vec<String> {
    loop {
        let texts: Vec<String> = labels.iter().map(Label::text).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        texts.iter().for_each(|text| *counts.entry(text).or_default() += 1);
        let mut extended = false;
        for (label, text) in labels.iter_mut().zip(&texts) {
            if counts.get(text.as_str()).is_some_and(|count| *count > 1) && label.taken < label.components.len() {
                label.taken += 1;
                extended = true;
            }
        }
        if !extended {
            return texts;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_collide_are_extended_until_they_differ() {
        let label = |path: &str, taken| Label::new(Path::new(path), taken);
        let labels = vec![label("/x/zh/a.jsonl", 1), label("/x/en/a.jsonl", 1), label("/x/en/b.jsonl", 1)];
        assert_eq!(distinct(labels), ["zh/a.jsonl", "en/a.jsonl", "b.jsonl"]);
    }

    #[test]
    fn a_label_below_a_folder_keeps_the_folders_in_between() {
        assert_eq!(distinct(vec![Label::new(Path::new("/data/x/y/a.txt"), 2)]), ["y/a.txt"]);
    }
}
