//! Bytes of any audio file to blocks of samples. Only the files of this folder name hound and symphonia.
//!
//! What a file is, its content says, never its name. WAV goes to hound ([`wav`]) behind a head that
//! [`super::riff`] put right; everything else, and the kinds of WAV that hound does not know, to symphonia
//! ([`container`], [`codec`]), and Opus packets to [`opus`]. What encoders put before and behind a recording is cut
//! off ([`trim`]) by what [`mp4`] and [`matroska`] read, which symphonia leaves out.

mod codec;
mod container;
mod matroska;
mod mp4;
mod opus;
#[cfg(test)]
mod tests;
mod trim;
mod wav;

use std::any::Any;
use std::io::{Cursor, Read, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::io::{MediaSource, ReadOnlySource};

use super::riff::{self, Wav};
use super::sink::Sink;
use crate::error::{Error, Result};

/// A file, or one in memory.
type Source<'a> = Box<dyn MediaSource + 'a>;
/// Opens the file once more, at its beginning.
type Open<'o, 'a> = &'o dyn Fn() -> Result<Source<'a>>;

/// Kinds of audio that are known by their first bytes, and not decoded.
const KNOWN_OTHERS: [(&[u8], &str); 5] = [
    (b"#!AMR", "AMR (an old kind of voice recording)"),
    (b"#!SILK", "SILK"),
    (b"\x02#!SILK", "SILK"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media"),
    (b".snd", "Sun audio (.au)"),
];

/// Decodes all of what `open` opens into `sink`, and returns the name of its format ("wave/pcm", "isomp4/aac").
///
/// A file that ends or breaks in the middle gives what could be decoded, with a warning in the log.
pub(super) fn decode<'a>(open: Open<'_, 'a>, sink: &mut Sink) -> Result<String> {
    // The codecs read hostile bytes and are other people's: their panics are the file's fault, not ours.
    catch_unwind(AssertUnwindSafe(|| decode_any(open, sink))).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(panic.as_ref()), "an audio decoder panicked");
        Err(Error::InvalidInput("the audio file is damaged".to_owned()))
    })
}

fn decode_any<'a>(open: Open<'_, 'a>, sink: &mut Sink) -> Result<String> {
    let mut source = open()?;
    let len = source.byte_len().unwrap_or(0);
    if len == 0 {
        return Err(Error::InvalidInput("the audio file is empty".to_owned()));
    }
    let unreadable = |error| Error::internal_from("reading the audio file", error);
    let mut head = Vec::new();
    source.by_ref().take(16).read_to_end(&mut head).map_err(unreadable)?;
    if let Some((_, name)) = KNOWN_OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Error::Unsupported(format!("the file is {name}, which can't be decoded here")));
    }
    if Wav::is_one(&head) {
        let wav = Wav::read(&mut source, len).map_err(unreadable)?.ok_or_else(|| {
            Error::InvalidInput(
                "the WAV file's head is damaged: no usable format before the audio".to_owned(),
            )
        })?;
        return decode_wav(&wav, source, open, sink);
    }
    source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let whole = container::probe(source)
        .map_err(|error| container::probe_error(&error))
        .and_then(|reader| container::decode(reader, open, sink));
    match whole {
        // Some readers look at the end of a file first, and refuse one that is cut off: but not if they can't look.
        Err(error) if sink.is_empty() && !matches!(error, Error::TooLarge(_)) => {
            let Ok(reader) = container::probe(Box::new(ReadOnlySource::new(open()?))) else {
                return Err(error);
            };
            container::decode(reader, open, sink).map_err(|again| if sink.is_empty() { error } else { again })
        }
        whole => whole,
    }
}

fn decode_wav<'a>(wav: &Wav, mut source: Source<'a>, open: Open<'_, 'a>, sink: &mut Sink) -> Result<String> {
    if !wav.is_known() {
        return Err(Error::Unsupported(format!(
            "the WAV file's audio is compressed in a way (format {:#06x}) that can't be decoded here",
            wav.tag
        )));
    }
    if wav.repaired {
        tracing::warn!(bytes = wav.len, "the WAV file's own length is wrong: reading to its end");
    }
    source
        .seek(SeekFrom::Start(wav.start))
        .map_err(|error| Error::internal_from("reading the audio file", error))?;
    let body = source.take(wav.len);
    if wav.tag == riff::MP3 {
        let stream = container::probe(Box::new(ReadOnlySource::new(body)));
        return container::decode(stream.map_err(|e| container::probe_error(&e))?, open, sink);
    }
    sink.announce(wav.len / u64::from(wav.frame), wav.rate)?;
    if wav.is_plain() {
        return wav::decode(wav, body.into_inner(), sink);
    }
    let head = Cursor::new(wav.head(wav.len));
    let reader = container::probe(Box::new(ReadOnlySource::new(head.chain(body))));
    container::decode(reader.map_err(|e| container::probe_error(&e))?, open, sink)
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
