//! A stream of live audio, and what is to be done with it. Pure: it is told of audio and of what was heard, and asked
//! what to hear next; nothing in it waits or reads a clock.
//!
//! Time is that of the audio. A phrase is heard several times while it goes on (partials). When the voice pauses it is
//! heard as if it were over, and when that turns out to be so, the text is there already. Of a phrase that lasts too long
//! the beginning is heard as if it were over, and cut off behind a word.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::phrase::{Phrase, Said};
use super::recent::Recent;
use super::report::Report;
use super::{LiveOptions, Update, cut};
use crate::asr::backend::Done;
use crate::asr::recognizer::{DecodeOptions, Language};
use crate::asr::transcriber::Transcript;
use crate::asr::vocabulary::Vocabulary;
use crate::audio::SAMPLE_RATE;
use crate::audio::endpoint::{EndedPhrase, Endpoint, PhraseLimits};
use crate::audio::voice::live::{Ears, FRAME_SAMPLES};

const RATE: usize = SAMPLE_RATE as usize;
/// What ends closer to the end of the audio than this, in seconds, may be half a word …
const UNSURE: f64 = 0.2;
/// … unless nobody has spoken for so long: 0.25 s. Then the phrase may be over.
pub(super) const SURE_SILENCE: usize = RATE / 4;
/// Who was so far behind, and is not any more, says so: 1 s.
const CAUGHT_UP: usize = RATE;
/// Something is said at least this often, even when there is nothing new: 5 s.
const HEARTBEAT: usize = 5 * RATE;

/// What is to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A phrase that goes on.
    Partial,
    /// One that may be over.
    Guess,
    /// The beginning of one that is too long.
    Cut,
    /// One that is over.
    Phrase,
}

#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) kind: Kind,
    pub(super) range: Range<usize>,
    /// Where the voice had ended so far.
    pub(super) voice_end: usize,
}

/// What was heard of a phrase when its voice paused.
#[derive(Debug)]
pub(super) struct Guess {
    pub(super) start: usize,
    pub(super) voice_end: usize,
    pub(super) all: Vec<Said>,
    pub(super) done: Done,
}

/// The stream.
#[derive(Debug)]
pub(super) struct Stream {
    vocabulary: Arc<Vocabulary>,
    pub(super) options: LiveOptions,
    pub(super) decode: DecodeOptions,
    ears: Box<dyn Ears>,
    pub(super) endpoint: Endpoint,
    pub(super) recent: Recent,
    /// Phrases that are over and were not heard since.
    pub(super) ended: VecDeque<EndedPhrase>,
    /// The first of them or, without any, the one that goes on.
    pub(super) phrase: Phrase,
    pub(super) running: Option<Running>,
    pub(super) guess: Option<Guess>,
    /// What to answer when everything before a position was heard.
    flushes: VecDeque<(usize, u64)>,
    /// No more audio comes.
    stopped: bool,
    report: Report,
    /// Where the audio of the last partial ended.
    pub(super) last_partial: usize,
    /// How long the last window took, the time in the queue included.
    pub(super) cost: Duration,
    last_update: usize,
    /// Where the audio ended that was heard last.
    looked: usize,
}

impl Stream {
    /// A stream that has heard nothing. `decode` is how its windows are decoded.
    pub(super) fn new(
        vocabulary: Arc<Vocabulary>,
        options: LiveOptions,
        decode: DecodeOptions,
        ears: Box<dyn Ears>,
    ) -> Self {
        let samples = |milliseconds: u32| milliseconds as usize * RATE / 1000;
        let limits = PhraseLimits {
            silence: samples(options.silence_ms),
            shortest: samples(options.min_phrase_ms),
            longest: samples(options.max_phrase_ms),
        };
        let report = Report::new(&options);
        Self {
            vocabulary,
            decode,
            ears,
            endpoint: Endpoint::new(limits),
            options,
            recent: Recent::default(),
            ended: VecDeque::new(),
            phrase: Phrase::default(),
            running: None,
            guess: None,
            flushes: VecDeque::new(),
            stopped: false,
            report,
            last_partial: 0,
            cost: Duration::ZERO,
            last_update: 0,
            looked: 0,
        }
    }

