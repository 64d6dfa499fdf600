//! Writes whisper.cpp's GGML file: header, mel filters, vocabulary, tensors.

use std::io::{self, Write};

use super::config::Dims;
use super::mel;
use super::names::Kind;
use super::quantize::{F16, F32, Storage};

/// `ggml` in hex.
pub(crate) const MAGIC: u32 = 0x6767_6d6c;
/// The version of the block formats; it stands in the header's type field, times the factor.
pub(crate) const QUANT_VERSION: u32 = 2;
pub(crate) const QUANT_VERSION_FACTOR: u32 = 1000;

/// How a tensor is stored in a file whose matrices are of type `ty`: whisper.cpp allocates it so.
pub(crate) fn stored_as(kind: Kind, ty: &'static Storage) -> &'static Storage {
    match kind {
        Kind::Matrix => ty,
        Kind::Kernel if *ty == F32 => &F32,
        Kind::Kernel => &F16,
        Kind::KernelBias | Kind::Plain => &F32,
    }
}

/// Writes everything in front of the tensors. `filters` has a row for each mel bin.
pub(crate) fn write_header(
    out: &mut impl Write,
    dims: &Dims,
    ty: &Storage,
    filters: &[f32],
    tokens: &[Vec<u8>],
) -> io::Result<()> {
    let version = if ty.is_quantized() { QUANT_VERSION * QUANT_VERSION_FACTOR } else { 0 };
    number(out, MAGIC as usize)?;
    for field in [
        dims.n_vocab,
        dims.n_audio_ctx,
        dims.n_state,
        dims.n_audio_head,
        dims.n_audio_layer,
        dims.n_text_ctx,
        dims.n_state,
        dims.n_text_head,
        dims.n_text_layer,
        dims.n_mels,
        (version + ty.ftype) as usize,
    ] {
        number(out, field)?;
    }

    number(out, dims.n_mels)?;
    number(out, mel::N_BINS)?;
    for weight in filters {
        out.write_all(&weight.to_le_bytes())?;
    }

    number(out, tokens.len())?;
    for token in tokens {
        number(out, token.len())?;
        out.write_all(token)?;
    }
    Ok(())
}

/// Writes what stands in front of a tensor's data. `dims` is in ggml's order, the fastest first.
pub(crate) fn write_tensor_header(
    out: &mut impl Write,
    name: &str,
    dims: &[usize],
    ty: &Storage,
) -> io::Result<()> {
    number(out, dims.len())?;
    number(out, name.len())?;
    number(out, ty.id as usize)?;
    for dim in dims {
        number(out, *dim)?;
    }
    out.write_all(name.as_bytes())
}

/// The format's integers are 32 bits, little-endian.
fn number(out: &mut impl Write, n: usize) -> io::Result<()> {
    let n = u32::try_from(n).map_err(|_| io::Error::other("a number beyond 32 bits"))?;
    out.write_all(&n.to_le_bytes())
}
