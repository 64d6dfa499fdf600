//! One transcript of what was heard in the windows of a recording. Pure.

use std::ops::Range;

use super::backend::Done;
use super::model::Token;
use super::recognizer::{DecodeOptions, Piece};
use super::segment::{Segment, segments};
use super::stitch::{WindowText, stitch};
use super::timing::{self, TimedText, TimedToken};
use super::transcriber::Transcript;
use super::vocabulary::Vocabulary;
use super::word;
use crate::audio::SAMPLE_RATE;
use crate::audio::window::Window;

/// Joins what was heard in the windows of `duration` seconds.
pub(super) fn assemble(
    vocabulary: &Vocabulary,
    duration: f64,
    windows: &[Window],
    done: &[Done],
    options: &DecodeOptions,
) -> Transcript {
    let mut transcript = Transcript { duration, decoded: duration, ..Transcript::default() };
    let mut texts = Vec::with_capacity(windows.len());
    for (window, done) in windows.iter().zip(done) {
        let heard = &done.heard;
        let mut tokens = Vec::new();
        let mut sum = 0.0;
        let mut text = String::new();
        for piece in &heard.pieces {
            let hypothesis = &piece.hypothesis;
            if options.alignment.is_none() {
                let wanted = options.timestamps.is_some();
                transcript.segments.extend(segments_of(vocabulary, window, piece, wanted));
            }
            text.push_str(&vocabulary.text(&hypothesis.tokens));
            tokens.extend_from_slice(&hypothesis.tokens);
            sum += hypothesis.mean_log_prob();
            transcript.unended += usize::from(!hypothesis.ended);
            transcript.looped += usize::from(piece.looped);
        }
        transcript.mean_log_probs.push(sum / heard.pieces.len().max(1) as f32);
        transcript.tokens.push(tokens);
        transcript.heard_twice += heard.heard_twice;
        transcript.timings.queued += done.queued;
        transcript.timings.encode += heard.encode;
        transcript.timings.decode += heard.decode;
        transcript.timings.align += heard.align;
        texts.push(WindowText { window: window.clone(), text });
    }
    let language = done.first().and_then(|done| done.heard.language);
    let code = |token: Token| vocabulary.language(token).map(str::to_owned);
    transcript.language = language.and_then(code);
    let judged = done.iter().flat_map(|done| &done.heard.languages);
    transcript.languages = judged.filter_map(|(token, p)| Some((code(*token)?, *p))).collect();
    let words = stitch(&texts);
    transcript.text = word::text(&words);
    if options.alignment.is_some() {
        let timed: Vec<TimedText> = windows
            .iter()
            .zip(done)
            .map(|(window, done)| timed_text(vocabulary, window, &done.heard.pieces))
            .collect();
        let times = |part: &TimedText| part.tokens.iter().map(|token| token.time.clone()).collect();
        transcript.token_times = timed.iter().map(times).collect();
        transcript.segments = timing::segments(&words, &timed, &all_pauses(windows, done), duration);
        let sources = done.iter().flat_map(|done| &done.heard.pieces);
        transcript.word_times = sources.filter_map(|piece| Some(piece.times.as_ref()?.source)).max();
    }
    transcript
}

/// The text of the first windows, of which some are done, as far as the next one can't change it.
pub(super) fn settled(vocabulary: &Vocabulary, windows: &[Window], done: &[Done]) -> String {
    let text = |done: &Done| {
        done.heard.pieces.iter().map(|piece| vocabulary.text(&piece.hypothesis.tokens)).collect()
    };
    let texts: Vec<WindowText> = windows
        .iter()
        .zip(done)
        .map(|(window, done)| WindowText { window: window.clone(), text: text(done) })
        .collect();
    let mut words = stitch(&texts);
    // A window that overlaps with the last one may change that one's words, and none before.
    if windows.get(done.len()).is_some_and(|next| next.overlap > 0) {
        let own = texts.last().map_or(0, |last| word::words(&last.text, 0).len());
        words.truncate(words.len() - own.min(words.len()));
    }
    word::text(&words)
}

/// The segments of a piece as the model wrote them, in the recording's time.
fn segments_of(vocabulary: &Vocabulary, window: &Window, piece: &Piece, timestamps: bool) -> Vec<Segment> {
    let offset = seconds(window.range.start + piece.range.start);
    // Of what two windows both heard, the middle of their overlap is the border.
    let border = seconds(window.range.start + window.overlap / 2);
    segments(vocabulary, &piece.hypothesis.tokens, seconds(piece.range.len()))
        .into_iter()
        .filter(|segment| !timestamps || offset + segment.end > border || window.overlap == 0)
        .map(|segment| Segment { start: segment.start + offset, end: segment.end + offset, ..segment })
        .collect()
}

/// The text of a window and when its tokens were said, in the recording's time.
fn timed_text(vocabulary: &Vocabulary, window: &Window, pieces: &[Piece]) -> TimedText {
    let mut all = TimedText::default();
    for piece in pieces {
        let hypothesis = &piece.hypothesis;
        let offset = seconds(window.range.start + piece.range.start);
        let (text, ranges) = vocabulary.text_by_token(&hypothesis.tokens);
        let generated = hypothesis.tokens.iter().zip(&hypothesis.log_probs);
        let of_text = generated.filter(|(token, _)| vocabulary.is_text(**token));
        let times = piece.times.iter().flat_map(|times| &times.times);
        all.tokens.extend(of_text.zip(ranges).zip(times).map(|(((_, log_prob), range), time)| TimedToken {
            range: range.start + all.text.len()..range.end + all.text.len(),
            time: time.start + offset..time.end + offset,
            probability: log_prob.exp(),
        }));
        all.text.push_str(&text);
    }
    all
}

/// The pauses of all windows in seconds of the recording. Of what two windows share, each half is looked at in one.
fn all_pauses(windows: &[Window], done: &[Done]) -> Vec<Range<f64>> {
    let mut pauses: Vec<Range<f64>> = Vec::new();
    for (window, done) in windows.iter().zip(done) {
        let start = window.range.start;
        let border = seconds(start + window.overlap / 2);
        pauses.retain_mut(|pause| {
            pause.end = pause.end.min(border);
            pause.start < pause.end
        });
        let own =
            done.heard.pauses.iter().map(|p| seconds(start + p.start).max(border)..seconds(start + p.end));
        pauses.extend(own.filter(|pause| pause.start < pause.end));
    }
    pauses
}

fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}
