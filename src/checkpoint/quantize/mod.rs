//! The types of a GGML file, and ggml's own routine that quantizes rows.
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
            assert_eq!(written, !imatrix, "{}", storage.name);
        }
    }

    #[test]
    fn sizes_that_do_not_fit() {
        assert_eq!(quantize_rows(QuantType::Q4_K, &[0.0; 384], 384, &mut [0; 216]), None);
        assert_eq!(quantize_rows(QuantType::Q8_0, &[0.0; 32], 0, &mut [0; 34]), None);
    }
}
