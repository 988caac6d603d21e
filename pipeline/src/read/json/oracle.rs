//! The parser accepts exactly what serde_json accepts, less duplicate keys, deep nesting and lines that are no object.

use std::collections::HashSet;
use std::fmt;

use proptest::prelude::*;
use schemas::config::Read;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::super::options::Options;
use super::Parser;
use crate::record::Records;

/// A value that is only checked; whether it is an object.
struct Checked(bool);

struct Check;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = Checked;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked(false))
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked(false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Checked, A::Error> {
        while elements.next_element::<Checked>()?.is_some() {}
        Ok(Checked(false))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Checked, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = members.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom("duplicate key"));
            }
            members.next_value::<Checked>()?;
        }
        Ok(Checked(true))
    }
}

fn oracle(line: &str) -> bool {
    serde_json::from_str::<Checked>(line).is_ok_and(|Checked(object)| object)
}

fn ours(line: &str) -> bool {
    let options = Options::from_config(&Read { max_depth: 1 << 20, ..Read::default() }).unwrap();
    Parser::new(&options).object(line.as_bytes(), &mut Records::default()).is_ok()
}

/// Pieces of which JSON, and what is nearly JSON, is made.
fn piece() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\"a\":",
        "\"b\":",
        "\"\\u0061\":",
        "\"text\":\"x\"",
        "{}",
        "[]",
        "true",
        "false",
        "null",
        "nul",
        "NaN",
        "-Infinity",
        "0",
        "-0",
        "01",
        "1.",
        ".5",
        "1e5",
        "1E+400",
        "-1e-400",
        "9223372036854775808",
        "\\n",
        "\\u",
        "\\ud83d",
        "\\udc69",
        "\\ud83d\\udc69",
        "\\x",
        "\u{1}",
        "\u{7f}",
        "\n",
        "\r",
        "\t",
        " ",
        "\u{a0}",
        "\u{feff}",
        "好",
        "\u{2028}",
        "\"long enough for a whole vector of bytes\"",
    ]);
    prop_oneof![9 => fixed.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn valid_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

    #[test]
    fn pieces_in_any_order_are_judged_alike(pieces in prop::collection::vec(piece(), 0..12)) {
        let line = format!("{{{}}}", pieces.concat());
        prop_assert_eq!(ours(&line), oracle(&line), "{:?}", line);
        let line = format!("{{\"x\":{}}}", pieces.concat());
        prop_assert_eq!(ours(&line), oracle(&line), "{:?}", line);
    }

    #[test]
    fn valid_json_with_one_piece_put_in_is_judged_alike(
        value in valid_value(), put in piece(), place in any::<prop::sample::Index>(), cut in 0..3_usize,
    ) {
        let whole = format!("{{\"x\":{value}}}");
        prop_assert!(ours(&whole), "{:?}", whole);
        let characters: Vec<char> = whole.chars().collect();
        let place = place.index(characters.len());
        let head: String = characters.iter().take(place).collect();
        let tail: String = characters.iter().skip(place + cut).collect();
        let line = format!("{head}{put}{tail}");
        prop_assert_eq!(ours(&line), oracle(&line), "{:?}", line);
    }

    #[test]
    fn strings_are_unescaped_as_serde_json_does(text in any::<String>()) {
        let line = format!("{{\"x\":{}}}", serde_json::to_string(&text).unwrap());
        let options = Options::from_config(&Read::default()).unwrap();
        let mut records = Records::default();
        Parser::new(&options).object(line.as_bytes(), &mut records).unwrap();
        prop_assert_eq!(records.str(records.fields[0].value), text);
    }
}
