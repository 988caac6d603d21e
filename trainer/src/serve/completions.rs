//! `/v1/completions`: prompts continued, token by token, with what each token's probability was.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::answer::Failed;
use super::http::{Connection, Problem, Request};
use super::request::{Ask, Prompt};
use crate::error::Result;
use crate::eval::log_probability;
use crate::generate::{
    Continuation, Flow, Overflow, Sampling, Session, Stop, StopStrings, TextCodec, TextStream, most_likely,
};
use crate::model::{LanguageModel, Llama};
use crate::rng;

/// A model and its tokenizer, ready to answer.
pub struct Engine {
    model: Llama,
    codec: TextCodec,
    name: String,
    created: u64,
    asked: AtomicU64,
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

impl Engine {
    /// Under the name that clients see.
    pub fn new(model: Llama, codec: TextCodec, name: String) -> Engine {
        Engine { model, codec, name, created: now_s(), asked: AtomicU64::new(0) }
    }

    /// The name that clients see.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model as an entry of `/v1/models`.
    pub fn describe(&self) -> Value {
        json!({"id": self.name, "object": "model", "created": self.created, "owned_by": "local",
               "max_model_len": self.model.config().max_position_embeddings})
    }

    /// The ids of a prompt; how many of them the client does not know of (BOS); its text.
    fn prompt(&self, prompt: &Prompt) -> Result<(Vec<u32>, usize, String), Failed> {
        let (ids, hidden, text) = match prompt {
            Prompt::Text(text) => {
                let mut ids: Vec<u32> = self.model.config().bos_token_id.into_iter().collect();
                let hidden = ids.len();
                ids.extend(self.codec.encode(text)?);
                (ids, hidden, text.clone())
            }
            Prompt::Ids(ids) => (ids.clone(), 0, self.codec.decode(&self.known(ids)?)?),
        };
        if ids.is_empty() {
            return Err(Problem::new(400, "prompt: has no token").into());
        }
        Ok((ids, hidden, text))
    }

    /// The ids, all below the vocabulary.
    fn known(&self, ids: &[u32]) -> Result<Vec<u32>, Problem> {
        let size = self.model.config().vocab_size;
        match ids.iter().find(|id| **id as usize >= size) {
            Some(id) => Err(Problem::new(400, format!("prompt: {id} is not below the vocabulary of {size}"))),
            None => Ok(ids.to_vec()),
        }
    }
}

/// What is told of tokens beside their text.
#[derive(Default)]
struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Value>,
    text_offset: Vec<usize>,
}

impl Logprobs {
    /// Adds a token; the first of a text has no logits before it.
    fn add(&mut self, codec: &TextCodec, id: u32, logits: Option<&[f32]>, top: usize, offset: usize) -> Result<()> {
        self.tokens.push(codec.token_name(id)?);
        self.text_offset.push(offset);
        let Some(logits) = logits else {
            self.token_logprobs.push(None);
            self.top_logprobs.push(Value::Null);
            return Ok(());
        };
        self.token_logprobs.push(Some(log_probability(logits, id)));
        let mut named = Map::new();
        for candidate in most_likely(logits, top.max(1)).into_iter().take(top).chain([id]) {
            named.insert(codec.token_name(candidate)?, log_probability(logits, candidate).into());
        }
        self.top_logprobs.push(named.into());
        Ok(())
    }

    fn json(&self) -> Value {
        json!({"tokens": self.tokens, "token_logprobs": self.token_logprobs, "top_logprobs": self.top_logprobs,
               "text_offset": self.text_offset})
    }
}

/// A piece of a choice on its way to the client.
struct Piece<'a> {
    index: u64,
    text: &'a str,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

impl Piece<'_> {
    fn json(&self) -> Value {
        json!({"text": self.text, "index": self.index, "logprobs": self.logprobs.as_ref().map(Logprobs::json),
               "finish_reason": self.finish_reason})
    }
}

fn finish_reason(stop: Stop) -> &'static str {
    match stop {
        Stop::EndOfText | Stop::Told => "stop",
        Stop::Length | Stop::Positions => "length",
    }
}

