//! [`Lists`]: documents that go by where they come from or by the words in them: block lists of domains, addresses and
//! words, lists of words of which one is required, lists of licences and inputs that are allowed.

use schemas::config;
use xxhash_rust::xxh3::xxh3_64;

use super::address::{host_and_rest, normal_address, normal_host};
use super::columns::shorten;
use crate::clean::lists;
use crate::clean::words::Words;
use crate::error::Error;
use crate::record::{Document, Records};
use crate::sources::{LICENSE, pattern};

/// Lists, read.
#[derive(Debug, Default)]
pub struct Lists {
    url_column: String,
    block_domains: Option<Hashes>,
    block_urls: Option<Hashes>,
    block_prefixes: Vec<String>,
    block_keywords: Option<Words>,
    require_keywords: Option<Words>,
    allow_licenses: Vec<String>,
    allow_sources: Vec<(glob::Pattern, String)>,
}

/// A rule that a document fails, and the value that decided.
pub type Failed = (&'static str, String);

/// 64-bit hashes of entries, sorted: ten million domains take 80 MB.
#[derive(Debug)]
struct Hashes(Vec<u64>);

impl Hashes {
    fn new(entries: impl Iterator<Item = String>) -> Hashes {
        let mut hashes: Vec<u64> = entries.map(|entry| xxh3_64(entry.as_bytes())).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Hashes(hashes)
    }

    fn has(&self, entry: &str) -> bool {
        self.0.binary_search(&xxh3_64(entry.as_bytes())).is_ok()
    }
}

impl Lists {
    /// Reads the lists of the section `[filter]`.
    ///
    /// # Errors
    /// A list that cannot be read or is empty; a pattern that is none.
    pub fn from_config(config: &config::Filter) -> Result<Lists, Error> {
        let read = |path: &Option<String>| path.as_deref().map(lists::read).transpose();
        let words = |key: &str, path: &Option<String>| -> Result<Option<Words>, Error> {
            let Some(list) = read(path)? else { return Ok(None) };
            Words::new(&list).map(Some).map_err(|error| Error::usage(key, error.to_string(), ""))
        };
        let urls = read(&config.block_urls)?;
        let (prefixes, exact): (Vec<String>, Vec<String>) =
            urls.clone().unwrap_or_default().into_iter().partition(|entry| entry.ends_with('*'));
        let prefix = |entry: String| normal_address(entry.trim_end_matches('*'));
        Ok(Lists {
            url_column: config.url_column.clone().unwrap_or_else(|| "url".to_owned()),
            block_domains: read(&config.block_domains)?
                .map(|domains| Hashes::new(domains.iter().map(|domain| normal_host(domain.trim_start_matches("*."))))),
            block_urls: urls.map(|_| Hashes::new(exact.iter().map(|entry| normal_address(entry)))),
            block_prefixes: prefixes.into_iter().map(prefix).collect(),
            block_keywords: words("filter.block_keywords", &config.block_keywords)?,
            require_keywords: words("filter.require_keywords", &config.require_keywords)?,
            allow_licenses: config.allow_licenses.clone(),
            allow_sources: config
                .allow_sources
                .iter()
                .map(|text| Ok((pattern("filter.allow_sources", text)?, text.clone())))
                .collect::<Result<_, Error>>()?,
        })
    }

    /// Rule and value where a document goes. `source` is the path of its input.
    pub fn judge(&self, records: &Records, document: &Document, source: &str) -> Option<Failed> {
        self.judge_source(source)
            .or_else(|| self.judge_license(records, document))
            .or_else(|| self.judge_address(records, document))
            .or_else(|| self.judge_words(records, document))
    }

    fn judge_source(&self, source: &str) -> Option<Failed> {
        let allowed = |(pattern, text): &(glob::Pattern, String)| text == source || pattern.matches(source);
        let is_off = self.allow_sources.is_empty() || self.allow_sources.iter().any(allowed);
        (!is_off).then(|| ("allow_sources", format!("source={source}")))
    }

    fn judge_license(&self, records: &Records, document: &Document) -> Option<Failed> {
        if self.allow_licenses.is_empty() {
            return None;
        }
        let license = records.value_of(document, LICENSE);
        let allowed = license.is_some_and(|license| self.allow_licenses.iter().any(|known| known == license));
        (!allowed).then(|| ("allow_licenses", format!("{LICENSE}={}", license.map_or("null".to_owned(), shorten))))
    }

    fn judge_address(&self, records: &Records, document: &Document) -> Option<Failed> {
        if self.block_domains.is_none() && self.block_urls.is_none() {
            return None;
        }
        let url = records.value_of(document, &self.url_column)?;
        if let Some(domains) = &self.block_domains {
            let host = normal_host(host_and_rest(url).0);
            let above = host.match_indices('.').filter_map(|(dot, _)| host.get(dot + 1..));
            if let Some(found) = std::iter::once(host.as_str()).chain(above).find(|domain| domains.has(domain)) {
                return Some(("block_domains", found.to_owned()));
            }
        }
        let urls = self.block_urls.as_ref()?;
        let address = normal_address(url);
        let blocked = urls.has(&address) || self.block_prefixes.iter().any(|prefix| address.starts_with(prefix));
        blocked.then(|| ("block_urls", shorten(url)))
    }

    fn judge_words(&self, records: &Records, document: &Document) -> Option<Failed> {
        let text = records.str(document.text);
        let found = self.block_keywords.as_ref().and_then(|words| words.find(text).next());
        if let Some(found) = found {
            return Some(("block_keywords", text.get(found).unwrap_or_default().to_owned()));
        }
        let required = self.require_keywords.as_ref()?;
        required.find(text).next().is_none().then(|| ("require_keywords", "none".to_owned()))
    }
}
