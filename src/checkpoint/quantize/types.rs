//! The types of ggml that whisper.cpp loads, and which of them the converter writes.

use std::ffi::OsStr;
use std::fmt;

use clap::builder::{EnumValueParser, PossibleValue, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, ValueEnum};

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

    /// Whether weights are stored in blocks with a common scale.
    pub(crate) fn is_quantized(&self) -> bool {
        self.block > 1
    }

    /// Bits for each weight, the scales included.
    pub(crate) fn bits(&self) -> f64 {
        8.0 * self.bytes as f64 / self.block as f64
    }
}

pub(crate) static F32: Storage = Storage::new("f32", 0, 0, 1, 4);
pub(crate) static F16: Storage = Storage::new("f16", 1, 1, 1, 2);
pub(crate) static BF16: Storage = Storage::new("bf16", 30, 24, 1, 2);
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
static IQ2_XXS: Storage = Storage::new("iq2_xxs", 16, 15, 256, 66);
static IQ2_XS: Storage = Storage::new("iq2_xs", 17, 16, 256, 74);
static IQ3_XXS: Storage = Storage::new("iq3_xxs", 18, 17, 256, 98);
static IQ1_S: Storage = Storage::new("iq1_s", 19, 18, 256, 50);
static IQ4_NL: Storage = Storage::new("iq4_nl", 20, 19, 32, 18);
static IQ3_S: Storage = Storage::new("iq3_s", 21, 20, 256, 110);
static IQ2_S: Storage = Storage::new("iq2_s", 22, 21, 256, 82);
static IQ4_XS: Storage = Storage::new("iq4_xs", 23, 22, 256, 136);
static IQ1_M: Storage = Storage::new("iq1_m", 29, 23, 256, 56);
static MXFP4: Storage = Storage::new("mxfp4", 39, 25, 32, 17);

/// What a file may hold: all that whisper.cpp loads, which is `ggml_ftype_to_ggml_type`.
pub(crate) static STORAGES: [&Storage; 23] = [
    &F32, &F16, &BF16, &Q4_0, &Q4_1, &Q5_0, &Q5_1, &Q8_0, &Q2_K, &Q3_K, &Q4_K, &Q5_K, &Q6_K, &IQ2_XXS,
    &IQ2_XS, &IQ3_XXS, &IQ1_S, &IQ4_NL, &IQ3_S, &IQ2_S, &IQ4_XS, &IQ1_M, &MXFP4,
];

/// The types that the converter writes: all that whisper.cpp loads but `iq2_xxs`, `iq2_xs` and `iq1_s`,
/// for which ggml wants an importance matrix, and so a run of the model over much speech, and `iq1_m`,
/// which is useless without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(non_camel_case_types, reason = "ggml's names")]
pub enum QuantType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit floats with the range of 32-bit ones: exact for a checkpoint in bf16.
    BF16,
    /// 8.5 bits per weight: hardly a difference to f16.
    Q8_0,
    /// 6.6 bits per weight, in blocks of 256.
    Q6_K,
    /// 6 bits per weight.
    Q5_1,
    /// 5.5 bits per weight, in blocks of 256.
    Q5_K,
    /// 5.5 bits per weight.
    Q5_0,
    /// 5 bits per weight.
    Q4_1,
    /// 4.5 bits per weight, in blocks of 256.
    Q4_K,
    /// 4.5 bits per weight.
    Q4_0,
    /// 4.5 bits per weight, with finer steps near zero.
    IQ4_NL,
    /// 4.3 bits per weight, in blocks of 256.
    IQ4_XS,
    /// 4.3 bits per weight: 4-bit floats with a power of two as scale.
    MXFP4,
    /// 3.4 bits per weight, in blocks of 256.
    Q3_K,
    /// 3.4 bits per weight, in blocks of 256.
    IQ3_S,
    /// 3.1 bits per weight, in blocks of 256.
    IQ3_XXS,
    /// 2.6 bits per weight, in blocks of 256.
    Q2_K,
    /// 2.6 bits per weight, in blocks of 256; very slow to make.
    IQ2_S,
}

