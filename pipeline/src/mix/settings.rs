//! [`Mix`]: the section `[mix]`, checked, and which group a document is in.

use std::collections::BTreeMap;

use schemas::config;

use super::cut::Cut;
use super::hash::bound;
use crate::error::Error;

/// The key of all values that are not named.
pub const OTHERS: &str = "*";
/// The column that is the input's path.
pub const SOURCE: &str = "source";
/// What a document without a value is called.
pub const NULL: &str = "null";

const GROUPS_MAX: usize = 256;
const COPIES_MAX: u32 = 1_000;

/// What is asked of the groups.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// Nothing: documents stay as they are.
    None,
    /// How often a document occurs, by group.
    Weights(Vec<f64>),
    /// Most tokens, by group; None: all there are.
    Tokens(Vec<Option<u64>>),
    /// Shares of the tokens, by group, and the tokens in all.
    Shares(Vec<f64>, Option<u64>),
}

/// The section `[mix]`, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// Column whose values are weighed.
    pub by: Option<String>,
    /// Names of the groups; the last is [`OTHERS`]. Empty where nothing is weighed.
    pub groups: Vec<String>,
    /// What is asked of them.
    pub goal: Goal,
    /// Most times a document occurs.
    pub max_copies: u32,
    /// Seed of the hashes.
    pub seed: u64,
    /// Bounds of the hash up to which the subset takes documents, one a step; None: all.
    pub steps: Vec<Option<u64>>,
    patterns: Vec<(glob::Pattern, usize)>,
}

impl Mix {
    /// Checks the section.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the key.
    pub fn from_config(config: &config::Mix) -> Result<Mix, Error> {
        let refuse = |key: &str, detail: String, hint: &str| Err(Error::usage(key, detail, hint));
        if !(1..=COPIES_MAX).contains(&config.max_copies) {
            let found = config.max_copies;
            return refuse("mix.max_copies", format!("expected 1 to {COPIES_MAX}, found {found}"), "");
        }
        let names: Vec<&String> = [
            &config.weights.keys().collect::<Vec<_>>()[..],
            &config.tokens.keys().collect::<Vec<_>>(),
            &config.shares.keys().collect::<Vec<_>>(),
        ]
        .concat();
        let given = [!config.weights.is_empty(), !config.tokens.is_empty(), !config.shares.is_empty()];
        match (given.iter().filter(|given| **given).count(), &config.by) {
            (0, None) | (1, Some(_)) => {}
            (0, Some(_)) => {
                let hint = "give weights, tokens or shares of its values";
                return refuse("mix.by", "a column is named, and nothing is asked of it".to_owned(), hint);
            }
            (1, None) => return refuse("mix.by", "expected the column to mix by, found none".to_owned(), ""),
            _ => return refuse("mix", "expected one of weights, tokens and shares, found more".to_owned(), ""),
        }
        if config.total_tokens.is_some() && config.shares.is_empty() {
            return refuse("mix.total_tokens", "goes with mix.shares".to_owned(), "");
        }
        let mut groups: Vec<String> = names.iter().map(|name| (*name).clone()).filter(|name| name != OTHERS).collect();
        if groups.len() > GROUPS_MAX {
            return refuse("mix", format!("expected at most {GROUPS_MAX} values, found {}", groups.len()), "");
        }
        let mut patterns = Vec::new();
        if config.by.as_deref() == Some(SOURCE) {
            for (index, name) in groups.iter().enumerate() {
                match glob::Pattern::new(name) {
                    Ok(pattern) => patterns.push((pattern, index)),
                    Err(error) => return refuse("mix", format!("{name:?} is no pattern of paths: {error}"), ""),
                }
            }
        }
        if config.by.is_some() {
            groups.push(OTHERS.to_owned());
        }
        Ok(Mix {
            by: config.by.clone(),
            goal: goal(config, &groups)?,
            groups,
            max_copies: config.max_copies,
            seed: config.seed,
            steps: steps(config)?,
            patterns,
        })
    }

    /// Whether anything is asked for.
    pub fn is_on(&self) -> bool {
        self.by.is_some() || self.has_subset()
    }

    /// Whether only a subset is written, or one is the whole to be grown into.
    pub fn has_subset(&self) -> bool {
        !self.steps.is_empty()
    }

