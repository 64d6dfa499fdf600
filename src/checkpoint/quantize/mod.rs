//! The types of a GGML file, and ggml's own routines that quantize rows and read them back.
#![allow(unsafe_code, reason = "calls ggml's C functions on checked slices")]

mod types;

use whisper_rs_sys as ggml;

pub(crate) use types::{BF16, F16, F32, STORAGES, Storage};
pub use types::{QuantType, QuantTypeParser};

/// Quantizes whole rows of `width` weights. `None` where the slices' sizes do not fit together.
pub(crate) fn quantize_rows(ty: QuantType, weights: &[f32], width: usize, out: &mut [u8]) -> Option<()> {
    let storage = ty.storage();
    if width == 0 || !weights.len().is_multiple_of(width) || !width.is_multiple_of(storage.block) {
        return None;
    }
    if storage.size(weights.len())? != out.len() || !is_aligned(storage, out) {
        return None;
    }
    let (rows, width) = (i64::try_from(weights.len() / width).ok()?, i64::try_from(width).ok()?);
    // SAFETY: `weights` holds rows × width floats and `out` exactly as many bytes as ggml writes for
    // them, at an address that suits them; all was checked above. ggml keeps neither pointer. No type that we write needs an
    // importance matrix, so that null is allowed. The function may be called from several threads.
    let written = unsafe {
        ggml::ggml_quantize_chunk(
            storage.id as ggml::ggml_type,
            weights.as_ptr(),
            out.as_mut_ptr().cast(),
            0,
            rows,
            width,
            std::ptr::null(),
        )
    };
    (written == out.len()).then_some(())
}

/// The values of whole blocks, as floats. `None` where the slices' sizes do not fit together.
pub(crate) fn dequantize(storage: &Storage, bytes: &[u8], out: &mut [f32]) -> Option<()> {
    if storage.size(out.len())? != bytes.len() || !is_aligned(storage, bytes) {
        return None;
    }
    let n = i64::try_from(out.len()).ok()?;
    // SAFETY: returns a pointer into a static table for an id below GGML_TYPE_COUNT, which all of ours are.
    let convert = unsafe { ggml::ggml_get_type_traits(storage.id as ggml::ggml_type).as_ref() }?.to_float?;
    // SAFETY: `bytes` holds as many blocks of this type as `out` has room for; both were checked
    // above, and the address. ggml keeps neither pointer.
    unsafe { convert(bytes.as_ptr().cast(), out.as_mut_ptr(), n) };
    Some(())
}

/// ggml's blocks hold bytes and 16-bit numbers; those of an odd size hold bytes only.
fn is_aligned(storage: &Storage, bytes: &[u8]) -> bool {
    !storage.bytes.is_multiple_of(2) || bytes.as_ptr().addr().is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_ggmls() {
        for storage in STORAGES {
            let id = storage.id as ggml::ggml_type;
            // SAFETY: plain functions of numbers; the ids are checked to be ggml's by the first.
            let (of_ftype, block, bytes, imatrix) = unsafe {
                (
                    ggml::ggml_ftype_to_ggml_type(storage.ftype as ggml::ggml_ftype),
                    ggml::ggml_blck_size(id),
                    ggml::ggml_type_size(id),
                    ggml::ggml_quantize_requires_imatrix(id),
                )
            };
            assert_eq!(of_ftype, id, "{}", storage.name);
            assert_eq!((block, bytes), (storage.block as i64, storage.bytes), "{}", storage.name);
            let written = QuantType::ALL.into_iter().any(|ty| ty.storage() == storage);
            assert_eq!(written, !imatrix && storage.name != "iq1_m", "{}", storage.name);
        }
    }

    #[test]
    fn sizes_that_do_not_fit() {
        let storage = QuantType::Q8_0.storage();
        let (blocks, mut values) = (vec![0; 69], [1.0; 64]);
        let mut read = |from, to, n| {
            let bytes = blocks.get(from..to).unwrap_or_default();
            dequantize(storage, bytes, values.get_mut(..n).unwrap_or_default())
        };
        assert_eq!(read(0, 68, 64), Some(()));
        assert_eq!(read(0, 67, 64), None);
        assert_eq!(read(0, 68, 63), None);
        assert_eq!(read(1, 69, 64), None, "an odd address");
        assert_eq!(quantize_rows(QuantType::Q4_K, &[0.0; 384], 384, &mut [0; 216]), None);
        assert_eq!(quantize_rows(QuantType::Q8_0, &[0.0; 32], 0, &mut [0; 34]), None);
    }
}
