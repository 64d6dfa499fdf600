//! What a detailed answer says of each segment, as far as it is known.

use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use crate::asr::model::Token;
use crate::asr::segment::Segment;
use crate::asr::transcriber::Transcript;

/// The text tokens that were said in each segment, where the times of words were asked for; else those of a recording
/// that is one segment, and none of others.
///
/// Of what two windows both heard, tokens may come twice or not at all: the text was joined by words, this by times.
pub(super) fn tokens(transcript: &Transcript) -> Vec<Vec<Token>> {
    let segments = &transcript.segments;
    if transcript.token_times.is_empty() {
        return match (segments.len(), transcript.tokens.as_slice()) {
            (1, [tokens]) if transcript.timestamps.is_none() => vec![tokens.clone()],
            (count, _) => vec![Vec::new(); count],
        };
    }
    let mut of_segments = vec![Vec::new(); segments.len()];
    // A window begins in the one before it: what was heard until there counts once.
    let mut until = 0.0_f64;
    for (tokens, times) in transcript.tokens.iter().zip(&transcript.token_times) {
        let border = until;
        for (token, time) in tokens.iter().zip(times) {
            if time.start < border {
                continue;
            }
            until = until.max(time.end);
            if let Some(own) = nearest(segments, time).and_then(|index| of_segments.get_mut(index)) {
                own.push(*token);
            }
        }
    }
    of_segments
}

/// The segment in which the middle of a time is, or to which it is nearest.
fn nearest(segments: &[Segment], time: &Range<f64>) -> Option<usize> {
    let middle = f64::midpoint(time.start, time.end);
    let distance = |segment: &Segment| (segment.start - middle).max(middle - segment.end).max(0.0);
    let all = segments.iter().map(distance).enumerate();
    all.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(index, _)| index)
}

/// The mean log-probability of a segment: of its words, where they are known, else of all windows.
pub(super) fn mean_log_prob(segment: &Segment, transcript: &Transcript) -> f64 {
    if segment.words.is_empty() {
        return mean(transcript.mean_log_probs.iter().map(|log_prob| f64::from(*log_prob)));
    }
    mean(segment.words.iter().map(|word| f64::from(word.probability).max(f64::MIN_POSITIVE).ln()))
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// How many times smaller zlib makes a text: OpenAI's sign of one that loops.
pub(super) fn compression_ratio(text: &str) -> f64 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(text.as_bytes());
    match written.and_then(|()| encoder.finish()) {
        Ok(compressed) => text.len() as f64 / compressed.len().max(1) as f64,
        // Nothing fails that writes to memory.
        Err(_) => 1.0,
    }
}

/// How much of a segment the voice activity detection heard nobody in; 0 where it was off.
pub(super) fn no_speech(segment: &Segment, transcript: &Transcript) -> f64 {
    let Some(speech) = &transcript.speech else { return 0.0 };
    let length = segment.end - segment.start;
    if length <= 0.0 {
        return 0.0;
    }
    let within = |span: &Range<f64>| (span.end.min(segment.end) - span.start.max(segment.start)).max(0.0);
    let spoken: f64 = speech.iter().map(within).sum();
    (1.0 - spoken / length).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::asr::segment::Timestamps;
    use crate::asr::timing::TimedWord;

    fn segment(start: f64, end: f64) -> Segment {
        Segment { start, end, text: "x".to_owned(), words: Vec::new() }
    }

    #[test]
    fn tokens_go_where_they_were_said() {
        let transcript = Transcript {
            segments: vec![segment(0.0, 2.0), segment(3.0, 40.0)],
            tokens: vec![vec![1, 2, 3], vec![3, 4]],
            // The second window heard the end of the first once more.
            token_times: vec![vec![0.0..1.0, 1.0..2.2, 28.0..29.5], vec![29.0..29.6, 30.0..31.0]],
            timestamps: Some(Timestamps::Word),
            ..Transcript::default()
        };
        assert_eq!(tokens(&transcript), [vec![1, 2], vec![3, 4]]);
    }

    #[test]
    fn without_times_only_one_segment_has_tokens() {
        let one = Transcript {
            segments: vec![segment(0.0, 2.0)],
            tokens: vec![vec![1, 2]],
            ..Transcript::default()
        };
        assert_eq!(tokens(&one), [vec![1, 2]]);
        let segments = vec![segment(0.0, 2.0), segment(2.0, 3.0)];
        assert_eq!(tokens(&Transcript { segments, ..one.clone() }), [vec![], vec![]] as [Vec<Token>; 2]);
        // Tokens of times are among these.
        let timed = Transcript { timestamps: Some(Timestamps::Segment), ..one };
        assert_eq!(tokens(&timed), [vec![]] as [Vec<Token>; 1]);
    }

    #[test]
    fn probabilities_are_those_of_the_words_or_of_the_windows() {
        let transcript = Transcript { mean_log_probs: vec![-0.5, -1.5], ..Transcript::default() };
        assert!((mean_log_prob(&segment(0.0, 1.0), &transcript) + 1.0).abs() < 1e-6);
        let word = |probability| TimedWord { text: "x".to_owned(), start: 0.0, end: 1.0, probability };
        let segment = Segment { words: vec![word(1.0), word(0.5)], ..segment(0.0, 1.0) };
        assert!((mean_log_prob(&segment, &transcript) - 0.5_f64.ln() / 2.0).abs() < 1e-6);
        let impossible = Segment { words: vec![word(0.0)], ..segment };
        assert!(mean_log_prob(&impossible, &transcript).is_finite());
        assert!(mean_log_prob(&super::tests::segment(0.0, 1.0), &Transcript::default()).abs() < 1e-6);
    }

    #[test]
    fn a_text_that_loops_is_compressed_well() {
        assert!(compression_ratio("seven three zero nine") < 1.1);
        assert!(compression_ratio(&"seven ".repeat(50)) > 5.0);
        assert!(compression_ratio("") < 1.1);
    }

    #[test]
    fn silence_within_a_segment_is_counted() {
        let transcript = Transcript { speech: Some(vec![0.0..1.0, 3.0..9.0]), ..Transcript::default() };
        let share = |start, end| no_speech(&segment(start, end), &transcript);
        assert!((share(0.0, 4.0) - 0.5).abs() < 1e-9);
        assert!((share(1.0, 3.0) - 1.0).abs() < 1e-9);
        assert!(share(4.0, 5.0).abs() < 1e-9);
        assert!(share(2.0, 2.0).abs() < 1e-9);
        assert!(no_speech(&segment(1.0, 3.0), &Transcript::default()).abs() < 1e-9);
    }
}