    /// Whether tokens must be counted before documents are chosen.
    pub fn needs_counts(&self) -> bool {
        matches!(self.goal, Goal::Tokens(_) | Goal::Shares(..))
    }

    /// The group of a value; for [`SOURCE`] of a path.
    pub fn group_of(&self, value: &str) -> usize {
        let named = self.groups.iter().position(|group| group == value);
        let matched = || self.patterns.iter().find(|(pattern, _)| pattern.matches(value)).map(|(_, index)| *index);
        named.or_else(matched).unwrap_or(self.groups.len().saturating_sub(1))
    }

    /// The step of the subset at which a document comes in; None where it is beyond it.
    pub fn step_of(&self, hash: u64) -> Option<usize> {
        match self.steps.is_empty() {
            true => Some(0),
            false => self.steps.iter().position(|bound| bound.is_none_or(|bound| hash < bound)),
        }
    }

    /// How often documents occur by group, from what each group has; `None` where that must be counted first.
    pub fn cuts_of_weights(&self) -> Option<Vec<Cut>> {
        match &self.goal {
            Goal::None => Some(vec![Cut::ALL]),
            Goal::Weights(weights) => Some(weights.iter().map(|weight| Cut::of_weight(*weight)).collect()),
            Goal::Tokens(_) | Goal::Shares(..) => None,
        }
    }

    /// How often documents occur, from the tokens of each group by ranges of the hash.
    ///
    /// # Errors
    /// A value that has a share and no document.
    pub fn cuts_of_tokens(&self, tokens: &[Vec<u64>]) -> Result<Vec<Cut>, Error> {
        let wanted = self.wanted(&tokens.iter().map(|ranges| ranges.iter().sum()).collect::<Vec<u64>>())?;
        let cut = |(wanted, ranges): (Option<u64>, &Vec<u64>)| {
            wanted.map_or(Cut::ALL, |wanted| Cut::of_budget(wanted, ranges, self.max_copies))
        };
        Ok(wanted.into_iter().zip(tokens).map(cut).collect())
    }

    /// Tokens wanted of each group that has so many; None: all there are.
    ///
    /// # Errors
    /// A value that has a share and no document.
    pub fn wanted(&self, found: &[u64]) -> Result<Vec<Option<u64>>, Error> {
        match &self.goal {
            Goal::None | Goal::Weights(_) => Ok(vec![None; found.len()]),
            Goal::Tokens(tokens) => Ok(tokens.clone()),
            Goal::Shares(shares, total) => {
                let sum: f64 = shares.iter().sum();
                let parts: Vec<f64> = shares.iter().map(|share| share / sum).collect();
                for ((part, found), group) in parts.iter().zip(found).zip(&self.groups) {
                    if *part > 0.0 && *found == 0 {
                        let by = self.by.as_deref().unwrap_or_default();
                        let detail = format!("a share of {by}={group} is asked for, and no document of it was kept");
                        return Err(Error::usage("mix.shares", detail, "take it out, or give it the share 0"));
                    }
                }
                let most = parts.iter().zip(found).filter(|(part, _)| **part > 0.0);
                let most = most.map(|(part, found)| *found as f64 / part).fold(f64::INFINITY, f64::min);
                let total = total.map_or(most, |total| total as f64);
                // A product of a share and what it was derived from must not lose a token to rounding.
                Ok(parts.iter().map(|part| Some((part * total + 1e-6) as u64)).collect())
            }
        }
    }
}

fn goal(config: &config::Mix, groups: &[String]) -> Result<Goal, Error> {
    let of = |map: &BTreeMap<String, f64>, key: &str, other: f64, most: f64| -> Result<Vec<f64>, Error> {
        let value = |group: &String| match map.get(group).copied().unwrap_or(other) {
            value if (0.0..=most).contains(&value) => Ok(value),
            value => {
                let detail = format!("{group}: expected a number from 0 to {most}, found {value}");
                Err(Error::usage(key, detail, "mix.max_copies bounds how often a document occurs"))
            }
        };
        groups.iter().map(value).collect()
    };
    if !config.weights.is_empty() {
        return Ok(Goal::Weights(of(&config.weights, "mix.weights", 1.0, f64::from(config.max_copies))?));
    }
    if !config.tokens.is_empty() {
        return Ok(Goal::Tokens(groups.iter().map(|group| config.tokens.get(group).copied()).collect()));
    }
    if config.shares.is_empty() {
        return Ok(Goal::None);
    }
    let shares = of(&config.shares, "mix.shares", 0.0, 1e12)?;
    match shares.iter().sum::<f64>() > 0.0 {
        true => Ok(Goal::Shares(shares, config.total_tokens)),
        false => Err(Error::usage("mix.shares", "expected a share above 0, found none", "")),
    }
}