    /// Samples that have come.
    pub(super) fn received(&self) -> usize {
        self.recent.end()
    }

    /// Samples that wait: of phrases that are over or too long, and were not heard to their end.
    pub(super) fn backlog(&self) -> usize {
        let first = self.ended.front().map(|range| range.start);
        let open = self.endpoint.open().map(|open| open.start);
        first.or(open).map_or(0, |start| self.received().saturating_sub(start))
    }

    /// Up to where everything was heard and committed.
    pub(super) fn settled(&self) -> usize {
        self.received() - self.backlog()
    }

    /// Takes the next samples.
    pub(super) fn push(&mut self, samples: &[f32]) {
        self.recent.push(samples);
        self.listen(samples);
        self.forget();
        if self.endpoint.heard().saturating_sub(self.last_update) >= HEARTBEAT {
            self.say(String::new());
        }
    }

    fn listen(&mut self, samples: &[f32]) {
        let Self { ears, endpoint, ended, last_partial, .. } = self;
        ears.push(samples, &mut |probability| {
            let was_open = endpoint.open().is_some();
            ended.extend(endpoint.push(probability));
            if !was_open && endpoint.open().is_some() {
                *last_partial = endpoint.heard();
            }
        });
    }

    /// Ends the phrase here. `id` comes back when everything so far was heard.
    pub(super) fn flush(&mut self, id: u64) {
        self.ended.extend(self.endpoint.end());
        self.flushes.push_back((self.endpoint.heard(), id));
        self.acknowledge();
    }

