//! Bytes of any audio file to blocks of samples. The only file that names hound and symphonia.
//!
//! What a file is, its content says, never its name. WAV goes to hound behind a head that
//! [`super::riff`] put right; everything else, and the kinds of WAV that hound does not know, to symphonia.

use std::any::Any;
use std::io::{BufReader, Cursor, Read, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use hound::{SampleFormat, WavReader};
use symphonia::core::codecs::audio::well_known::CODEC_ID_OPUS;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

use super::riff::Wav;
use super::sink::Sink;
use crate::error::{Error, Result};

/// Samples (of all channels) that are read from a WAV file at a time.
const BLOCK: usize = 16 * 1024;
/// Frames that a packet may announce: twice the longest that any codec here allows (FLAC, 65,535). symphonia
/// allocates what the file says.
const MAX_PACKET_FRAMES: u64 = 128 * 1024;
/// The name of what hound reads, in the manner of symphonia's names.
const WAV_NAME: &str = "wave/pcm";

/// A file, or one in memory.
type Source<'a> = Box<dyn MediaSource + 'a>;

/// Decodes all of what `open` opens into `sink`, and returns the name of its format ("wave/pcm", "isomp4/aac").
///
/// A file that ends or breaks in the middle gives what could be decoded, with a warning in the log.
pub(super) fn decode<'a>(open: &dyn Fn() -> Result<Source<'a>>, sink: &mut Sink) -> Result<String> {
    // The codecs read hostile bytes and are other people's: their panics are the file's fault, not ours.
    catch_unwind(AssertUnwindSafe(|| decode_any(open, sink))).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(panic.as_ref()), "an audio decoder panicked");
        Err(Error::InvalidInput("the audio file is damaged".to_owned()))
    })
}

fn decode_any<'a>(open: &dyn Fn() -> Result<Source<'a>>, sink: &mut Sink) -> Result<String> {
    let mut source = open()?;
    let len = source.byte_len().unwrap_or(0);
    if len == 0 {
        return Err(Error::InvalidInput("the audio file is empty".to_owned()));
    }
    let unreadable = |error| Error::internal_from("reading the audio file", error);
    if let Some(wav) = Wav::read(&mut source, len).map_err(unreadable)? {
        if wav.repaired {
            tracing::warn!(bytes = wav.len, "the WAV file's own length is wrong: reading to its end");
        }
        sink.announce(wav.len / u64::from(wav.frame), wav.rate)?;
        source.seek(SeekFrom::Start(wav.start)).map_err(unreadable)?;
        if wav.is_plain() {
            return decode_plain_wav(&wav, source, sink);
        }
        let head = Cursor::new(wav.head(wav.len));
        let body = source.take(wav.len);
        let reader = probe(Box::new(ReadOnlySource::new(head.chain(body)))).map_err(|e| probe_error(&e))?;
        return decode_container(reader, sink);
    }
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let reader = match probe(source) {
        Ok(reader) => reader,
        // Some readers look at the end of a file first, and refuse one that is cut off: but not if they can't look.
        Err(first) => probe(Box::new(ReadOnlySource::new(open()?))).map_err(|_| probe_error(&first))?,
    };
    decode_container(reader, sink)
}

/// Reads the samples behind `wav`'s head, at which `source` stands.
fn decode_plain_wav(wav: &Wav, mut source: Source<'_>, sink: &mut Sink) -> Result<String> {
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
                return Ok(WAV_NAME.to_owned());
            }
            if block.is_empty() {
                break;
            }
        }
        left -= part;
    }
    Ok(WAV_NAME.to_owned())
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

fn probe<'a>(source: Source<'a>) -> symphonia::core::errors::Result<Box<dyn FormatReader + 'a>> {
    let stream = MediaSourceStream::new(source, Default::default());
    let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
    symphonia::default::get_probe().probe(&Hint::new(), stream, format, metadata)
}

fn probe_error(error: &Symphonia) -> Error {
    match error {
        Symphonia::Unsupported(_) | Symphonia::IoError(_) => {
            tracing::debug!(%error, "no audio format found");
            Error::InvalidInput(
                "the file is no audio of a kind that is known here, or it is cut off".to_owned(),
            )
        }
        other => container_error(other),
    }
}

fn decode_container(mut reader: Box<dyn FormatReader + '_>, sink: &mut Sink) -> Result<String> {
    let (mut track, mut decoder) = open_track(reader.as_ref())?;
    let name = format!("{}/{}", reader.format_info().short_name, decoder.codec_info().short_name);
    let mut block = Vec::new();
    let (mut good, mut bad) = (0_u64, 0_u64);
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // Another stream follows in the same file (chained Ogg).
            Err(Symphonia::ResetRequired) => {
                (track, decoder) = open_track(reader.as_ref())?;
                continue;
            }
            Err(error) => {
                give_up_or_keep(sink, container_error(&error))?;
                break;
            }
        };
        if packet.track_id != track {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(decoded) => {
                good += 1;
                decoded.copy_to_vec_interleaved(&mut block);
                let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
                sink.push(rate, channels, &block)?;
            }
            // The decoder can go on with the next packet.
            Err(Symphonia::DecodeError(_) | Symphonia::IoError(_)) => bad += 1,
            Err(Symphonia::ResetRequired) => decoder.reset(),
            Err(error) => {
                give_up_or_keep(sink, container_error(&error))?;
                break;
            }
        }
    }
    // Bytes that only happen to look like the start of an audio file decode to a few stray packets.
    if bad > good {
        return Err(Error::InvalidInput("the file is damaged, or no audio file".to_owned()));
    }
    if bad > 0 {
        tracing::warn!(bad, good, "some packets of the audio file can't be decoded");
    }
    Ok(name)
}

/// The audio track to decode (the default one, else the first that we can), and its decoder.
fn open_track(reader: &dyn FormatReader) -> Result<(u32, Box<dyn AudioDecoder>)> {
    let default = reader.default_track(TrackType::Audio);
    let mut refusal = Error::InvalidInput("the file has no audio track".to_owned());
    for track in default.into_iter().chain(reader.tracks()) {
        let Some(codec) = track.codec_params.as_ref().and_then(|codec| codec.audio()) else { continue };
        if codec.max_frames_per_packet.is_some_and(|frames| frames > MAX_PACKET_FRAMES) {
            refusal = Error::InvalidInput("the audio file is damaged: its packets are too long".to_owned());
            continue;
        }
        match symphonia::default::get_codecs().make_audio_decoder(codec, &AudioDecoderOptions::default()) {
            Ok(decoder) => return Ok((track.id, decoder)),
            Err(error) => {
                let container = reader.format_info().short_name;
                let why = if codec.codec == CODEC_ID_OPUS { "Opus".to_owned() } else { error.to_string() };
                refusal = Error::Unsupported(format!(
                    "the audio codec in this {container} file can't be decoded: {why}"
                ));
            }
        }
    }
    Err(refusal)
}

fn container_error(error: &Symphonia) -> Error {
    match error {
        Symphonia::Unsupported(what) => {
            Error::Unsupported(format!("the audio file can't be decoded: {what}"))
        }
        Symphonia::LimitError(what) => Error::TooLarge(format!("the audio file exceeds a limit: {what}")),
        other => Error::InvalidInput(format!("the audio file can't be decoded: {other}")),
    }
}

/// After a failure in the middle of a file: what came before it counts, if anything did.
fn give_up_or_keep(sink: &Sink, error: Error) -> Result<()> {
    if sink.is_empty() {
        return Err(error);
    }
    tracing::warn!(%error, "the audio file is cut off or damaged: keeping what was decoded");
    Ok(())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
