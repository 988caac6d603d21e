//! A step made ready: its lists loaded, its placeholder at hand.

use schemas::config::{Clean, CleanStep};

use super::edit::Edited;
use super::error::Error;
use super::lines::Lines;
use super::profile::Profile;
use super::words::Words;
use super::{
    bank_cards, controls, cut_end, emails, html, id_numbers, ips, lists, markdown, mojibake, normalization, numbers,
    phones, punctuation, script, sentences, units, urls, whitespace, width,
};

/// A step made ready.
#[derive(Debug)]
pub struct Step {
    /// Its name in counts: that of the configuration, and of flagged words the category.
    pub name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// A function of the text alone, and whether it may change a text with certain bytes.
    Plain(fn(&str) -> Edited<'_>, fn(&Profile) -> bool),
    /// A function of text and placeholder.
    Replacing(for<'a> fn(&'a str, &str) -> Edited<'a>, fn(&Profile) -> bool, String),
    Lines(Lines),
    Words(Words, String),
}

impl Step {
    /// Makes the steps of a configuration ready, in order.
    ///
    /// # Errors
    /// A list that cannot be read, or is not given.
    pub fn of_config(config: &Clean) -> Result<Vec<Step>, Error> {
        let mut steps = Vec::new();
        for step in &config.steps {
            if *step == CleanStep::FlaggedWords {
                steps.extend(flagged_words(config)?);
            } else {
                steps.push(Step { name: step.name().to_owned(), kind: kind(*step, config)? });
            }
        }
        Ok(steps)
    }

    /// Whether the step may change a text with these bytes.
    pub fn applies(&self, profile: &Profile) -> bool {
        match &self.kind {
            Kind::Plain(_, applies) | Kind::Replacing(_, applies, _) => applies(profile),
            Kind::Lines(_) | Kind::Words(..) => true,
        }
    }

    /// Takes the step.
    pub fn clean<'a>(&self, text: &'a str) -> Edited<'a> {
        match &self.kind {
            Kind::Plain(clean, _) => clean(text),
            Kind::Replacing(clean, _, placeholder) => clean(text, placeholder),
            Kind::Lines(lines) => lines.clean(text),
            Kind::Words(words, placeholder) => words.clean(text, placeholder),
        }
    }
}

fn always(_: &Profile) -> bool {
    true
}

fn kind(step: CleanStep, config: &Clean) -> Result<Kind, Error> {
    let marks = &config.placeholders;
    Ok(match step {
        CleanStep::Mojibake => Kind::Plain(mojibake::clean, mojibake::applies),
        CleanStep::Nfc => Kind::Plain(normalization::nfc, always),
        CleanStep::Nfkc => Kind::Plain(normalization::nfkc, always),
        CleanStep::Controls => Kind::Plain(controls::clean, controls::applies),
        CleanStep::Html => Kind::Plain(html::clean, html::applies),
        CleanStep::Markdown => Kind::Plain(markdown::clean, markdown::applies),
        CleanStep::Width => Kind::Plain(width::width, width::applies),
        CleanStep::Halfwidth => Kind::Plain(width::halfwidth, width::applies),
        CleanStep::ZhPunctuation => Kind::Plain(width::zh_punctuation, always),
        CleanStep::Numbers => Kind::Plain(numbers::clean, numbers::applies),
        CleanStep::Units => Kind::Plain(units::clean, units::applies),
        CleanStep::Simplified => Kind::Plain(script::simplified, script::applies),
        CleanStep::Traditional => Kind::Plain(script::traditional, script::applies),
        CleanStep::Urls => Kind::Replacing(urls::clean, urls::applies, marks.url.clone()),
        CleanStep::Emails => Kind::Replacing(emails::clean, emails::applies, marks.email.clone()),
        CleanStep::IdNumbers => Kind::Replacing(id_numbers::clean, id_numbers::applies, marks.id_number.clone()),
        CleanStep::BankCards => Kind::Replacing(bank_cards::clean, bank_cards::applies, marks.bank_card.clone()),
        CleanStep::Phones => Kind::Replacing(phones::clean, phones::applies, marks.phone.clone()),
        CleanStep::Ips => Kind::Replacing(ips::clean, ips::applies, marks.ip.clone()),
        CleanStep::Boilerplate => {
            let own = config.boilerplate.as_deref().map(lists::read).transpose()?.unwrap_or_default();
            Kind::Lines(Lines::boilerplate(&own).map_err(|error| Error::list("boilerplate", error))?)
        }
        CleanStep::Advertisements => {
            Kind::Lines(Lines::advertisements().map_err(|error| Error::list("advertisements", error))?)
        }
        CleanStep::CutEnd => Kind::Plain(cut_end::clean, always),
        CleanStep::Punctuation => Kind::Plain(punctuation::clean, always),
        CleanStep::Whitespace => Kind::Plain(whitespace::clean, always),
        CleanStep::Sentences => Kind::Plain(sentences::clean, always),
        other => return Err(Error::Unknown { step: other.name().to_owned() }),
    })
}

/// One step for each category.
fn flagged_words(config: &Clean) -> Result<Vec<Step>, Error> {
    if config.flagged_words.is_empty() {
        return Err(Error::NoWords);
    }
    let step = |(category, path): (&String, &String)| {
        let words = Words::new(&lists::read(path)?).map_err(|error| Error::list(category, error))?;
        let name = format!("{}:{category}", CleanStep::FlaggedWords.name());
        Ok(Step { name, kind: Kind::Words(words, config.placeholders.flagged_word.clone()) })
    };
    config.flagged_words.iter().map(step).collect()
}
