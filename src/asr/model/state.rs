//! One decode in progress: the encoder's output and the KV cache of several sequences.

use std::sync::Arc;

use whisper_rs::whisper_rs_sys as sys;

use super::{Context, Dims, Head, Model, Token, ffi};
use crate::asr::search::{Decoder, Extension};
use crate::error::{Error, Result};

/// The fewest samples that whisper.cpp's spectrogram can take: it mirrors the first 200 at the start.
const MIN_SAMPLES: usize = 201;

/// The memory of one decode in progress. Reused for one window after another; what a window gives does
/// not depend on those before.
#[derive(Debug)]
pub struct State {
    raw: *mut sys::whisper_state,
    context: Arc<Context>,
    dims: Dims,
    threads: i32,
    /// Whether the encoder has run on the current audio.
    encoded: bool,
    /// The KV sequence of each beam, in the order of the last step.
    sequences: Vec<i32>,
    /// The position of the next token, the same for all beams.
    position: usize,
}

// SAFETY: a state has no tie to the thread that made it, and `&mut self` keeps it to one at a time.
unsafe impl Send for State {}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: the pointer came from whisper_init_state and is freed once.
        unsafe { sys::whisper_free_state(self.raw) }
    }
}

impl State {
    pub(super) fn new(model: &Model, threads: usize) -> Result<Self> {
        // SAFETY: the context is alive; the result is checked for null.
        let raw = unsafe { ffi::imesli_new_state(model.context.0) };
        if raw.is_null() {
            return Err(Error::internal("no memory for another state of the model"));
        }
        let threads = i32::try_from(threads.max(1)).unwrap_or(1);
        let context = Arc::clone(&model.context);
        Ok(Self {
            raw,
            context,
            dims: model.dims,
            threads,
            encoded: false,
            sequences: Vec::new(),
            position: 0,
        })
    }

    /// The sizes of the model.
    pub fn dims(&self) -> Dims {
        self.dims
    }

    /// Computes the log-mel spectrogram of `samples` (16 kHz mono, at most 30 s; less is padded with
    /// silence). `audio_ctx` is the number of encoder positions, 20 ms each, that [`encode`](Self::encode)
    /// computes; `None` means all of the model's 30 s.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 30 s; [`Error::Internal`] when whisper.cpp fails.
    pub fn set_audio(&mut self, samples: &[f32], audio_ctx: Option<usize>) -> Result<()> {
        const SAMPLES_PER_POSITION: usize = 320; // two mel frames of 160 samples
        self.encoded = false;
        if samples.len() > self.dims.n_audio_ctx * SAMPLES_PER_POSITION {
            return Err(Error::TooLarge(format!("a window of {} samples is over 30 s", samples.len())));
        }
        let padded;
        let samples = if samples.len() < MIN_SAMPLES {
            let mut short = samples.to_vec();
            short.resize(MIN_SAMPLES, 0.0);
            padded = short;
            padded.as_slice()
        } else {
            samples
        };
        let n_samples = to_i32(samples.len());
        let audio_ctx = to_i32(audio_ctx.unwrap_or(0).min(self.dims.n_audio_ctx));
        // SAFETY: context and state are alive and belong together; `samples` has `n_samples` floats.
        let status = unsafe {
            ffi::imesli_set_audio(
                self.context.0,
                self.raw,
                samples.as_ptr(),
                n_samples,
                audio_ctx,
                self.threads,
            )
        };
        check(status, "computing the spectrogram")
    }

    /// Runs the encoder on the spectrogram.
    ///
    /// # Errors
    /// [`Error::Internal`] when whisper.cpp fails.
    pub fn encode(&mut self) -> Result<Encoded<'_>> {
        // SAFETY: context and state are alive and belong together.
        let status = unsafe { ffi::imesli_encode(self.context.0, self.raw, 0, self.threads) };
        check(status, "encoding")?;
        self.encoded = true;
        Ok(Encoded { state: self })
    }

    fn clear(&mut self) -> Result<()> {
        self.sequences.clear();
        self.position = 0;
        // SAFETY: context and state are alive and belong together.
        check(unsafe { ffi::imesli_clear(self.context.0, self.raw) }, "clearing the KV cache")
    }

    /// Decodes a batch of (token, position, sequence), and copies the logits of its last `rows` tokens.
    fn decode(&mut self, batch: &[(Token, usize, i32)], rows: usize, logits: &mut Vec<f32>) -> Result<()> {
        let mut tokens = Vec::with_capacity(batch.len());
        let mut positions = Vec::with_capacity(batch.len());
        let mut sequences = Vec::with_capacity(batch.len());
        let mut wanted = Vec::with_capacity(batch.len());
        for (index, (token, position, sequence)) in batch.iter().enumerate() {
            tokens.push(i32::try_from(*token).unwrap_or(-1)); // −1 is refused as out of range
            positions.push(to_i32(*position));
            sequences.push(*sequence);
            wanted.push(i8::from(index + rows >= batch.len()));
        }
        // SAFETY: context and state are alive and belong together; the four arrays have `batch.len()`
        // entries each; ids and positions are checked on the other side.
        let status = unsafe {
            ffi::imesli_decode(
                self.context.0,
                self.raw,
                tokens.as_ptr(),
                positions.as_ptr(),
                sequences.as_ptr(),
                wanted.as_ptr(),
                to_i32(batch.len()),
                self.threads,
            )
        };
        check(status, "decoding")?;
        let mut length = 0;
        // SAFETY: the state is alive; gives `length` floats that stay until the next call on it, and they
        // are copied before that.
        let all = unsafe {
            let pointer = ffi::imesli_logits(self.raw, &mut length);
            std::slice::from_raw_parts(pointer, length)
        };
        if all.len() != rows * self.dims.n_vocab {
            return Err(Error::internal("whisper.cpp gave other logits than were asked for"));
        }
        logits.clear();
        logits.extend_from_slice(all);
        Ok(())
    }
}