fn steps(config: &config::Mix) -> Result<Vec<Option<u64>>, Error> {
    let Some(subset) = config.subset else { return Ok(Vec::new()) };
    let steps = &config.subset_steps;
    let shown = steps.iter().map(f64::to_string).collect::<Vec<_>>().join(", ");
    let ascending = steps.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
    if !ascending || steps.iter().any(|step| !(*step > 0.0 && *step <= 1.0)) {
        let detail = format!("expected ascending shares above 0, at most 1, found {shown}");
        return Err(Error::usage("mix.subset_steps", detail, ""));
    }
    match steps.iter().position(|step| *step == subset) {
        Some(last) => Ok(steps.iter().take(last + 1).map(|step| bound(*step)).collect()),
        None => Err(Error::usage(
            "--subset",
            format!("expected one of {shown}, found {subset}"),
            "mix.subset_steps names the shares; a dataset of one begins with that of the one before",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> config::Mix {
        toml::from_str(text).unwrap()
    }

    fn refused(text: &str) -> String {
        Mix::from_config(&config(text)).unwrap_err().to_string()
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(refused("by = 'lang'").contains("nothing is asked of it"));
        assert!(refused("weights = { zh = 1 }").contains("the column to mix by"));
        assert!(refused("by = 'lang'\nweights = { zh = 1 }\ntokens = { zh = 1 }").contains("found more"));
        assert!(refused("by = 'lang'\nweights = { zh = 17 }").contains("from 0 to 16"));
        assert!(refused("by = 'lang'\nweights = { zh = nan }").contains("NaN"));
        assert!(refused("by = 'lang'\nshares = { zh = 0 }").contains("above 0"));
        assert!(refused("total_tokens = 5").contains("mix.shares"));
        assert!(refused("subset = 0.2").contains("expected one of 0.1, 0.3, 1"));
        assert!(refused("subset = 0.2\nsubset_steps = [0.2, 0.2]").contains("ascending"));
        assert!(refused("by = 'source'\nweights = { 'a***' = 1 }").contains("pattern"));
    }

    #[test]
    fn shares_without_a_total_repeat_nothing() {
        let mix = Mix::from_config(&config("by = 'lang'\nshares = { zh = 3, en = 1 }")).unwrap();
        assert_eq!(mix.groups, ["en", "zh", "*"]);
        assert_eq!(mix.wanted(&[100, 600, 50]).unwrap(), [Some(100), Some(300), Some(0)]);
        assert!(mix.wanted(&[0, 600, 50]).unwrap_err().to_string().contains("lang=en"));
    }

    #[test]
    fn a_source_may_be_a_pattern_and_a_path_goes_before_it() {
        let mix = Mix::from_config(&config("by = 'source'\nweights = { 'zh/*' = 2, 'zh/a.jsonl' = 0 }")).unwrap();
        let name = |path| mix.groups[mix.group_of(path)].as_str();
        assert_eq!((name("zh/a.jsonl"), name("zh/b.jsonl"), name("en/b.jsonl")), ("zh/a.jsonl", "zh/*", "*"));
    }

    #[test]
    fn each_step_holds_the_one_before() {
        let mix = |subset| Mix::from_config(&config(&format!("subset = {subset}"))).unwrap();
        for hash in (0..100).map(|part| u64::MAX / 100 * part) {
            match mix(0.1).step_of(hash) {
                Some(step) => assert_eq!(mix(0.3).step_of(hash), Some(step)),
                None => assert_ne!(mix(0.3).step_of(hash), Some(0)),
            }
            assert!(mix(1.0).step_of(hash).is_some());
        }
    }
}