    /// No more audio comes: what is there is heard to its end.
    pub(super) fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        // The last frame is not full.
        let missing = self.received().next_multiple_of(FRAME_SAMPLES) - self.received();
        let end = self.received();
        if missing > 0 {
            self.listen(&vec![0.0; missing]);
        }
        self.ended.extend(self.endpoint.end());
        if let Some(last) = self.ended.back_mut() {
            last.end = last.end.min(end);
        }
    }

    /// Whether no more audio comes.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// Whether everything was heard after [`stop`](Self::stop).
    pub(super) fn is_over(&self) -> bool {
        self.stopped && self.ended.is_empty() && self.running.is_none()
    }

    /// Takes what was heard in the last task; `None` where it failed and is to be done again.
    pub(super) fn heard(&mut self, done: Option<Done>) {
        let Some(Running { kind, range, voice_end }) = self.running.take() else { return };
        if matches!(kind, Kind::Partial | Kind::Guess) {
            self.last_partial = range.end;
        }
        let Some(done) = done else { return };
        self.cost = done.queued + done.heard.encode + done.heard.decode + done.heard.align;
        self.looked = self.looked.max(range.end);
        let all = self.phrase.all(&self.vocabulary, &done.heard);
        if let (Language::Detect, Some(token)) = (self.decode.language, done.heard.language) {
            self.report.language(&self.vocabulary, &done.heard);
            // Half a second of audio is not much to judge by: what a partial says is not final.
            if matches!(kind, Kind::Phrase | Kind::Cut) {
                self.decode.language = Language::Token(token);
            }
        } else {
            self.report.language(&self.vocabulary, &done.heard);
        }
        match kind {
            Kind::Partial | Kind::Guess => self.early_heard(kind, &range, voice_end, all, done),
            Kind::Cut => {
                let committed = self.phrase.prefix().len();
                let place = cut::place(&self.vocabulary, &all, committed, &range);
                let at = range.start + place.samples;
                match self.ended.pop_front() {
                    // The phrase ended in the meantime; what is left of it comes next.
                    Some(ended) if at < ended.end => {
                        self.ended.push_front(EndedPhrase { start: at, ..ended })
                    }
                    Some(_) => {}
                    None => self.endpoint.cut(at),
                }
                self.last_partial = self.last_partial.max(at);
                self.finish(range.start..at, all, place.tokens, &done);
            }
            Kind::Phrase => {
                let count = all.len();
                self.ended.pop_front();
                self.finish(range, all, count, &done);
            }
        }
        self.settle();
        self.forget();
        self.acknowledge();
        // Whoever paces what is sent by what was heard has to know that nothing waits any more.
        if !matches!(kind, Kind::Partial | Kind::Guess)
            && self.ended.is_empty()
            && self.endpoint.heard() >= self.looked + CAUGHT_UP
        {
            self.say(String::new());
        }
    }

    fn early_heard(
        &mut self,
        kind: Kind,
        range: &Range<usize>,
        voice_end: usize,
        all: Vec<Said>,
        done: Done,
    ) {
        self.report.time(&done);
        // What loops was never said.
        if kind == Kind::Partial && done.heard.pieces.iter().any(|piece| piece.looped) {
            return;
        }
        let length = seconds(range.len());
        let sure_until = if kind == Kind::Guess { length } else { length - UNSURE };
        let new = self.phrase.agree(&self.vocabulary, all.clone(), sure_until);
        if let (false, Language::Detect, Some(token)) =
            (new.is_empty(), self.decode.language, done.heard.language)
        {
            self.decode.language = Language::Token(token);
        }
        if kind == Kind::Guess {
            self.guess = Some(Guess { start: range.start, voice_end, all, done });
        }
        let added = self.report.text.append(&self.vocabulary.text(&new));
        self.say(added);
    }

    /// A phrase is over, with the first `count` tokens of what was heard.
    pub(super) fn finish(&mut self, range: Range<usize>, all: Vec<Said>, count: usize, done: &Done) {
        let mut phrase = std::mem::take(&mut self.phrase);
        let new = phrase.commit(all, count);
        let added = self.report.text.append(&self.vocabulary.text(&new));
        let said = phrase.into_committed();
        self.report.time(done);
        self.last_update = self.endpoint.heard();
        let update = Update::Text {
            committed: added,
            volatile: String::new(),
            start: seconds(range.start),
            committed_end: seconds(range.end),
            end: seconds(range.end),
        };
        self.report.updates.push(update);
        self.report.phrase(&self.vocabulary, range, &said, done);
        self.report.text.begin_phrase();
    }

    /// Tells what there is of the phrase that goes on.
    fn say(&mut self, committed: String) {
        let end = self.endpoint.heard();
        self.last_update = end;
        let first = self.ended.front().map(|range| range.start);
        let start = first.or(self.endpoint.open().map(|open| open.start));
        let volatile = self.report.text.preview(&self.phrase.tail(&self.vocabulary));
        let (start, committed_end) = match start {
            Some(start) => (seconds(start), seconds(start) + self.phrase.committed_end()),
            None => (seconds(end), seconds(end)),
        };
        let end = seconds(self.looked.max(self.settled()).min(end));
        self.report.updates.push(Update::Text {
            committed,
            volatile,
            start,
            committed_end,
            end: end.max(committed_end),
        });
    }

    pub(super) fn acknowledge(&mut self) {
        let settled = self.settled();
        let is_idle = self.ended.is_empty() && self.endpoint.open().is_none();
        while let Some((position, id)) = self.flushes.front().copied() {
            if position > settled && !is_idle {
                break;
            }
            self.flushes.pop_front();
            self.report.updates.push(Update::Flushed(id));
        }
    }

    pub(super) fn forget(&mut self) {
        let first = self.ended.front().map(|range| range.start);
        self.recent.forget(first.unwrap_or(usize::MAX).min(self.endpoint.needed_from()));
    }

    /// What there is to tell, in order.
    pub(super) fn updates(&mut self) -> Vec<Update> {
        std::mem::take(&mut self.report.updates)
    }

    /// The whole.
    pub(super) fn transcript(self) -> Transcript {
        let received = self.received();
        self.report.transcript(received, self.ears.speech())
    }
}

pub(super) fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}
