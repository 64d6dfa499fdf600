//! What a stream has to tell: its text as it grows, its segments, and its transcript at the end. Pure.

use std::ops::Range;

use super::phrase::{Said, tokens};
use super::stream::seconds;
use super::text::Growing;
use super::{LiveOptions, Update};
use crate::asr::backend::Done;
use crate::asr::recognizer::Heard;
use crate::asr::segment::{Segment, Timestamps};
use crate::asr::timing::{self, TimedText, TimedToken};
use crate::asr::transcriber::{RawText, SkipReason, Skipped, Transcript};
use crate::asr::vocabulary::Vocabulary;
use crate::asr::word;
use crate::text::Orthography;

/// See above.
#[derive(Debug)]
pub(super) struct Report {
    /// The text.
    pub(super) text: Growing,
    /// What was not told yet.
    pub(super) updates: Vec<Update>,
    orthography: Orthography,
    timestamps: Timestamps,
    transcript: Transcript,
    /// The text of each segment as the model wrote it, where its spelling was changed.
    raw: Vec<String>,
    /// What was decoded, in order.
    phrases: Vec<Range<usize>>,
}

impl Report {
    pub(super) fn new(options: &LiveOptions) -> Self {
        let orthography = options.request.orthography;
        Self {
            text: Growing::new(orthography),
            updates: Vec::new(),
            orthography,
            timestamps: options.request.timestamps,
            transcript: Transcript::default(),
            raw: Vec::new(),
            phrases: Vec::new(),
        }
    }

    /// Notes the language that was spoken or assumed; the last judgement holds.
    pub(super) fn language(&mut self, vocabulary: &Vocabulary, heard: &Heard) {
        let code = |token| vocabulary.language(token).map(str::to_owned);
        self.transcript.language = heard.language.and_then(code);
        if !heard.languages.is_empty() {
            let judged = heard.languages.iter();
            self.transcript.languages = judged.filter_map(|(token, p)| Some((code(*token)?, *p))).collect();
        }
    }

    /// Notes where the time went.
    pub(super) fn time(&mut self, done: &Done) {
        self.transcript.heard_twice += done.heard.heard_twice;
        let timings = &mut self.transcript.timings;
        timings.queued += done.queued;
        timings.encode += done.heard.encode;
        timings.decode += done.heard.decode;
        timings.align += done.heard.align;
    }

    /// Notes a phrase that is over, and tells its segments.
    pub(super) fn phrase(
        &mut self,
        vocabulary: &Vocabulary,
        range: Range<usize>,
        said: &[Said],
        done: &Done,
    ) {
        let pieces = &done.heard.pieces;
        self.transcript.tokens.push(tokens(said));
        let mean = |sum: f32, count: usize| sum / count.max(1) as f32;
        self.transcript.mean_log_probs.push(mean(said.iter().map(|s| s.log_prob).sum(), said.len()));
        self.transcript.unended += pieces.iter().filter(|piece| !piece.hypothesis.ended).count();
        self.transcript.looped += pieces.iter().filter(|piece| piece.looped).count();
        if self.timestamps == Timestamps::Word {
            let sources = pieces.iter().filter_map(|piece| Some(piece.times.as_ref()?.source));
            self.transcript.word_times = self.transcript.word_times.into_iter().chain(sources).max();
        }
        for mut segment in segments(vocabulary, &range, said, done) {
            let raw = (self.orthography != Orthography::None).then(|| segment.text.clone());
            segment.text = self.orthography.normalize(&segment.text);
            if self.timestamps != Timestamps::Word {
                segment.words = Vec::new(); // and not their room, which hours of segments would keep
            }
            for word in &mut segment.words {
                word.text = self.orthography.normalize(&word.text);
            }
            self.raw.extend(raw.clone());
            self.transcript.segments.push(segment.clone());
            self.updates.push(Update::Segment { segment, raw });
        }
        self.phrases.push(range);
    }

    /// All of it, after so many samples, in which there was this `speech`.
    pub(super) fn transcript(self, received: usize, speech: Option<Vec<Range<usize>>>) -> Transcript {
        let in_seconds = |range: &Range<usize>| seconds(range.start)..seconds(range.end.min(received));
        let ends = self.phrases.iter().map(|phrase| phrase.end);
        let starts = self.phrases.iter().map(|phrase| phrase.start).chain([received]);
        let gaps = [0].into_iter().chain(ends).zip(starts).filter(|(end, start)| end < start);
        let skipped = gaps.map(|(end, start)| Skipped {
            start: seconds(end),
            end: seconds(start),
            reason: SkipReason::NoSpeech,
        });
        let raw = self.text.raw().map(|text| RawText { text: text.to_owned(), segments: self.raw });
        Transcript {
            text: self.text.text().to_owned(),
            raw,
            timestamps: Some(self.timestamps).filter(|wanted| *wanted != Timestamps::None),
            duration: seconds(received),
            decoded: self.phrases.iter().map(|phrase| seconds(phrase.len())).fold(0.0, |a, b| a + b),
            speech: speech.map(|speech| speech.iter().map(in_seconds).collect()),
            skipped: skipped.collect(),
            ..self.transcript
        }
    }
}

/// The segments of a phrase, in the stream's time.
fn segments(vocabulary: &Vocabulary, range: &Range<usize>, said: &[Said], done: &Done) -> Vec<Segment> {
    let (text, ranges) = vocabulary.text_by_token(&tokens(said));
    let timed = said.iter().zip(ranges).map(|(said, range)| TimedToken {
        range,
        time: said.time.clone(),
        probability: said.log_prob.exp(),
    });
    let words = word::words(&text, 0);
    let timed = TimedText { tokens: timed.collect(), text };
    let pauses: Vec<Range<f64>> =
        done.heard.pauses.iter().map(|pause| seconds(pause.start)..seconds(pause.end)).collect();
    let offset = seconds(range.start);
    let mut segments = timing::segments(&words, &[timed], &pauses, seconds(range.len()));
    for segment in &mut segments {
        segment.start += offset;
        segment.end += offset;
        for word in &mut segment.words {
            word.start += offset;
            word.end += offset;
        }
    }
    segments
}
