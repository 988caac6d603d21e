//! `trainer generate`.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::json;

use super::console::event;
use super::{Outcome, find_checkpoint, use_threads};
use crate::checkpoint::load_model;
use crate::error::{Error, Result};
use crate::generate::{Continuation, Flow, Overflow, Sampling, Stop, StopStrings, TextCodec};
use crate::model::{LanguageModel, Llama};

/// Arguments of `trainer generate`.
#[derive(Debug, clap::Args)]
#[command(args_override_self = true)]
pub struct Args {
    /// A checkpoint, or the output folder of a run (its latest checkpoint)
    #[arg(long)]
    checkpoint: PathBuf,
    /// The text to continue; several are continued side by side [default: the start of a document]
    #[arg(long)]
    prompt: Vec<String>,
    /// A file of texts to continue, one a line
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// Ids to continue instead of a text; ids are printed then
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["prompt", "prompts", "interactive"])]
    prompt_ids: Vec<u32>,
    /// Continue each line of standard input as it comes
    #[arg(long, conflicts_with_all = ["prompt", "prompts"])]
    interactive: bool,
    /// Most tokens to add
    #[arg(long, default_value_t = 100)]
    max_new_tokens: usize,
    /// Divides the logits; 0 takes the most likely token
    #[arg(long, default_value_t = 0.8)]
    temperature: f64,
    /// Only the most likely tokens; 0 takes all
    #[arg(long, default_value_t = 50)]
    top_k: usize,
    /// Only the most likely tokens that together have this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Above 1, tokens that are there already become less likely
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f64,
    /// A text that ends the continuation, and is not shown; may be given several times
    #[arg(long)]
    stop: Vec<String>,
    /// Go on where the model ends the document
    #[arg(long)]
    ignore_eos: bool,
    /// Where the positions end, go on with the last half of them; longer prompts are cut likewise, not refused
    #[arg(long)]
    window: bool,
    /// Of the choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// tokenizer.json, or its folder [default: the checkpoint's]
    #[arg(long)]
    tokenizer: Option<PathBuf>,
    /// cpu
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads that compute [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Print events of JSON with the texts, instead of the texts as they come
    #[arg(long)]
    json: bool,
}

impl Args {
    fn continuation(&self) -> Continuation {
        Continuation {
            new_tokens: self.max_new_tokens,
            sampling: Sampling {
                temperature: self.temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                repetition_penalty: self.repetition_penalty,
                seed: self.seed,
            },
            overflow: if self.window { Overflow::Window } else { Overflow::Refuse },
            number: 0,
            ignore_eos: self.ignore_eos,
        }
    }

    /// The prompts of flags, then those of the file.
    fn texts(&self) -> Result<Vec<String>> {
        let mut texts = self.prompt.clone();
        if let Some(path) = &self.prompts {
            let file = std::fs::read_to_string(path).map_err(Error::io(path))?;
            texts.extend(file.lines().filter(|line| !line.is_empty()).map(str::to_owned));
            if texts.is_empty() {
                return Err(Error::Data { path: path.clone(), problem: "holds no prompt".to_owned() });
            }
        }
        if texts.is_empty() {
            texts.push(String::new());
        }
        Ok(texts)
    }
}

/// Writes to stdout at once.
fn show(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(Error::io(Path::new("stdout")))
}

fn reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndOfText => "end_of_text",
        Stop::Told => "stop",
        Stop::Length => "length",
        Stop::Positions => "positions",
    }
}

/// What continues texts.
struct Writer<'a> {
    model: &'a Llama,
    codec: &'a TextCodec,
    continuation: Continuation,
    stop: &'a [String],
}

/// A continued text: the prompt and what was added.
struct Written {
    text: String,
    stop: Stop,
}

