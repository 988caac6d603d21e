//! `lang` and `lang_score`: by a fastText model that the user gives, else by the embedded detector.

mod embedded;
mod fasttext;

use std::path::Path;

use super::Error;

pub(super) use fasttext::FastTextScratch;

/// What names the embedded detector in a configuration.
pub(super) const EMBEDDED: &str = embedded::NAME;

/// How languages are told.
#[derive(Debug, Default)]
pub(super) enum Detector {
    /// Without a model.
    #[default]
    Embedded,
    /// With a classifier; its labels are the languages.
    FastText(Box<fasttext::FastText>),
}

impl Detector {
    /// Loads the model of a path, or takes the embedded detector where there is none; and what the configuration of a
    /// dataset says of it.
    ///
    /// # Errors
    /// Whatever is wrong with the model.
    pub fn load(model: Option<&str>) -> Result<(Detector, String), Error> {
        match model {
            None | Some(EMBEDDED) => Ok((Detector::Embedded, EMBEDDED.to_owned())),
            Some(path) => {
                let (model, hash) = fasttext::FastText::read(Path::new(path))?;
                Ok((Detector::FastText(Box::new(model)), hash))
            }
        }
    }

    /// The language of a text and its score.
    pub fn detect(&self, text: &str, scratch: &mut FastTextScratch) -> (&str, f64) {
        match self {
            Detector::Embedded => embedded::detect(text),
            Detector::FastText(model) => {
                model.classify(text, scratch).map_or(("", 0.0), |(label, score)| (label, f64::from(score)))
            }
        }
    }
}
