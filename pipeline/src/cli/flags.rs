//! How flags stand over a configuration.

use serde_json::json;

/// Sets a value where the flag was given.
pub(super) fn set<T>(slot: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *slot = value;
    }
}

/// A value clap has checked against the names it has in the configuration.
pub(super) fn named<T: serde::de::DeserializeOwned>(flag: Option<&String>) -> Option<T> {
    flag.and_then(|name| serde_json::from_value(json!(name)).ok())
}
