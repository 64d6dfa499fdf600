//! What a stream wants to be heard next. Pure.

use std::ops::Range;
use std::sync::Arc;

use super::stream::{Guess, Kind, Running, SURE_SILENCE, Stream, seconds};
use crate::asr::backend::Urgency;
use crate::asr::recognizer::DecodeOptions;
use crate::asr::search::SearchOptions;
use crate::audio::SAMPLE_RATE;
use crate::audio::endpoint::{EndedPhrase, OpenPhrase};

/// What is new since the last partial, at least: 0.4 s.
const STEP: usize = SAMPLE_RATE as usize * 2 / 5;
/// A partial that took long is followed by a rest of this share of its time: others want to be heard, too.
const REST: f64 = 1.5;
/// The most tokens of a partial for each second that is not committed, and some more: faster than anybody speaks.
const TOKENS_PER_SECOND: f64 = 16.0;

/// A window to be heard.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) samples: Vec<f32>,
    pub(super) options: Arc<DecodeOptions>,
    pub(super) urgency: Urgency,
}

impl Stream {
    /// What is to be heard now, instead of what is being heard: `None` to go on with that.
    pub(super) fn next(&mut self) -> Option<Task> {
        self.settle();
        let front = self.ended.front().copied();
        let stays = self.running.as_ref().is_some_and(|running| match running.kind {
            Kind::Phrase | Kind::Cut => true,
            Kind::Guess => front.is_none_or(|ended| ended.voice_end == running.voice_end),
            Kind::Partial => front.is_none(),
        });
        if stays {
            return None;
        }
        let longest = self.endpoint.limits().longest;
        let open = self.endpoint.open();
        let (kind, range) = match (front, open) {
            (Some(ended), _) if ended.end - ended.start > longest => {
                (Kind::Cut, ended.start..ended.start + longest)
            }
            (Some(_), _) => (Kind::Phrase, self.joined(longest)),
            (None, Some(open)) if self.endpoint.heard() - open.start >= longest => {
                (Kind::Cut, open.start..open.start + longest)
            }
            (None, Some(open)) => (self.early(open)?, open.start..self.endpoint.heard()),
            (None, None) => return None,
        };
        let is_early = matches!(kind, Kind::Partial | Kind::Guess);
        let task = Task {
            samples: self.recent.levelled(range.clone()),
            options: Arc::new(self.decode_options(kind, range.len())),
            urgency: if is_early { Urgency::Partial } else { Urgency::Phrase },
        };
        let voice_end = open.filter(|_| is_early).map_or(range.end, |open| open.voice_end);
        self.guess = None;
        self.running = Some(Running { kind, range, voice_end });
        Some(task)
    }

    /// Whether a phrase that goes on is to be heard now, and as what.
    fn early(&self, open: OpenPhrase) -> Option<Kind> {
        let end = self.endpoint.heard();
        let new = end.saturating_sub(self.last_partial);
        let rest = (self.cost.as_secs_f64() * REST * f64::from(SAMPLE_RATE)) as usize;
        let is_known = self.guess.as_ref().is_some_and(|guess| guess.voice_end == open.voice_end);
        if !self.options.partials || is_known || new < rest {
            None
        } else if end - open.voice_end >= SURE_SILENCE {
            Some(Kind::Guess)
        } else {
            Some(Kind::Partial).filter(|_| new >= STEP)
        }
    }

    /// Finishes phrases of which the text is known already.
    pub(super) fn settle(&mut self) {
        let Some(ended) = self.ended.front().copied() else { return };
        let fits = |guess: &mut Guess| guess.start == ended.start && guess.voice_end == ended.voice_end;
        if let Some(guess) = self.guess.take_if(fits) {
            self.ended.pop_front();
            let count = guess.all.len();
            self.finish(ended.start..ended.end, guess.all, count, &guess.done);
            self.forget();
            self.acknowledge();
        }
    }

    /// The phrases that wait, as many as go into one window: who is late catches up, because a window takes as long
    /// whatever is in it.
    fn joined(&mut self, longest: usize) -> Range<usize> {
        let Some(mut joined) = self.ended.pop_front() else { return 0..0 };
        while let Some(next) = self.ended.front().filter(|next| next.end - joined.start <= longest) {
            joined = EndedPhrase { start: joined.start, ..*next };
            self.ended.pop_front();
        }
        self.ended.push_front(joined);
        joined.start..joined.end
    }

    fn decode_options(&self, kind: Kind, samples: usize) -> DecodeOptions {
        let mut options = DecodeOptions { prefix: self.phrase.prefix(), ..self.decode.clone() };
        if kind == Kind::Partial {
            let seconds = (seconds(samples) - self.phrase.committed_end()).max(1.0);
            let max_new_tokens = (TOKENS_PER_SECOND * (1.0 + seconds)) as usize;
            let max_new_tokens = max_new_tokens.min(options.search.max_new_tokens);
            options.search = SearchOptions { beams: 1, temperature: 0.0, max_new_tokens, ..options.search };
        }
        options
    }
}
