//! When each token of a window was said, by the attention of the model's heads.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::alignment::{Evidence, FRAME_SECONDS, heads};
use super::model::{Encoded, Head, Token};
use super::timing::{TimeSource, estimate};
use super::vocabulary::Vocabulary;
use crate::audio::SAMPLE_RATE;
use crate::audio::pause::pauses;
use crate::error::Result;

/// When the text tokens of a piece were said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TokenTimes {
    /// Seconds from the start of the piece, for each.
    pub times: Vec<Range<f64>>,
    /// Where they come from.
    pub source: TimeSource,
}

/// When each of the `text` tokens was said in `samples`: by the attention of one more pass over all of them, as
/// OpenAI does; an estimate where that gives nothing.
pub(super) fn token_times(
    encoded: &mut Encoded<'_>,
    vocabulary: &Vocabulary,
    known: &[Head],
    prompt: &[Token],
    text: &[Token],
    samples: &[f32],
) -> Result<TokenTimes> {
    /// 4 MiB of weights at a time, which the state keeps room for: a text of 100 tokens in 30 s takes 0.6 MB for each head.
    const MOST_WEIGHTS: usize = 1 << 20;
    /// What the extension takes at a time.
    const MOST_HEADS: usize = 256;
    const SAMPLES_PER_FRAME: usize = (SAMPLE_RATE / 50) as usize;

    let dims = encoded.dims();
    let frames = (samples.len() / SAMPLES_PER_FRAME).clamp(1, dims.n_audio_ctx);
    // The row of a token is that in which it is predicted: one earlier. The last row predicts the end.
    let rows = prompt.len().saturating_sub(1)..prompt.len() + text.len();
    let mut tokens = [prompt, text, &[vocabulary.special().end_of_text]].concat();
    tokens.truncate(dims.n_text_ctx);
    let mut evidence = Evidence::new(tokens.len(), frames);
    if !text.is_empty() {
        let at_a_time = (MOST_WEIGHTS / (tokens.len() * frames)).clamp(1, MOST_HEADS);
        for heads in heads(known, dims).chunks(at_a_time) {
            encoded.attention(&tokens, heads, frames, |weights| evidence.add(weights))?;
        }
    }
    let seconds = |frame: usize| frame as f64 * FRAME_SECONDS;
    if let Some(begins) = evidence.begins(rows) {
        let times =
            begins.windows(2).filter_map(|pair| Some(seconds(*pair.first()?)..seconds(*pair.last()?)));
        return Ok(TokenTimes { times: times.collect(), source: TimeSource::Attention });
    }
    let rate = f64::from(SAMPLE_RATE);
    let pauses: Vec<_> =
        pauses(samples).into_iter().map(|p| p.start as f64 / rate..p.end as f64 / rate).collect();
    let (_, ranges) = vocabulary.text_by_token(text);
    let lengths: Vec<usize> = ranges.iter().map(Range::len).collect();
    let times = estimate(&lengths, &pauses, samples.len() as f64 / rate);
    Ok(TokenTimes { times, source: TimeSource::Estimate })
}
