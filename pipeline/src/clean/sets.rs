//! `--clean STEPS`: names of steps and of sets of steps, separated by commas.

use schemas::config::CleanStep;

use super::error::Error;

/// Sets of steps by name, each in the order in which it is taken.
const SETS: [(&str, &[CleanStep]); 4] = [
    (
        "usual",
        &[
            CleanStep::Mojibake,
            CleanStep::Nfc,
            CleanStep::Controls,
            CleanStep::Html,
            CleanStep::Punctuation,
            CleanStep::Whitespace,
        ],
    ),
    (
        "web",
        &[
            CleanStep::Mojibake,
            CleanStep::Nfc,
            CleanStep::Controls,
            CleanStep::Html,
            CleanStep::Urls,
            CleanStep::Boilerplate,
            CleanStep::Advertisements,
            CleanStep::CutEnd,
            CleanStep::Punctuation,
            CleanStep::Whitespace,
        ],
    ),
    ("privacy", &[CleanStep::Emails, CleanStep::IdNumbers, CleanStep::BankCards, CleanStep::Phones, CleanStep::Ips]),
    ("chinese", &[CleanStep::Width, CleanStep::Units, CleanStep::Simplified]),
];

/// Pairs that would never come to rest.
const CONTRADICTIONS: [(CleanStep, CleanStep); 4] = [
    (CleanStep::Simplified, CleanStep::Traditional),
    (CleanStep::Halfwidth, CleanStep::ZhPunctuation),
    (CleanStep::Nfkc, CleanStep::ZhPunctuation),
    (CleanStep::Nfc, CleanStep::Nfkc),
];

/// Steps by names of steps and sets, each once. Where sets are mixed, steps are taken in the order of
/// [`CleanStep::ALL`]; a list of steps alone keeps its own.
///
/// # Errors
/// [`Error::Unknown`], [`Error::Contradiction`].
pub fn parse(names: &str) -> Result<Vec<CleanStep>, Error> {
    let mut steps: Vec<CleanStep> = Vec::new();
    let mut any_set = false;
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none") {
        let set = SETS.iter().find(|(known, _)| *known == name);
        any_set |= set.is_some();
        match set {
            Some((_, set)) => steps.extend_from_slice(set),
            None => steps.push(by_name(name)?),
        }
    }
    if any_set {
        steps.sort_by_key(|step| CleanStep::ALL.iter().position(|known| known == step));
    }
    let mut once = Vec::new();
    for step in steps {
        if !once.contains(&step) {
            once.push(step);
        }
    }
    check(&once)?;
    Ok(once)
}

fn by_name(name: &str) -> Result<CleanStep, Error> {
    let found = CleanStep::ALL.into_iter().find(|step| step.name() == name);
    found.ok_or_else(|| Error::Unknown { step: name.to_owned() })
}

/// Refuses steps that undo each other.
///
/// # Errors
/// [`Error::Contradiction`].
pub fn check(steps: &[CleanStep]) -> Result<(), Error> {
    match CONTRADICTIONS.iter().find(|(first, second)| steps.contains(first) && steps.contains(second)) {
        Some((first, second)) => Err(Error::Contradiction { first: first.name(), second: second.name() }),
        None => Ok(()),
    }
}

pub(super) fn step_names() -> String {
    CleanStep::ALL.map(CleanStep::name).join(", ")
}

pub(super) fn set_names() -> String {
    SETS.map(|(name, _)| name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_steps_mix_in_one_order() {
        let steps = parse("privacy, html,whitespace,controls").unwrap();
        let names: Vec<_> = steps.into_iter().map(CleanStep::name).collect();
        let expected = ["controls", "html", "emails", "id_numbers", "bank_cards", "phones", "ips", "whitespace"];
        assert_eq!(names, expected);
        assert_eq!(parse("whitespace,html").unwrap(), [CleanStep::Whitespace, CleanStep::Html]);
    }

    #[test]
    fn every_step_has_one_name() {
        for step in CleanStep::ALL {
            assert_eq!(serde_json::to_value(step).unwrap(), step.name());
            assert_eq!(parse(step.name()).unwrap(), [step]);
        }
        assert!(matches!(parse("htlm"), Err(Error::Unknown { .. })));
    }

    #[test]
    fn steps_that_undo_each_other_are_refused() {
        assert!(matches!(parse("simplified,traditional"), Err(Error::Contradiction { .. })));
    }
}
