//! The cost of our token search beside whisper.cpp's own, in one run on one machine:
//!
//!     cargo bench --bench decode_cost -- GGML [TOKENS] [ROUNDS] [THREADS]
//!
//! Both decode the same 30 s of noise to TOKENS tokens (random weights never end a text by themselves; those
//! of `../shared/bench` have a real model's cost). The rounds alternate, so that a machine that slows down
//! slows both. Printed are the medians, and the median of the rounds' ratios.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    unsafe_code,
    reason = "a benchmark may panic, prints its table, and needs a raw callback"
)]

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use imesli::asr::model::{Model, ModelOptions};
use imesli::asr::recognizer::{Cancel, DecodeOptions, Language, Recognizer, Task};
use imesli::asr::search::SearchOptions;
use imesli::asr::vocabulary::{SpecialTokens, Vocabulary};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let Some(ggml) = arguments.first() else {
        println!("decode_cost: give a GGML file");
        return;
    };
    let number = |index: usize, default: usize| arguments.get(index).map_or(default, |a| a.parse().unwrap());
    let (tokens, rounds, threads) = (number(1, 50), number(2, 5), number(3, 2));
    let noise = noise();
    let mut ours = ours(ggml, threads);
    let mut theirs = Theirs::new(ggml, threads);
    println!("{ggml}, {tokens} tokens, {rounds} rounds, {threads} threads; ms per step");
    println!("| search | whisper.cpp | imesli | ratio (imesli / whisper.cpp) |\n|---|---|---|---|");
    for beams in [1_usize, 5] {
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            let wcpp = theirs.decode(&noise, i32::try_from(beams).unwrap(), tokens);
            let options = options(&ours.1, beams, tokens);
            let heard = ours.0.recognize(&noise, &options, &Cancel::default()).unwrap();
            assert_eq!(heard.pieces[0].hypothesis.tokens.len(), tokens, "the text ended by itself");
            pairs.push((wcpp / tokens as f64, heard.decode.as_secs_f64() * 1e3 / tokens as f64));
        }
        let (wcpp, imesli) = (median(pairs.iter().map(|p| p.0)), median(pairs.iter().map(|p| p.1)));
        let ratio = median(pairs.iter().map(|p| p.1 / p.0));
        println!(
            "| {} | {wcpp:.2} | {imesli:.2} | {ratio:.2} |",
            if beams == 1 { "greedy" } else { "beam 5" }
        );
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn noise() -> Vec<f32> {
    let mut state = 1u32;
    (0..480_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .collect()
}

fn ours(ggml: &str, threads: usize) -> (Recognizer, Arc<Vocabulary>) {
    let model = Model::load(Path::new(ggml), ModelOptions::default()).unwrap();
    let stock = model.stock_tokens();
    let special = SpecialTokens {
        end_of_text: stock.end_of_text,
        start_of_transcript: stock.start_of_transcript,
        translate: Some(stock.translate),
        transcribe: Some(stock.transcribe),
        start_of_prev: Some(stock.start_of_prev),
        no_speech: Some(stock.no_speech),
        no_timestamps: Some(stock.no_timestamps),
        timestamp_begin: Some(stock.timestamp_begin),
        languages: [("en".to_owned(), stock.start_of_transcript + 1)].into(),
        added_text: Default::default(),
    };
    let vocabulary = Arc::new(Vocabulary::new(&model, special));
    (Recognizer::new(model.new_state(threads).unwrap(), Arc::clone(&vocabulary)), vocabulary)
}

fn options(vocabulary: &Vocabulary, beams: usize, tokens: usize) -> DecodeOptions {
    let special = vocabulary.special();
    DecodeOptions {
        language: Language::Token(special.languages["en"]),
        task: Task::Transcribe,
        timestamps: None,
        prompt: Vec::new(),
        prefix: Vec::new(),
        audio_context: imesli::asr::audio_context::AudioContext::Full,
        suppress: vec![special.end_of_text],
        begin_suppress: Vec::new(),
        search: SearchOptions { beams, max_new_tokens: tokens, ..SearchOptions::default() },
        alignment: None,
        loop_guard: false,
    }
}

struct Theirs {
    state: WhisperState,
    threads: usize,
}

impl Theirs {
    fn new(ggml: &str, threads: usize) -> Self {
        let mut parameters = WhisperContextParameters::default();
        parameters.flash_attn(true);
        let context = WhisperContext::new_with_params(ggml, parameters).unwrap();
        Self { state: context.create_state().unwrap(), threads }
    }

    /// Milliseconds of `whisper_full` from the logits of the prompt to the end: what comes before, spectrogram,
    /// encoder and prompt, is left out (our time has the prompt in it).
    fn decode(&mut self, samples: &[f32], beams: i32, tokens: usize) -> f64 {
        let strategy = match beams {
            1 => SamplingStrategy::Greedy { best_of: 1 },
            beam_size => SamplingStrategy::BeamSearch { beam_size, patience: -1.0 },
        };
        let mut parameters = FullParams::new(strategy);
        parameters.set_n_threads(i32::try_from(self.threads).unwrap());
        parameters.set_language(Some("en"));
        parameters.set_no_context(true);
        parameters.set_no_timestamps(true);
        parameters.set_single_segment(true);
        parameters.set_temperature_inc(0.0);
        parameters.set_suppress_blank(false);
        parameters.set_max_tokens(i32::try_from(tokens - 1).unwrap());
        parameters.set_print_progress(false);
        let first = OnceLock::<Instant>::new();
        // SAFETY: `first` outlives the call of full() below, and may be set from any thread.
        unsafe {
            parameters.set_filter_logits_callback(Some(note_first));
            parameters.set_filter_logits_callback_user_data((&raw const first).cast_mut().cast());
        }
        self.state.full(parameters, samples).unwrap();
        first.get().expect("no logits were filtered").elapsed().as_secs_f64() * 1e3
    }
}

unsafe extern "C" fn note_first(
    _: *mut whisper_rs_sys::whisper_context,
    _: *mut whisper_rs_sys::whisper_state,
    _: *const whisper_rs_sys::whisper_token_data,
    _: c_int,
    _: *mut f32,
    first: *mut c_void,
) {
    // SAFETY: what decode() above handed over.
    let first = unsafe { &*first.cast::<OnceLock<Instant>>() };
    first.get_or_init(Instant::now);
}
