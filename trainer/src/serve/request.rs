//! The body of a request for completions: OpenAI's fields, and vLLM's names for what OpenAI has not.

use serde_json::{Map, Value};

use super::http::Problem;
use crate::generate::Sampling;

/// Most of each in a request.
const PROMPTS_MAX: usize = 256;
const CHOICES_MAX: u64 = 16;
const LOGPROBS_MAX: u64 = 20;
const STOPS_MAX: usize = 16;

/// A text to continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// BOS is put before it.
    Text(String),
    /// Taken as they are.
    Ids(Vec<u32>),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// At least one.
    pub prompts: Vec<Prompt>,
    /// Continuations of each.
    pub n: u64,
    /// Most tokens to add.
    pub max_tokens: usize,
    /// How each is chosen; the seed is absent where the client leaves it to us.
    pub sampling: Sampling,
    /// Of the choices.
    pub seed: Option<u64>,
    /// Texts that end a continuation.
    pub stop: Vec<String>,
    /// Go on after the end of a document.
    pub ignore_eos: bool,
    /// Whether the prompt is part of the answer.
    pub echo: bool,
    /// Log-probabilities of each token, and of this many most likely ones.
    pub logprobs: Option<usize>,
    /// Whether to answer in events.
    pub stream: bool,
}

/// Fields that would change the text and are not there; their neutral value is accepted.
const UNSUPPORTED: [(&str, f64); 2] = [("presence_penalty", 0.0), ("frequency_penalty", 0.0)];

fn wrong<T>(field: &str, wanted: &str) -> Result<T, Problem> {
    Err(Problem::new(400, format!("{field}: {wanted}")))
}

/// The fields; null is absent.
struct Fields(Map<String, Value>);

impl Fields {
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn number(&self, name: &str, absent: f64) -> Result<f64, Problem> {
        match self.get(name).map(Value::as_f64) {
            None => Ok(absent),
            Some(Some(number)) => Ok(number),
            Some(None) => wrong(name, "must be a number"),
        }
    }