impl QuantType {
    /// All of them, those with more bits first.
    pub const ALL: [Self; 19] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q6_K,
        Self::Q5_1,
        Self::Q5_K,
        Self::Q5_0,
        Self::Q4_1,
        Self::Q4_K,
        Self::Q4_0,
        Self::IQ4_NL,
        Self::IQ4_XS,
        Self::MXFP4,
        Self::Q3_K,
        Self::IQ3_S,
        Self::IQ3_XXS,
        Self::Q2_K,
        Self::IQ2_S,
    ];

    /// The name on the command line and in file names.
    pub fn name(self) -> &'static str {
        self.storage().name
    }

    /// Whether weights are stored in blocks with a common scale.
    pub fn is_quantized(self) -> bool {
        self.storage().is_quantized()
    }

    /// Weights per block; it must divide the rows of the model's matrices, so its width.
    pub fn block(self) -> usize {
        self.storage().block
    }

    /// Bits for each weight of a matrix, the scales included.
    pub fn bits(self) -> f64 {
        self.storage().bits()
    }

    /// How it lies in a file.
    pub(crate) fn storage(self) -> &'static Storage {
        match self {
            Self::F32 => &F32,
            Self::F16 => &F16,
            Self::BF16 => &BF16,
            Self::Q8_0 => &Q8_0,
            Self::Q6_K => &Q6_K,
            Self::Q5_1 => &Q5_1,
            Self::Q5_K => &Q5_K,
            Self::Q5_0 => &Q5_0,
            Self::Q4_1 => &Q4_1,
            Self::Q4_K => &Q4_K,
            Self::Q4_0 => &Q4_0,
            Self::IQ4_NL => &IQ4_NL,
            Self::IQ4_XS => &IQ4_XS,
            Self::MXFP4 => &MXFP4,
            Self::Q3_K => &Q3_K,
            Self::IQ3_S => &IQ3_S,
            Self::IQ3_XXS => &IQ3_XXS,
            Self::Q2_K => &Q2_K,
            Self::IQ2_S => &IQ2_S,
        }
    }

    /// What to use where the blocks do not divide the rows: the smallest type with no fewer bits whose
    /// blocks do. Not `mxfp4`, whose coarse scales cost more words than its bits save.
    pub(crate) fn instead(self, width: usize) -> Self {
        let fits =
            |ty: &Self| width.is_multiple_of(ty.block()) && ty.bits() >= self.bits() && *ty != Self::MXFP4;
        Self::ALL.into_iter().rev().find(fits).unwrap_or(Self::F16)
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ValueEnum for QuantType {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// Types that whisper.cpp loads, and that ggml does not make without an importance matrix, or not so that
/// they would be of any use.
const WITH_IMPORTANCE_MATRIX: [&str; 4] = ["iq2_xxs", "iq2_xs", "iq1_s", "iq1_m"];

/// Reads a type's name on the command line, and says of those that are not made why.
#[derive(Debug, Clone)]
pub struct QuantTypeParser;

impl TypedValueParser for QuantTypeParser {
    type Value = QuantType;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<QuantType, clap::Error> {
        if let Some(name) = value.to_str().filter(|name| WITH_IMPORTANCE_MATRIX.contains(name)) {
            let text = format!(
                "{name} needs an importance matrix, which takes running the model over much speech, and is \
                 not made here; use q2_k or iq3_xxs\n"
            );
            return Err(clap::Error::raw(ErrorKind::ValueValidation, text).with_cmd(cmd));
        }
        EnumValueParser::new().parse_ref(cmd, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(QuantType::ALL.iter().filter_map(ValueEnum::to_possible_value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_by_bits_and_named_once() {
        let bits: Vec<f64> = QuantType::ALL.iter().map(|ty| ty.bits()).collect();
        assert!(bits.is_sorted_by(|a, b| a >= b), "{bits:?}");
        let names: std::collections::BTreeSet<_> = QuantType::ALL.iter().map(|ty| ty.name()).collect();
        assert_eq!(names.len(), QuantType::ALL.len());
    }

    #[test]
    fn what_to_use_instead() {
        // whisper-tiny has rows of 384: 32 divides them, 256 does not.
        for (ty, instead) in [
            (QuantType::Q6_K, QuantType::Q8_0),
            (QuantType::Q5_K, QuantType::Q5_0),
            (QuantType::Q4_K, QuantType::IQ4_NL),
            (QuantType::Q2_K, QuantType::IQ4_NL),
        ] {
            assert_eq!(ty.instead(384), instead, "{ty}");
        }
        assert_eq!(QuantType::Q2_K.instead(100), QuantType::BF16);
    }
}
