//! Opus packets to samples. The only file that names rusty_opus.

use rusty_opus::OpusDecoder;
use symphonia::core::errors::{Error, Result, decode_error, unsupported_error};

use super::trim::Span;

/// Opus decodes to this rate whatever was encoded, and counts in it.
pub(super) const RATE: u32 = 48_000;
/// The longest packet, 120 ms.
const MAX_FRAMES: usize = 5_760;

/// The identification header, in the layout of Ogg, which the other containers carry too.
pub(super) struct Head {
    channels: usize,
    pre_skip: u16,
    /// How channels are spread over streams: 0 for mono and stereo in one, 1 for any number in several.
    family: u8,
}

impl Head {
    /// Reads "OpusHead". `None` where the bytes are no such header.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let fields = bytes.strip_prefix(b"OpusHead")?.first_chunk::<11>()?;
        // Version, channels, pre-skip, original rate (4), gain (2), mapping family. The gain is of no interest,
        // since the whole recording is levelled.
        let &[_, channels, skip_low, skip_high, _, _, _, _, _, _, family] = fields;
        Some(Self { channels: channels.into(), pre_skip: u16::from_le_bytes([skip_low, skip_high]), family })
    }

    /// What the encoder put before the recording.
    pub(super) fn delay(&self) -> Span {
        Span { units: self.pre_skip.into(), per_second: RATE.into() }
    }
}

/// Decodes the packets of one track.
pub(super) struct Decoder {
    stream: Box<OpusDecoder>,
    channels: usize,
}

impl Decoder {
    /// A decoder for a track with that header, or with that many channels where it has none.
    pub(super) fn new(head: Option<&Head>, channels: usize) -> Result<Self> {
        let (channels, family) = head.map_or((channels, 0), |head| (head.channels, head.family));
        let stream = match (family, channels) {
            (_, 0) => return decode_error("opus: no channels"),
            (0 | 1, 1 | 2) => OpusDecoder::new(RATE as i32, channels).map_err(decoder_error)?,
            _ => return unsupported_error("opus: more than two channels"),
        };
        Ok(Self { stream: Box::new(stream), channels })
    }

    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Decodes one packet into `block`, interleaved.
    pub(super) fn decode(&mut self, packet: &[u8], block: &mut Vec<f32>) -> Result<()> {
        block.clear();
        let frames = match frames(packet) {
            Some(frames) if (1..=MAX_FRAMES).contains(&frames) => frames,
            _ => return decode_error("opus: a packet of no valid length"),
        };
        block.resize(frames * self.channels, 0.0);
        match self.stream.decode(packet, frames, block) {
            Ok(made) => block.truncate(made * self.channels),
            Err(error) => {
                block.clear();
                return Err(decoder_error(error));
            }
        }
        Ok(())
    }
}

fn decoder_error(error: rusty_opus::Error) -> Error {
    Error::DecodeError(error.message())
}

/// How many frames a packet holds, from its table of contents (RFC 6716, section 3.1).
fn frames(packet: &[u8]) -> Option<usize> {
    let (&contents, rest) = packet.split_first()?;
    let mode = contents >> 3;
    let shift = usize::from(mode & 3);
    let frame = match mode {
        // SILK has 10, 20, 40 and 60 ms.
        0..=11 if shift == 3 => 2_880,
        0..=11 => 480 << shift,
        // Both together, 10 and 20 ms.
        12..=15 => 480 << (shift & 1),
        // CELT has 2.5, 5, 10 and 20 ms.
        _ => 120 << shift,
    };
    let count = match contents & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => usize::from(*rest.first()? & 0x3f),
    };
    Some(frame * count)
}
