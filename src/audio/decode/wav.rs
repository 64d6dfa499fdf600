//! Plain WAV to samples, by hound.

use std::io::{BufReader, Cursor, Read};

use hound::{SampleFormat, WavReader};

use super::super::riff::Wav;
use super::super::sink::Sink;
use super::{Source, give_up_or_keep};
use crate::error::{Error, Result};

/// Samples (of all channels) that are read at a time.
const BLOCK: usize = 16 * 1024;
/// The name of what hound reads, in the manner of symphonia's names.
const NAME: &str = "wave/pcm";

/// Reads the samples behind `wav`'s head, at which `source` stands.
pub(super) fn decode(wav: &Wav, mut source: Source<'_>, sink: &mut Sink) -> Result<String> {
    let channels = usize::from(wav.channels);
    let frames = (BLOCK / channels).max(1);
    let mut block = Vec::with_capacity(frames * channels);
    let mut left = wav.len;
    while wav.part(left) > 0 {
        let part = wav.part(left);
        let body = source.as_mut().take(part);
        let reader = BufReader::with_capacity(BLOCK * 4, Cursor::new(wav.head(part)).chain(body));
        let mut reader = WavReader::new(reader).map_err(wav_error)?;
        loop {
            block.clear();
            let failure = match reader.spec().sample_format {
                SampleFormat::Float => {
                    fill(&mut block, reader.samples::<f32>().take(frames * channels), |s| s)
                }
                SampleFormat::Int => {
                    let full = 1.0 / (1_u64 << (wav.bits - 1)) as f32;
                    let samples = reader.samples::<i32>().take(frames * channels);
                    fill(&mut block, samples, |sample| sample as f32 * full)
                }
            };
            sink.push(wav.rate, channels, &block)?;
            if let Some(error) = failure {
                give_up_or_keep(sink, wav_error(error))?;
                return Ok(NAME.to_owned());
            }
            if block.is_empty() {
                break;
            }
        }
        left -= part;
    }
    Ok(NAME.to_owned())
}

/// Appends the samples up to the first that can't be read, and returns why.
fn fill<S>(
    block: &mut Vec<f32>,
    samples: impl Iterator<Item = hound::Result<S>>,
    scale: impl Fn(S) -> f32,
) -> Option<hound::Error> {
    for sample in samples {
        match sample {
            Ok(sample) => block.push(scale(sample)),
            Err(error) => return Some(error),
        }
    }
    None
}

fn wav_error(error: hound::Error) -> Error {
    Error::InvalidInput(format!("the WAV file can't be read: {error}"))
}
