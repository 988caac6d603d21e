//! [`Sources`]: what the section `[[sources]]` declares of inputs, licence and origin.

use schemas::config::Source;

use crate::error::Error;
use crate::read::inputs::Input;
use crate::record::{NewColumn, Records};

/// Column of the licence.
pub const LICENSE: &str = "license";
/// Column of the origin.
pub const ORIGIN: &str = "origin";

/// What is declared of inputs.
#[derive(Debug, Default)]
pub struct Sources(Vec<(glob::Pattern, Source)>);

impl Sources {
    /// Reads the section.
    ///
    /// # Errors
    /// [`Error::Usage`] where a path is no pattern, or a declaration is empty.
    pub fn from_config(sources: &[Source]) -> Result<Sources, Error> {
        let pattern = |source: &Source| {
            if source.license.as_deref().is_some_and(|license| license.trim().is_empty()) {
                let detail = format!("{}: expected a licence, found none in it", source.path);
                return Err(Error::usage("sources", detail, ""));
            }
            Ok((pattern("sources", &source.path)?, source.clone()))
        };
        sources.iter().map(pattern).collect::<Result<_, _>>().map(Sources)
    }

    /// What is declared of an input: the first entry that fits.
    pub fn of(&self, label: &str) -> Option<&Source> {
        self.0.iter().find(|(pattern, source)| source.path == label || pattern.matches(label)).map(|(_, source)| source)
    }

    /// Refuses inputs without a licence.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the first ones.
    pub fn require_license(&self, inputs: &[Input]) -> Result<(), Error> {
        const SHOWN: usize = 5;
        let licensed = |label: &str| self.of(label).is_some_and(|source| source.license.is_some());
        let missing: Vec<&str> =
            inputs.iter().map(|input| input.label.as_str()).filter(|label| !licensed(label)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let shown = missing.get(..SHOWN).map_or_else(|| missing.join(", "), |some| format!("{}, ...", some.join(", ")));
        let detail = format!("{} of {} inputs declare no licence: {shown}", missing.len(), inputs.len());
        Err(Error::usage("--require-license", detail, "declare it: [[sources]] path = \"PATTERN\", license = \"...\""))
    }

    /// Gives documents of an input its licence and origin, where they have none.
    pub fn apply(&self, records: &mut Records, label: &str) {
        let Some(source) = self.of(label) else { return };
        let documents = records.documents.len();
        let column = |name: &'static str, value: &Option<String>| {
            value
                .as_ref()
                .map(|value| NewColumn { name: name.to_owned(), values: vec![Some(value.clone()); documents] })
        };
        let columns: Vec<NewColumn> =
            [column(LICENSE, &source.license), column(ORIGIN, &source.origin)].into_iter().flatten().collect();
        records.fill_columns(&columns);
    }
}

/// A pattern of paths.
///
/// # Errors
/// [`Error::Usage`] where it is none.
pub fn pattern(key: &str, text: &str) -> Result<glob::Pattern, Error> {
    glob::Pattern::new(text).map_err(|error| Error::usage(key, format!("{text:?} is no pattern of paths: {error}"), ""))
}