/// Text as it comes: whole characters, no stop string, counted.
struct Text<'a> {
    stream: TextStream<'a>,
    stop: StopStrings,
    chars: usize,
}

impl Text<'_> {
    fn push(&mut self, id: u32) -> Result<(String, bool)> {
        let (text, met) = self.stop.push(&self.stream.push(id)?);
        self.chars += text.chars().count();
        Ok((text, met))
    }

    /// What was held back.
    fn finish(mut self) -> Result<(String, bool)> {
        let (mut text, met) = self.stop.push(&self.stream.finish()?);
        if !met {
            text += &self.stop.finish();
        }
        Ok((text, met))
    }
}

/// One continuation of one prompt.
struct Choice<'a> {
    engine: &'a Engine,
    ask: &'a Ask,
    index: u64,
    seed: u64,
}

/// Tokens read and made.
#[derive(Default)]
struct Usage {
    prompt: usize,
    completion: usize,
}

impl Choice<'_> {
    fn continuation(&self) -> Continuation {
        Continuation {
            new_tokens: self.ask.max_tokens,
            sampling: Sampling { seed: self.seed, ..self.ask.sampling },
            overflow: Overflow::Refuse,
            number: self.index as u32,
            ignore_eos: self.ask.ignore_eos,
        }
    }

    /// Reads the prompt; tells it and its probabilities where that is asked for. Returns the logits after it, and the
    /// characters told.
    fn read(&self, session: &mut Session, prompt: &Prompt, tell: &mut Tell) -> Result<(Vec<f32>, usize), Failed> {
        let (ids, hidden, text) = self.engine.prompt(prompt)?;
        if !self.ask.echo {
            return Ok((session.feed(&ids)?, 0));
        }
        let echoed = text.chars().count();
        let Some(top) = self.ask.logprobs else {
            let logits = session.feed(&ids)?;
            tell(Piece { index: self.index, text: &text, logprobs: None, finish_reason: None })?;
            return Ok((logits, echoed));
        };
        let vocabulary = self.engine.model.config().vocab_size;
        let logits_TV = session.feed_all(&ids)?;
        let (mut logprobs, mut stream, mut chars) = (Logprobs::default(), self.engine.codec.stream(), 0);
        for (at, &id) in ids.iter().enumerate() {
            if at >= hidden {
                let before = at.checked_sub(1).and_then(|at| logits_TV.chunks_exact(vocabulary).nth(at));
                logprobs.add(&self.engine.codec, id, before, top, chars)?;
            }
            chars += stream.push(id)?.chars().count();
        }
        tell(Piece { index: self.index, text: &text, logprobs: Some(logprobs), finish_reason: None })?;
        Ok((logits_TV.chunks_exact(vocabulary).last().unwrap_or_default().to_vec(), echoed))
    }

    fn run(&self, prompt: &Prompt, usage: &mut Usage, tell: &mut Tell) -> Result<(), Failed> {
        let mut session = Session::new(&self.engine.model, Overflow::Refuse);
        let (logits, chars) = self.read(&mut session, prompt, tell)?;
        usage.prompt += session.context().len();
        let codec = &self.engine.codec;
        let mut text = Text { stream: codec.stream(), stop: StopStrings::new(self.ask.stop.clone()), chars };
        let mut failed = None;
        let stop = self.continuation().go_on(session, logits, |id, logits| {
            usage.completion += 1;
            let mut logprobs = self.ask.logprobs.map(|_| Logprobs::default());
            if let (Some(logprobs), Some(top)) = (&mut logprobs, self.ask.logprobs) {
                logprobs.add(codec, id, Some(logits), top, text.chars)?;
            }
            let (piece, met) = text.push(id)?;
            let piece = Piece { index: self.index, text: &piece, logprobs, finish_reason: None };
            if let Err(error) = tell(piece) {
                failed = Some(error);
                return Ok(Flow::End);
            }
            Ok(if met { Flow::End } else { Flow::Continue })
        })?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        // After a stop string nothing more is shown.
        let (rest, met) = if stop == Stop::Told { (String::new(), true) } else { text.finish()? };
        let reason = if met { "stop" } else { finish_reason(stop) };
        tell(Piece { index: self.index, text: &rest, logprobs: None, finish_reason: Some(reason) })
    }
}