    fn whole(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        match self.get(name).map(Value::as_u64) {
            None => Ok(None),
            Some(Some(number)) if (least..=most).contains(&number) => Ok(Some(number)),
            Some(_) => wrong(name, &format!("must be a whole number from {least} to {most}")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name).map(Value::as_bool) {
            None => Ok(false),
            Some(Some(flag)) => Ok(flag),
            Some(None) => wrong(name, "must be true or false"),
        }
    }

    /// Refuses what would have to be ignored.
    fn check_supported(&self) -> Result<(), Problem> {
        for (name, neutral) in UNSUPPORTED {
            if self.number(name, neutral)? != neutral {
                return wrong(name, "is not supported; repetition_penalty is");
            }
        }
        let empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
        if self.get("logit_bias").is_some_and(|bias| !empty(bias)) {
            return wrong("logit_bias", "is not supported");
        }
        if self.get("suffix").is_some_and(|suffix| suffix != "") {
            return wrong("suffix", "is not supported");
        }
        let n = self.whole("n", 1, CHOICES_MAX)?.unwrap_or(1);
        match self.whole("best_of", 1, CHOICES_MAX)? {
            Some(best_of) if best_of != n => wrong("best_of", "is supported only where it is n"),
            _ => Ok(()),
        }
    }

    fn stop(&self) -> Result<Vec<String>, Problem> {
        let texts = match self.get("stop") {
            None => return Ok(Vec::new()),
            Some(Value::String(text)) => return Ok(vec![text.clone()]),
            Some(Value::Array(texts)) if texts.len() <= STOPS_MAX => texts,
            Some(_) => return wrong("stop", "must be a text, or a list of at most 16"),
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let all: Option<Vec<String>> = texts.iter().map(text).collect();
        all.map_or_else(|| wrong("stop", "must be a text, or a list of texts"), Ok)
    }
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

fn prompt(value: &Value) -> Option<Prompt> {
    match value {
        Value::String(text) => Some(Prompt::Text(text.clone())),
        Value::Array(ids) => ids.iter().map(id).collect::<Option<Vec<u32>>>().map(Prompt::Ids),
        _ => None,
    }
}

/// A text, a list of ids, or a list of either.
fn prompts(value: &Value) -> Result<Vec<Prompt>, Problem> {
    let all = match value {
        Value::Array(list) if list.first().is_some_and(|first| !first.is_number()) => {
            list.iter().map(prompt).collect::<Option<Vec<Prompt>>>()
        }
        other => prompt(other).map(|one| vec![one]),
    };
    match all {
        Some(all) if (1..=PROMPTS_MAX).contains(&all.len()) => Ok(all),
        Some(_) => wrong("prompt", &format!("at most {PROMPTS_MAX} at once")),
        None => wrong("prompt", "must be a text, a list of token ids, or a list of one of them"),
    }
}

impl Ask {
    /// Reads the body of a request.
    pub fn parse(body: &[u8]) -> Result<Ask, Problem> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| Problem::new(400, format!("the body is not JSON: {error}")))?;
        let Value::Object(fields) = value else { return Err(Problem::new(400, "the body must be an object")) };
        let fields = Fields(fields);
        fields.check_supported()?;
        let Some(prompt) = fields.get("prompt") else { return wrong("prompt", "is missing") };
        let sampling = Sampling {
            temperature: fields.number("temperature", 1.0)?,
            top_k: fields.whole("top_k", 0, u64::from(u32::MAX))?.unwrap_or(0) as usize,
            top_p: fields.number("top_p", 1.0)?,
            repetition_penalty: fields.number("repetition_penalty", 1.0)?,
            seed: 0,
        };
        sampling.validate().map_err(|error| Problem::new(400, error.to_string()))?;
        Ok(Ask {
            prompts: prompts(prompt)?,
            n: fields.whole("n", 1, CHOICES_MAX)?.unwrap_or(1),
            max_tokens: fields.whole("max_tokens", 0, 1 << 20)?.unwrap_or(16) as usize,
            sampling,
            seed: fields.whole("seed", 0, u64::MAX)?,
            stop: fields.stop()?,
            ignore_eos: fields.flag("ignore_eos")?,
            echo: fields.flag("echo")?,
            logprobs: fields.whole("logprobs", 0, LOGPROBS_MAX)?.map(|count| count as usize),
            stream: fields.flag("stream")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts_of(json: &str) -> Vec<Prompt> {
        Ask::parse(format!("{{\"prompt\": {json}}}").as_bytes()).unwrap().prompts
    }

    #[test]
    fn a_prompt_has_four_forms() {
        let text = |text: &str| Prompt::Text(text.into());
        assert_eq!(prompts_of("\"a\""), [text("a")]);
        assert_eq!(prompts_of("[\"a\", \"b\"]"), [text("a"), text("b")]);
        assert_eq!(prompts_of("[1, 2]"), [Prompt::Ids(vec![1, 2])]);
        assert_eq!(prompts_of("[[1], [2, 3]]"), [Prompt::Ids(vec![1]), Prompt::Ids(vec![2, 3])]);
    }

    #[test]
    fn null_is_absent_and_neutral_values_are_accepted() {
        let body =
            br#"{"prompt": "a", "stop": null, "logit_bias": {}, "presence_penalty": 0, "best_of": 1, "user": "x"}"#;
        assert_eq!(Ask::parse(body).unwrap().max_tokens, 16);
    }

    #[test]
    fn what_would_have_to_be_ignored_is_refused() {
        for field in [r#""best_of": 3"#, r#""logit_bias": {"5": 1}"#, r#""suffix": "x""#, r#""presence_penalty": 0.5"#]
        {
            assert!(Ask::parse(format!("{{\"prompt\": \"a\", {field}}}").as_bytes()).is_err(), "{field}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_asked_or_refused(body in ".{0,200}") {
            let _ = Ask::parse(body.as_bytes());
        }
    }
}