impl Writer<'_> {
    /// The prompt's ids: BOS, where the model has one, then the text.
    fn prompt_ids(&self, prompt: &str) -> Result<Vec<u32>> {
        let mut ids: Vec<u32> = self.model.config().bos_token_id.into_iter().collect();
        ids.extend(self.codec.encode(prompt)?);
        Ok(ids)
    }

    /// Continues the text with this number, telling each piece, the prompt first.
    fn write(&self, number: u32, prompt: &str, mut tell: impl FnMut(&str) -> Result<()>) -> Result<Written> {
        let ids = self.prompt_ids(prompt)?;
        let mut text = String::new();
        let mut give = |piece: &str| {
            text.push_str(piece);
            tell(piece)
        };
        give(prompt)?;
        let (mut stream, mut watch) = (self.codec.stream(), StopStrings::new(self.stop.to_vec()));
        let continuation = Continuation { number, ..self.continuation };
        let stop = continuation.run(self.model, &ids, |id, _| {
            let (piece, met) = watch.push(&stream.push(id)?);
            give(&piece)?;
            Ok(if met { Flow::End } else { Flow::Continue })
        })?;
        if stop == Stop::Told {
            return Ok(Written { text, stop });
        }
        // The last character may never have become whole, and a stop string may end only with it.
        let (piece, met) = watch.push(&stream.finish()?);
        give(&piece)?;
        if !met {
            give(&watch.finish())?;
        }
        Ok(Written { text, stop: if met { Stop::Told } else { stop } })
    }

    fn one(&self, prompt: &str, json: bool) -> Result<()> {
        let written = self.write(0, prompt, |piece| if json { Ok(()) } else { show(piece) })?;
        match json {
            true => tell(&json!({"event": "done", "text": written.text, "stop": reason(written.stop)})),
            false => show("\n"),
        }
    }

    /// Continues texts side by side; each is the same whatever the others are.
    fn many(&self, prompts: &[String], json: bool) -> Result<()> {
        // Shown by the handful, so that a long list is not silent until its end.
        let handful = 4 * rayon::current_num_threads();
        for (first, prompts) in prompts.chunks(handful).enumerate().map(|(index, some)| (index * handful, some)) {
            let write = |(index, prompt): (usize, &String)| self.write((first + index) as u32, prompt, |_| Ok(()));
            let written: Vec<Written> = prompts.par_iter().enumerate().map(write).collect::<Result<_>>()?;
            for (number, (prompt, written)) in prompts.iter().zip(written).enumerate() {
                let (number, text, stop) = (first + number, written.text, reason(written.stop));
                match json {
                    true => {
                        tell(&json!({"event": "text", "number": number, "prompt": prompt, "text": text, "stop": stop}))?
                    }
                    false => show(&format!("{}{text}\n", if number == 0 { "" } else { "---\n" }))?,
                }
            }
        }
        if json { tell(&json!({"event": "done", "texts": prompts.len()})) } else { Ok(()) }
    }

    /// Continues each line of standard input; a line that cannot be continued is told, and the next awaited.
    fn converse(&self, json: bool) -> Result<()> {
        eprintln!("type the start of a text, and Enter; Ctrl-D ends");
        for (number, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.map_err(Error::io(Path::new("stdin")))?;
            match self.write(number as u32, &line, |piece| if json { Ok(()) } else { show(piece) }) {
                Ok(written) if json => {
                    tell(&json!({"event": "text", "prompt": line, "text": written.text, "stop": reason(written.stop)}))?
                }
                Ok(_) => show("\n\n")?,
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => eprintln!("{error}"),
            }
        }
        if json { tell(&json!({"event": "done"})) } else { Ok(()) }
    }
}

fn tell(value: &serde_json::Value) -> Result<()> {
    event(value).map_err(Error::io(Path::new("stdout")))
}

fn continue_ids(args: &Args, model: &Llama) -> Result<()> {
    let mut ids = Vec::new();
    let stop = args.continuation().run(model, &args.prompt_ids, |id, _| {
        ids.push(id);
        if !args.json {
            show(&format!("{id} "))?;
        }
        Ok(Flow::Continue)
    })?;
    match args.json {
        true => tell(&json!({"event": "done", "ids": ids, "stop": reason(stop)})),
        false => show("\n"),
    }
}

/// Runs the command.
///
/// # Errors
/// Where the checkpoint or tokenizer does not load, or the prompt does not fit.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let continuation = args.continuation();
    continuation.sampling.validate()?;
    let texts = args.texts()?;
    let device = super::host_device(&args.device)?;
    use_threads(args.threads)?;
    let folder = find_checkpoint(&args.checkpoint)?;
    let model = load_model(&folder, &device)?;
    if !args.prompt_ids.is_empty() {
        continue_ids(&args, &model)?;
        return Ok(Outcome::Done);
    }
    let codec = TextCodec::open(args.tokenizer.as_deref().unwrap_or(&folder))?;
    let writer = Writer { model: &model, codec: &codec, continuation, stop: &args.stop };
    match texts.as_slice() {
        _ if args.interactive => writer.converse(args.json)?,
        [prompt] => writer.one(prompt, args.json)?,
        prompts => writer.many(prompts, args.json)?,
    }
    Ok(Outcome::Done)
}
