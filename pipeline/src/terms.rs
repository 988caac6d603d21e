//! [`Terms`]: columns that tell which group of words a text is about (gender, ethnicity, occupation, any the user has).
//!
//! The value is the group of whose words most occur; `mixed` where several have most, null where none occurs. A word that
//! begins or ends with an ASCII letter or digit is found as a whole word only, Chinese words anywhere.

use std::collections::BTreeMap;

use crate::clean::lists;
use crate::clean::words::Words;
use crate::error::Error;
use crate::record::{NewColumn, Records};

/// The value where several groups have most words.
pub const MIXED: &str = "mixed";

/// The columns of the section `[terms]`.
#[derive(Debug, Default)]
pub struct Terms(Vec<(String, Vec<(String, Words)>)>);

impl Terms {
    /// Reads the lists.
    ///
    /// # Errors
    /// A list that cannot be read; a column without one.
    pub fn from_config(config: &BTreeMap<String, BTreeMap<String, String>>) -> Result<Terms, Error> {
        let group = |column: &str, (name, path): (&String, &String)| -> Result<(String, Words), Error> {
            let words = Words::new(&lists::read(path)?);
            let words = words.map_err(|error| Error::usage(&format!("terms.{column}"), error.to_string(), ""))?;
            Ok((name.clone(), words))
        };
        let column = |(name, groups): (&String, &BTreeMap<String, String>)| -> Result<_, Error> {
            if groups.is_empty() {
                return Err(Error::usage(&format!("terms.{name}"), "expected a list for each value, found none", ""));
            }
            Ok((name.clone(), groups.iter().map(|of| group(name, of)).collect::<Result<Vec<_>, _>>()?))
        };
        config.iter().map(column).collect::<Result<_, _>>().map(Terms)
    }

    /// Adds the columns, where documents have none.
    pub fn apply(&self, records: &mut Records) {
        let value = |groups: &[(String, Words)], text: &str| -> Option<String> {
            let counts: Vec<usize> = groups.iter().map(|(_, words)| words.find(text).count()).collect();
            let most = counts.iter().copied().max().filter(|most| *most > 0)?;
            let mut best = groups.iter().zip(&counts).filter(|(_, count)| **count == most).map(|((name, _), _)| name);
            let first = best.next()?;
            Some(if best.next().is_some() { MIXED.to_owned() } else { first.clone() })
        };
        let column = |(name, groups): &(String, Vec<(String, Words)>)| {
            let texts = records.documents.iter().map(|document| records.str(document.text));
            NewColumn { name: name.clone(), values: texts.map(|text| value(groups, text)).collect() }
        };
        let columns: Vec<NewColumn> = self.0.iter().map(column).collect();
        records.fill_columns(&columns);
    }
}
