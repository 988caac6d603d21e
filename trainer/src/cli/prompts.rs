//! Texts that the model continues while it trains: shown, and kept in `OUT/samples.jsonl`.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::generate::{Sampling, TextCodec, generate};
use crate::model::LanguageModel;

/// Name of the file in the output folder.
const SAMPLES_FILE: &str = "samples.jsonl";

/// Prompts and what they need.
pub struct Prompts {
    path: PathBuf,
    codec: Option<TextCodec>,
    prompts: Vec<String>,
    new_tokens: usize,
}

impl Prompts {
    /// Prompts of a run with this output folder; texts beyond `step`, which a resumed run makes again, are cut.
    ///
    /// # Errors
    /// Where there are prompts but no tokenizer, or the file cannot be read or written.
    pub fn new(
        out: &Path,
        tokenizer: Option<&Path>,
        prompts: Vec<String>,
        new_tokens: usize,
        step: u64,
    ) -> Result<Prompts> {
        let path = out.join(SAMPLES_FILE);
        let missing = || Error::Config {
            field: "sample_prompt",
            problem: "needs a tokenizer: the dataset has none, give --tokenizer".to_owned(),
        };
        let codec = match prompts.is_empty() {
            true => None,
            false => Some(TextCodec::open(tokenizer.ok_or_else(missing)?)?),
        };
        if codec.is_some() && path.is_file() {
            let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
            let made = |line: &&str| {
                let value = serde_json::from_str::<serde_json::Value>(line).ok();
                value.and_then(|value| value["step"].as_u64()).is_some_and(|made| made <= step)
            };
            let kept: String = text.lines().take_while(made).map(|line| format!("{line}\n")).collect();
            shards::commit::write_atomic(&path, kept.as_bytes())?;
        }
        Ok(Prompts { path, codec, prompts, new_tokens })
    }

    /// Continues each prompt, greedily so that steps can be compared; returns prompt and text.
    ///
    /// # Errors
    /// Where a prompt does not fit the model, or the file cannot be written.
    pub fn continue_all(&self, model: &dyn LanguageModel, step: u64) -> Result<Vec<(String, String)>> {
        let Some(codec) = &self.codec else { return Ok(Vec::new()) };
        let mut texts = Vec::new();
        for prompt in &self.prompts {
            let mut ids: Vec<u32> = model.config().bos_token_id.into_iter().collect();
            ids.extend(codec.encode(prompt)?);
            let (mut stream, mut text) = (codec.stream(), String::new());
            let greedy = Sampling { temperature: 0.0, ..Sampling::default() };
            generate(model, &ids, self.new_tokens, &greedy, |id| {
                text += &stream.push(id)?;
                Ok(())
            })?;
            text += &stream.finish()?;
            self.keep(step, prompt, &text)?;
            texts.push((prompt.clone(), text));
        }
        Ok(texts)
    }

    fn keep(&self, step: u64, prompt: &str, text: &str) -> Result<()> {
        let line =
            format!("{}\n", serde_json::json!({"step": step, "prompt": prompt, "text": format!("{prompt}{text}")}));
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).map_err(Error::io(&self.path))
    }
}