type Tell<'t> = dyn FnMut(Piece) -> Result<(), Failed> + 't;

/// Runs every choice of a request, in order.
fn run(engine: &Engine, ask: &Ask, tell: &mut Tell) -> Result<Usage, Failed> {
    let asked = engine.asked.fetch_add(1, Ordering::Relaxed);
    // Without a seed no two requests are alike.
    let seed = ask.seed.unwrap_or_else(|| rng::bits(now_s(), u64::from(std::process::id()), asked));
    let mut usage = Usage::default();
    for (number, prompt) in ask.prompts.iter().enumerate() {
        for n in 0..ask.n {
            let choice = Choice { engine, ask, index: number as u64 * ask.n + n, seed };
            choice.run(prompt, &mut usage, tell)?;
        }
    }
    Ok(usage)
}

/// A choice gathered from its pieces.
#[derive(Default)]
struct Gathered {
    text: String,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

impl Gathered {
    fn add(&mut self, piece: Piece) {
        self.text.push_str(piece.text);
        self.finish_reason = piece.finish_reason.or(self.finish_reason);
        if let Some(more) = piece.logprobs {
            let all = self.logprobs.get_or_insert_default();
            all.text_offset.extend(more.text_offset);
            all.tokens.extend(more.tokens);
            all.token_logprobs.extend(more.token_logprobs);
            all.top_logprobs.extend(more.top_logprobs);
        }
    }
}

fn envelope(engine: &Engine, id: &str, choices: Vec<Value>) -> Value {
    json!({"id": id, "object": "text_completion", "created": now_s(), "model": engine.name, "choices": choices})
}

fn whole(engine: &Engine, ask: &Ask, id: &str) -> Result<Value, Failed> {
    let mut gathered: Vec<Gathered> = Vec::new();
    let usage = run(engine, ask, &mut |piece| {
        let index = piece.index as usize;
        gathered.resize_with(gathered.len().max(index + 1), Gathered::default);
        if let Some(choice) = gathered.get_mut(index) {
            choice.add(piece);
        }
        Ok(())
    })?;
    let choice = |(index, choice): (usize, Gathered)| {
        let (text, finish_reason) = (choice.text.as_str(), choice.finish_reason);
        Piece { index: index as u64, text, logprobs: choice.logprobs, finish_reason }.json()
    };
    let mut answer = envelope(engine, id, gathered.into_iter().enumerate().map(choice).collect());
    answer["usage"] = json!({"prompt_tokens": usage.prompt, "completion_tokens": usage.completion,
                             "total_tokens": usage.prompt + usage.completion});
    Ok(answer)
}

fn streamed(engine: &Engine, ask: &Ask, id: &str, connection: &mut Connection) -> Result<(), Failed> {
    let mut begun = false;
    let result = run(engine, ask, &mut |piece| {
        // Only now, so that a prompt that does not fit still has its status.
        if !std::mem::replace(&mut begun, true) {
            connection.begin_events()?;
        }
        if piece.text.is_empty() && piece.finish_reason.is_none() && piece.logprobs.is_none() {
            return Ok(());
        }
        Ok(connection.send_event(&envelope(engine, id, vec![piece.json()]).to_string())?)
    });
    match result {
        Err(Failed::Request(problem)) if begun => connection.send_event(&problem.json().to_string())?,
        Err(failed) => return Err(failed),
        Ok(_) => connection.send_event("[DONE]")?,
    }
    Ok(connection.end_events()?)
}

/// Answers a request.
pub fn answer(request: &Request, engine: &Engine, connection: &mut Connection) -> Result<(), Failed> {
    let ask = Ask::parse(&request.body)?;
    let id = format!("cmpl-{:016x}", rng::bits(now_s(), 1, engine.asked.load(Ordering::Relaxed)));
    match ask.stream {
        true => streamed(engine, &ask, &id, connection),
        false => Ok(connection.send_json(&whole(engine, &ask, &id)?)?),
    }
}
