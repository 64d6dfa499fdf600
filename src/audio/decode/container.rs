//! Containers and their packets, by symphonia.

use std::io::ErrorKind;

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::errors::Error as Symphonia;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::well_known::{FORMAT_ID_CAF, FORMAT_ID_ISOMP4, FORMAT_ID_MKV, FORMAT_ID_MP3};
use symphonia::core::formats::{FormatOptions, FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::codec::Codec;
use super::opus::Head;
use super::trim::{Bounds, Span, Trim};
use super::{Open, Source, give_up_or_keep, matroska, mp4};
use crate::audio::sink::Sink;
use crate::error::{Error, Result};

/// Frames that a packet may announce: twice the longest that any codec here allows (FLAC, 65,535). symphonia
/// allocates what the file says.
const MAX_PACKET_FRAMES: u64 = 128 * 1024;

/// Finds out what kind of file `source` is.
pub(super) fn probe<'a>(source: Source<'a>) -> symphonia::core::errors::Result<Box<dyn FormatReader + 'a>> {
    let stream = MediaSourceStream::new(source, Default::default());
    let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
    symphonia::default::get_probe().probe(&Hint::new(), stream, format, metadata)
}

/// The error for a file that [`probe`] can't find the kind of.
pub(super) fn probe_error(error: &Symphonia) -> Error {
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

/// Decodes one track of the file, cut to the recording in it. `open` is the same file.
pub(super) fn decode<'a>(
    mut reader: Box<dyn FormatReader + '_>,
    open: Open<'_, 'a>,
    sink: &mut Sink,
) -> Result<String> {
    if reader.format_info().format == FORMAT_ID_ISOMP4 && !mp4::is_sane(open()?) {
        return Err(Error::InvalidInput("the MP4 file is damaged: it announces too many packets".to_owned()));
    }
    let mut input = Input::open(reader.as_ref(), open)?;
    let name = format!("{}/{}", reader.format_info().short_name, input.codec.name());
    let mut block = Vec::new();
    let (mut good, mut bad) = (0_u64, 0_u64);
    loop {
        let packet = match reader.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A recorder that streams leaves the lengths open: there is no other end.
            Err(Symphonia::IoError(error))
                if error.kind() == ErrorKind::UnexpectedEof
                    && reader.format_info().format == FORMAT_ID_MKV
                    && !sink.is_empty() =>
            {
                break;
            }
            // Another stream follows in the same file (chained Ogg).
            Err(Symphonia::ResetRequired) => {
                input = Input::open(reader.as_ref(), open)?;
                continue;
            }
            Err(error) => {
                give_up_or_keep(sink, container_error(&error))?;
                break;
            }
        };
        if packet.track_id != input.track {
            continue;
        }
        match input.codec.decode(&packet, &mut block) {
            Ok((rate, channels)) => {
                good += 1;
                input.trim.pass(rate, channels, &mut block, input.codec.padding(&packet));
                sink.push(rate, channels, &block)?;
            }
            // The decoder can go on with the next packet.
            Err(Symphonia::DecodeError(_) | Symphonia::IoError(_)) => bad += 1,
            Err(Symphonia::ResetRequired) => input.codec.reset(),
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

/// The track that is decoded, and its decoder.
struct Input {
    track: u32,
    codec: Codec,
    trim: Trim,
}

impl Input {
    /// Opens the audio track: the default one, else the first that we can decode.
    fn open(reader: &dyn FormatReader, open: Open<'_, '_>) -> Result<Self> {
        let default = reader.default_track(TrackType::Audio);
        let mut refusal =
            Error::InvalidInput("the file has no audio track that can be decoded here".to_owned());
        for track in default.into_iter().chain(reader.tracks()) {
            let Some(parameters) = track.codec_params.as_ref().and_then(|codec| codec.audio()) else {
                continue;
            };
            if parameters.max_frames_per_packet.is_some_and(|frames| frames > MAX_PACKET_FRAMES) {
                refusal =
                    Error::InvalidInput("the audio file is damaged: its packets are too long".to_owned());
                continue;
            }
            match Codec::open(parameters) {
                Ok(codec) => {
                    let trim = Trim::new(bounds(reader, track, parameters, open)?);
                    return Ok(Self { track: track.id, codec, trim });
                }
                Err(error) => {
                    let container = reader.format_info().short_name;
                    refusal = Error::Unsupported(format!(
                        "the audio codec in this {container} file can't be decoded: {error}"
                    ));
                }
            }
        }
        Err(refusal)
    }
}

/// What the container says of the recording's beginning and end, as far as symphonia's decoders don't go by it.
fn bounds(
    reader: &dyn FormatReader,
    track: &Track,
    parameters: &AudioCodecParameters,
    open: Open<'_, '_>,
) -> Result<Bounds> {
    let mut bounds = match reader.format_info().format {
        FORMAT_ID_ISOMP4 => mp4::bounds(open()?, track.id),
        FORMAT_ID_MKV => matroska::bounds(open()?, track.id),
        // The packet table of CAF; the tag of LAME.
        FORMAT_ID_CAF | FORMAT_ID_MP3 => {
            let span = |frames: Option<u32>| {
                let per_second = u64::from(parameters.sample_rate?);
                Some(Span { units: u64::from(frames?), per_second })
            };
            Bounds { delay: span(track.delay), length: None, padding: span(track.padding) }
        }
        _ => Bounds::default(),
    };
    if let Some(head) = parameters.extra_data.as_deref().and_then(Head::read) {
        let delay = Some(head.delay()).filter(|delay| delay.units > 0);
        bounds.delay = match reader.format_info().format {
            // An edit list counts from the first decoded sample.
            FORMAT_ID_ISOMP4 => bounds.delay.or(delay),
            // CodecDelay should be the same, and is not where a writer took one rate for the other.
            _ => delay.or(bounds.delay),
        };
    }
    Ok(bounds)
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