/// A state whose encoder has run, ready to decode: what a search works on.
#[derive(Debug)]
pub struct Encoded<'a> {
    state: &'a mut State,
}

impl Encoded<'_> {
    /// The sizes of the model.
    pub fn dims(&self) -> Dims {
        self.state.dims
    }

    /// Decodes `tokens` as one sequence, forgetting all others, and gives how the cross-attention of each head is spread
    /// over the first `frames` positions of the encoder: tokens × frames weights, to `each` in the order of the heads. The
    /// state's memory grows to as many floats for each head, and stays so.
    ///
    /// # Errors
    /// [`Error::Internal`] when whisper.cpp fails, or for more heads, tokens or frames than there are.
    pub fn attention(
        &mut self,
        tokens: &[Token],
        heads: &[Head],
        frames: usize,
        mut each: impl FnMut(&mut [f32]),
    ) -> Result<()> {
        let state = &mut *self.state;
        state.clear()?;
        let ids: Vec<i32> = tokens.iter().map(|token| i32::try_from(*token).unwrap_or(-1)).collect();
        // SAFETY: context and state are alive and belong together; the arrays have as many entries as is said; ids, heads
        // and frames are checked on the other side.
        let status = unsafe {
            ffi::imesli_align(
                state.context.0,
                state.raw,
                ids.as_ptr(),
                to_i32(ids.len()),
                heads.as_ptr(),
                to_i32(heads.len()),
                to_i32(frames),
                state.threads,
            )
        };
        check(status, "looking at the attention")?;
        let mut weights = vec![0.0; tokens.len() * frames];
        for head in 0..heads.len() {
            // SAFETY: this thread has just aligned, and nothing has been computed on the state since; the length is
            // checked on the other side.
            let status = unsafe { ffi::imesli_weights(to_i32(head), weights.as_mut_ptr(), weights.len()) };
            check(status, "copying the attention")?;
            each(&mut weights);
        }
        Ok(())
    }
}

impl Decoder for Encoded<'_> {
    fn n_vocab(&self) -> usize {
        self.state.dims.n_vocab
    }

    fn max_positions(&self) -> usize {
        self.state.dims.n_text_ctx
    }

    fn start(&mut self, prompt: &[Token], logits: &mut Vec<f32>) -> Result<()> {
        let state = &mut *self.state;
        state.clear()?;
        let batch: Vec<_> =
            prompt.iter().enumerate().map(|(position, token)| (*token, position, 0)).collect();
        state.decode(&batch, 1, logits)?;
        state.sequences.push(0);
        state.position = prompt.len();
        Ok(())
    }

    fn extend(&mut self, beams: &[Extension], logits: &mut Vec<f32>) -> Result<()> {
        let state = &mut *self.state;
        // The first child of a beam takes over its sequence, which costs nothing; others get a copy.
        let mut left: Vec<Option<i32>> = state.sequences.iter().copied().map(Some).collect();
        let mut next = Vec::with_capacity(beams.len());
        let mut copies = Vec::new();
        for beam in beams {
            let parent = state.sequences.get(beam.parent).copied();
            let parent = parent.ok_or_else(|| Error::internal("a beam without a parent"))?;
            match left.get_mut(beam.parent).and_then(Option::take) {
                Some(own) => next.push(own),
                None => {
                    let fresh = (0..).find(|id| {
                        !state.sequences.contains(id) && !copies.iter().any(|(_, used)| used == id)
                    });
                    let fresh = fresh.unwrap_or_default();
                    copies.push((parent, fresh));
                    next.push(fresh);
                }
            }
        }
        for (from, to) in copies {
            // SAFETY: the state is alive.
            check(unsafe { ffi::imesli_sequence_copy(state.raw, from, to) }, "copying a sequence")?;
        }
        for dead in left.into_iter().flatten() {
            // SAFETY: the state is alive.
            check(unsafe { ffi::imesli_sequence_remove(state.raw, dead, 0) }, "removing a sequence")?;
        }
        let batch: Vec<_> =
            beams.iter().zip(&next).map(|(beam, sequence)| (beam.token, state.position, *sequence)).collect();
        state.sequences = next;
        state.decode(&batch, batch.len(), logits)?;
        state.position += 1;
        Ok(())
    }
}

fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

fn check(status: i32, doing: &str) -> Result<()> {
    if status == ffi::STATUS_OK {
        return Ok(());
    }
    Err(Error::internal(format!("whisper.cpp, {doing}: {}", ffi::status_text(status))))
}
