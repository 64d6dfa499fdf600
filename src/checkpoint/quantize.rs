//! The types of a GGML file, and ggml's own routine that quantizes rows.
#![allow(unsafe_code, reason = "calls ggml_quantize_chunk, a C function, on checked slices")]

use std::fmt;

use clap::ValueEnum;
use whisper_rs_sys as ggml;

/// The types that the converter writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum QuantType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8.5 bits per weight: hardly a difference to f16.
    #[value(name = "q8_0")]
    #[serde(rename = "q8_0")]
    Q8_0,
    /// 6 bits per weight.
    #[value(name = "q5_1")]
    #[serde(rename = "q5_1")]
    Q5_1,
    /// 5.5 bits per weight.
    #[value(name = "q5_0")]
    #[serde(rename = "q5_0")]
    Q5_0,
    /// 5 bits per weight.
    #[value(name = "q4_1")]
    #[serde(rename = "q4_1")]
    Q4_1,
    /// 4.5 bits per weight.
    #[value(name = "q4_0")]
    #[serde(rename = "q4_0")]
    Q4_0,
}

impl QuantType {
    /// All of them, the finest first.
    pub const ALL: [Self; 7] =
        [Self::F32, Self::F16, Self::Q8_0, Self::Q5_1, Self::Q5_0, Self::Q4_1, Self::Q4_0];

    /// The name on the command line and in file names.
    pub fn name(self) -> &'static str {
        self.storage().name
    }

    /// Whether weights are stored in blocks with a common scale.
    pub fn is_quantized(self) -> bool {
        self.storage().block > 1
    }

    /// How it lies in a file.
    pub(crate) fn storage(self) -> &'static Storage {
        match self {
            Self::F32 => &F32,
            Self::F16 => &F16,
            Self::Q8_0 => &Q8_0,
            Self::Q5_1 => &Q5_1,
            Self::Q5_0 => &Q5_0,
            Self::Q4_1 => &Q4_1,
            Self::Q4_0 => &Q4_0,
        }
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A ggml type in a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) name: &'static str,
    /// `ggml_type`, in front of each tensor.
    pub(crate) id: u32,
    /// `ggml_ftype`, in the file's header.
    pub(crate) ftype: u32,
    /// Weights per block.
    pub(crate) block: usize,
    /// Bytes per block.
    pub(crate) bytes: usize,
}

impl Storage {
    const fn new(name: &'static str, id: u32, ftype: u32, block: usize, bytes: usize) -> Self {
        Self { name, id, ftype, block, bytes }
    }

    /// The bytes of `n` weights, where blocks divide them.
    pub(crate) fn size(&self, n: usize) -> Option<usize> {
        if n.is_multiple_of(self.block) { (n / self.block).checked_mul(self.bytes) } else { None }
    }
}

pub(crate) static F32: Storage = Storage::new("f32", 0, 0, 1, 4);
pub(crate) static F16: Storage = Storage::new("f16", 1, 1, 1, 2);
static Q4_0: Storage = Storage::new("q4_0", 2, 2, 32, 18);
static Q4_1: Storage = Storage::new("q4_1", 3, 3, 32, 20);
static Q5_0: Storage = Storage::new("q5_0", 6, 8, 32, 22);
static Q5_1: Storage = Storage::new("q5_1", 7, 9, 32, 24);
static Q8_0: Storage = Storage::new("q8_0", 8, 7, 32, 34);
static Q2_K: Storage = Storage::new("q2_k", 10, 10, 256, 84);
static Q3_K: Storage = Storage::new("q3_k", 11, 11, 256, 110);
static Q4_K: Storage = Storage::new("q4_k", 12, 12, 256, 144);
static Q5_K: Storage = Storage::new("q5_k", 13, 13, 256, 176);
static Q6_K: Storage = Storage::new("q6_k", 14, 14, 256, 210);

/// What a file may hold: what we write, and the k-quants of whisper.cpp's own quantizer.
pub(crate) static STORAGES: [&Storage; 12] =
    [&F32, &F16, &Q4_0, &Q4_1, &Q5_0, &Q5_1, &Q8_0, &Q2_K, &Q3_K, &Q4_K, &Q5_K, &Q6_K];

/// Quantizes whole rows of `width` weights. `None` where the slices' sizes do not fit together.
pub(crate) fn quantize_rows(ty: QuantType, weights: &[f32], width: usize, out: &mut [u8]) -> Option<()> {
    let storage = ty.storage();
    if width == 0 || !weights.len().is_multiple_of(width) || !width.is_multiple_of(storage.block) {
        return None;
    }
    if storage.size(weights.len())? != out.len() {
        return None;
    }
    let (rows, width) = (i64::try_from(weights.len() / width).ok()?, i64::try_from(width).ok()?);
    // SAFETY: `weights` holds rows × width floats and `out` exactly as many bytes as ggml writes for
    // them; both were checked above. ggml keeps neither pointer. None of our types needs an importance
    // matrix, so that null is allowed. The function may be called from several threads.
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
