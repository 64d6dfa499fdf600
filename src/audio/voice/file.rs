//! Reading a Silero model in the GGML format of whisper.cpp's `convert-silero-vad-to-ggml.py`: magic, sizes, and
//! then each tensor with its name, shape and values. Every one of them must be as the network wants it.

use half::f16;

use super::network::{CHANNELS, CONTEXT, FRAME, HIDDEN, KERNEL, Weights};
use crate::error::{Error, Result};

/// `ggml` in hex.
const MAGIC: u32 = 0x6767_6d6c;
/// The model's name in the file.
const NAME: &[u8] = b"silero-16k";
/// No name is longer.
const MAX_NAME: usize = 64;

/// The weights in `bytes`, which is all of a file.
///
/// # Errors
/// [`Error::InvalidInput`], which says what is wrong.
pub(super) fn read(bytes: &[u8]) -> Result<Weights> {
    let mut rest = Reader(bytes);
    rest.expect(&[MAGIC], "it is no GGML file")?;
    let name = rest.u32()? as usize;
    if rest.take(name.min(MAX_NAME))? != NAME {
        return Err(wrong("it is no Silero model of 16 kHz"));
    }
    rest.take(3 * 4)?; // the version
    rest.expect(&[FRAME as u32, CONTEXT as u32], "it has another frame length")?;
    let layers = CHANNELS.windows(2).flat_map(|pair| pair.iter().chain([&KERNEL])).map(|size| *size as u32);
    let layers: Vec<u32> = [CHANNELS.len() as u32 - 1].into_iter().chain(layers).collect();
    rest.expect(&layers, "it has other layers")?;
    let hidden = HIDDEN as u32;
    rest.expect(&[hidden, hidden, hidden, 1], "it has other layers")?;

    let mut weights = Weights::default();
    while !rest.0.is_empty() {
        tensor(&mut rest, &mut weights)?;
    }
    match weights.missing() {
        Some(name) => Err(wrong(&format!("{name} is missing"))),
        None => Ok(weights),
    }
}

fn tensor(rest: &mut Reader, weights: &mut Weights) -> Result<()> {
    let (dims, length, kind) = (rest.u32()? as usize, rest.u32()? as usize, rest.u32()?);
    if dims > 3 || length > MAX_NAME {
        return Err(wrong("a tensor's header makes no sense"));
    }
    let shape = (0..dims).map(|_| rest.u32()).collect::<Result<Vec<_>>>()?;
    let name = std::str::from_utf8(rest.take(length)?).map_err(|_| wrong("a tensor's name is no text"))?;
    let (wanted, place) =
        weights.place(name).ok_or_else(|| wrong(&format!("it has a tensor {name:?} too many")))?;
    if shape.iter().map(|size| *size as usize).ne(wanted.iter().copied()) {
        return Err(wrong(&format!("{name} has the shape {shape:?}, not {wanted:?}")));
    }
    if !place.is_empty() {
        return Err(wrong(&format!("{name} comes twice")));
    }
    let count: usize = wanted.iter().product();
    *place = match kind {
        0 => rest.take(4 * count)?.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        1 => rest
            .take(2 * count)?
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f16::from_le_bytes(*bytes).to_f32())
            .collect(),
        _ => return Err(wrong(&format!("{name} has an unknown type, {kind}"))),
    };
    if place.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(wrong(&format!("{name} has values that are no numbers")))
    }
}

fn wrong(fact: &str) -> Error {
    Error::InvalidInput(format!("not a usable voice activity model: {fact}"))
}

/// What has not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| wrong("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.first_chunk().copied().map_or(0, u32::from_le_bytes))
    }

    fn expect(&mut self, numbers: &[u32], otherwise: &str) -> Result<()> {
        for number in numbers {
            if self.u32()? != *number {
                return Err(wrong(otherwise));
            }
        }
        Ok(())
    }
}
