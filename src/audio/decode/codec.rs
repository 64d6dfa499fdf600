//! The decoder of a track: one of symphonia's, or ours for Opus.

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_OPUS,
};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Result;
use symphonia::core::packet::Packet;

use super::opus;

/// Decodes the packets of one track.
pub(super) enum Codec {
    Symphonia(Box<dyn AudioDecoder>),
    Opus(opus::Decoder),
}

impl Codec {
    pub(super) fn open(parameters: &AudioCodecParameters) -> Result<Self> {
        if parameters.codec == CODEC_ID_OPUS {
            let head = parameters.extra_data.as_deref().and_then(opus::Head::read);
            let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
            return Ok(Self::Opus(opus::Decoder::new(head.as_ref(), channels)?));
        }
        let mut parameters = parameters.clone();
        if parameters.codec == CODEC_ID_AAC
            && let Some(core) = parameters.extra_data.as_deref().and_then(low_complexity)
        {
            tracing::debug!("HE-AAC: decoding its core, without the bands that it makes up");
            parameters.extra_data = Some(core.into());
        }
        // For these, symphonia cuts at a length that it estimates, where the file does not say one.
        let options = AudioDecoderOptions::default().gapless(!is_mpeg_audio(&parameters));
        Ok(Self::Symphonia(symphonia::default::get_codecs().make_audio_decoder(&parameters, &options)?))
    }

    /// Its name, in the manner of symphonia's.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Symphonia(decoder) => decoder.codec_info().short_name,
            Self::Opus(_) => "opus",
        }
    }

    /// Decodes a packet into `block`, interleaved, and returns the rate and the channel count.
    pub(super) fn decode(&mut self, packet: &Packet, block: &mut Vec<f32>) -> Result<(u32, usize)> {
        match self {
            Self::Symphonia(decoder) => {
                let decoded = decoder.decode(packet)?;
                decoded.copy_to_vec_interleaved(block);
                Ok((decoded.spec().rate(), decoded.spec().channels().count()))
            }
            Self::Opus(decoder) => {
                decoder.decode(&packet.data, block)?;
                Ok((opus::RATE, decoder.channels()))
            }
        }
    }

    /// How many frames at the end of `packet` are padding that [`Self::decode`] leaves in.
    pub(super) fn padding(&self, packet: &Packet) -> u64 {
        match self {
            Self::Symphonia(_) => 0,
            Self::Opus(_) => packet.trim_end.get(),
        }
    }

    pub(super) fn reset(&mut self) {
        match self {
            Self::Symphonia(decoder) => decoder.reset(),
            // An Opus decoder finds its way back by itself.
            Self::Opus(_) => {}
        }
    }
}

/// Whether the codec is one of MP1, MP2 and MP3.
fn is_mpeg_audio(parameters: &AudioCodecParameters) -> bool {
    [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3].contains(&parameters.codec)
}

/// For the configuration of HE-AAC, that of the AAC-LC stream in it (ISO 14496-3, section 1.6.2.1). Spectral band
/// replication makes up bands above those that were recorded, which lie above half the core's rate at 16 kHz or
/// more, and parametric stereo two channels of one: a recogniser needs neither.
pub(super) fn low_complexity(config: &[u8]) -> Option<[u8; 2]> {
    const SBR: u64 = 5;
    const PS: u64 = 29;
    const LC: u64 = 2;
    let mut bits = [0; 8];
    for (to, from) in bits.iter_mut().zip(config) {
        *to = *from;
    }
    let bits = u64::from_be_bytes(bits);
    let field = |at: u32, width: u32| (bits >> (64 - at - width)) & ((1 << width) - 1);
    // Object type, rate of the core, channels, rate of the output, object type of the core, and its own three flags.
    let (object, rate, channels, output) = (field(0, 5), field(5, 4), field(9, 4), field(13, 4));
    let core_at = if output == 15 { 41 } else { 17 };
    if !matches!(object, SBR | PS) || rate == 15 || field(core_at, 5) != LC {
        return None;
    }
    let flags = field(core_at + 5, 3);
    Some((((LC << 11) | (rate << 7) | (channels << 3) | flags) as u16).to_be_bytes())
}
