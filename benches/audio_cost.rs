//! What it costs to decode audio files, `cargo bench --bench audio_cost -- FILE…`: for each, the seconds of CPU for an
//! hour of it, and the most memory that the program has used so far.
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs;
use std::time::Duration;

use imesli::audio::{Limits, Recording};

fn main() {
    for file in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
        let before = processor_time();
        match Recording::open(&file, &Limits { max_seconds: 24 * 3_600, ..Limits::default() }) {
            Ok(recording) => {
                let spent = (processor_time() - before).as_secs_f64();
                let hours = recording.samples.seconds() / 3_600.0;
                let source = &recording.source;
                println!(
                    "{file}: {} {} Hz {} ch, {hours:.3} h, {:.2} s for an hour, {} kB at most",
                    source.format,
                    source.sample_rate,
                    source.channels,
                    spent / hours,
                    peak_memory()
                );
            }
            Err(error) => println!("{file}: {error}"),
        }
    }
}

/// Of all threads, in user and system mode.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces; in hundredths of a second.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    Duration::from_millis(
        10 * fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>(),
    )
}

fn peak_memory() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap_or("? kB").trim().trim_end_matches(" kB").to_owned()
}
