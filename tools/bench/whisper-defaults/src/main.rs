//! Transcribes with whisper.cpp's own search, in a build and with a context as whisper-rs has them by default.
//!
//!     whisper-defaults MODEL.bin THREADS
//!
//! Reads a line of JSON for each file from standard input, `{"file": "speech.wav", "max_tokens": 20}` (16 kHz, mono, 16
//! bit), and answers each with a line, `{"seconds": 1.5, "tokens": 20}`. A window of 30 s gets `max_tokens` tokens.

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use whisper_rs::{FullParams, SamplingStrategy, WhisperContext, WhisperContextParameters, WhisperState};

#[derive(Deserialize)]
struct Request {
    file: String,
    max_tokens: i32,
}

#[derive(Serialize)]
struct Answer {
    seconds: f64,
    tokens: i32,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(threads), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: whisper-defaults MODEL.bin THREADS".into());
    };
    let threads = threads.parse()?;
    let context = WhisperContext::new_with_params(&model, WhisperContextParameters::default())?;
    let mut state = context.create_state()?;
    for line in stdin().lock().lines() {
        let answer = transcribe(&mut state, &serde_json::from_str(&line?)?, threads)?;
        let mut out = stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

/// Reading the file counts, as it does for the others.
fn transcribe(state: &mut WhisperState, request: &Request, threads: i32) -> Result<Answer, Box<dyn Error>> {
    let begun = Instant::now();
    let samples = hound::WavReader::open(&request.file)?
        .into_samples::<i16>()
        .map(|sample| sample.map(|sample| f32::from(sample) / 32768.0))
        .collect::<Result<Vec<_>, _>>()?;
    let mut params = FullParams::new(SamplingStrategy::BeamSearch { beam_size: 5, patience: -1.0 });
    params.set_n_threads(threads);
    params.set_language(Some("en"));
    params.set_no_timestamps(true);
    params.set_no_context(true);
    // Whatever random weights write would be tried again, hotter and hotter.
    params.set_temperature_inc(0.0);
    // whisper.cpp ends a window with the token after the limit.
    params.set_max_tokens(request.max_tokens - 1);
    params.set_print_progress(false);
    params.set_print_realtime(false);
    params.set_print_timestamps(false);
    params.set_print_special(false);
    state.full(params, &samples)?;
    let seconds = begun.elapsed().as_secs_f64();
    let tokens = (0..state.full_n_segments())
        .filter_map(|number| state.get_segment(number))
        .map(|segment| segment.n_tokens())
        .sum();
    Ok(Answer { seconds, tokens })
}
