//! Generating text: [`Session`] reads a context token by token, [`Sampling`] chooses, [`TextCodec`] turns text into ids
//! and ids into text as it comes, [`StopStrings`] ends it.

mod sampling;
mod session;
mod stop;
#[cfg(test)]
pub(crate) mod testing;
mod text;

pub use sampling::{Sampling, most_likely};
pub use session::{Overflow, Session};
pub use stop::StopStrings;
pub use text::{TextCodec, TextStream};

use crate::error::Result;
use crate::model::LanguageModel;

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The model ended the document.
    EndOfText,
    /// A stop string was met, or whoever is told of the tokens wants no more.
    Told,
    /// As many tokens as asked for.
    Length,
    /// The model has no more positions.
    Positions,
}

/// Whether generation goes on after a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Choose another.
    Continue,
    /// End with [`Stop::Told`].
    End,
}

/// How a text is continued.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Continuation {
    /// Most tokens to add.
    pub new_tokens: usize,
    /// How each is chosen.
    pub sampling: Sampling,
    /// What becomes of a context beyond the model's positions.
    pub overflow: Overflow,
    /// Number of this text among several of one seed; each has choices of its own.
    pub number: u32,
    /// Go on after the end of a document.
    pub ignore_eos: bool,
}

impl Continuation {
    /// Continues `prompt`, telling each new token with the logits it was chosen from; the end-of-text token is not told.
    ///
    /// # Errors
    /// Where the prompt is empty, does not fit, or has an id beyond the vocabulary, or `token` fails.
    pub fn run(
        &self,
        model: &dyn LanguageModel,
        prompt: &[u32],
        token: impl FnMut(u32, &[f32]) -> Result<Flow>,
    ) -> Result<Stop> {
        let mut session = Session::new(model, self.overflow);
        let logits = session.feed(prompt)?;
        self.go_on(session, logits, token)
    }

    /// As [`Continuation::run`], from a context that has been read and the logits after it.
    ///
    /// # Errors
    /// As [`Continuation::run`].
    pub fn go_on(
        &self,
        mut session: Session,
        mut logits: Vec<f32>,
        mut token: impl FnMut(u32, &[f32]) -> Result<Flow>,
    ) -> Result<Stop> {
        self.sampling.validate()?;
        let end_of_text = session.model().config().eos_token_id.filter(|_| !self.ignore_eos);
        for index in 1..=self.new_tokens {
            let counter = u64::from(self.number) << 32 | session.context().len() as u64;
            let next = self.sampling.choose(&logits, session.context(), counter);
            if Some(next) == end_of_text {
                return Ok(Stop::EndOfText);
            }
            if token(next, &logits)? == Flow::End {
                return Ok(Stop::Told);
            }
            if index == self.new_tokens {
                break;
            }
            if !session.has_room() {
                return Ok(Stop::Positions);
            }
            logits = session.feed(&[next])?;
        }
        Ok(Stop::Length)
    }
}

/// Continues `prompt` by at most `new_tokens` tokens, telling each to `token`, the end-of-text token not included.
///
/// # Errors
/// As [`Continuation::run`].
pub fn generate(
    model: &dyn LanguageModel,
    prompt: &[u32],
    new_tokens: usize,
    sampling: &Sampling,
    mut token: impl FnMut(u32) -> Result<()>,
) -> Result<Stop> {
    let continuation = Continuation { new_tokens, sampling: *sampling, ..Continuation::default() };
    continuation.run(model, prompt, |id, _| token(id).map(|()| Flow::Continue))
}

#[cfg(test)]
mod tests {
    use super::testing::model;
    use super::*;
    use crate::error::Error;
    use crate::model::Llama;

    fn continued(model: &Llama, prompt: &[u32], continuation: Continuation) -> (Vec<u32>, Stop) {
        let mut ids = Vec::new();
        let stop = continuation.run(model, prompt, |id, _| {
            ids.push(id);
            Ok(Flow::Continue)
        });
        (ids, stop.unwrap())
    }

    fn greedy(new_tokens: usize) -> Continuation {
        Continuation { new_tokens, sampling: Sampling::greedy(), ..Continuation::default() }
    }

    #[test]
    fn greedy_text_equals_that_without_a_cache() {
        let model = model(None);
        let (cached, stop) = continued(&model, &[3, 7], greedy(6));
        assert_eq!((cached.len(), stop), (6, Stop::Length));
        let mut ids = vec![3u32, 7];
        for _ in 0..6 {
            let logits = model.logits(&ids.as_slice().into(), 1, None).unwrap().narrow(1, ids.len() - 1, 1).unwrap();
            let last: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            ids.push(Sampling::greedy().choose(&last, &[], 0));
        }
        assert_eq!(cached, ids[2..]);
    }

    #[test]
    fn the_end_of_text_token_ends_it_and_is_not_told() {
        let first = continued(&model(None), &[3, 7], greedy(1)).0[0];
        assert_eq!(continued(&model(Some(first)), &[3, 7], greedy(5)), (vec![], Stop::EndOfText));
        let on = Continuation { ignore_eos: true, ..greedy(5) };
        assert_eq!(continued(&model(Some(first)), &[3, 7], on).0.len(), 5);
    }

    #[test]
    fn generation_ends_where_the_positions_end_unless_windowed() {
        let (tokens, stop) = continued(&model(None), &[1; 10], greedy(50));
        assert_eq!((tokens.len(), stop), (3, Stop::Positions));
        let windowed = Continuation { overflow: Overflow::Window, ..greedy(50) };
        let (tokens, stop) = continued(&model(None), &[1; 30], windowed);
        assert_eq!((tokens.len(), stop), (50, Stop::Length));
    }

    #[test]
    fn a_prompt_that_is_too_long_or_empty_is_refused() {
        let run = |prompt: &[u32]| generate(&model(None), prompt, 1, &Sampling::default(), |_| Ok(()));
        assert!(matches!(run(&[1; 13]), Err(Error::PromptTooLong { tokens: 13, positions: 12 })));
        assert!(matches!(run(&[]), Err(Error::Config { field: "prompt", .. })));
    }

    #[test]
    fn a_seed_gives_the_same_text_again_and_each_number_its_own() {
        let of = |seed, number| {
            let sampling = Sampling { temperature: 2.0, seed, ..Sampling::default() };
            continued(&model(None), &[3, 7], Continuation { sampling, number, ..greedy(8) }).0
        };
        assert_eq!(of(1, 0), of(1, 0));
        assert!(of(1, 0) != of(2, 0) && of(1, 0) != of(1, 1));
    }
}
