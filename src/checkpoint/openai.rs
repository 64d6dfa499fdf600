//! OpenAI's own files: their dimensions, and what openai-whisper does by default, said as Hugging Face says
//! them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::{Error, Result};
use super::tokenizer::FIRST_MULTILINGUAL;

/// The dimensions' names in a file of OpenAI's, and in `config.json`.
const FIELDS: [(&str, &str); 9] = [
    ("n_vocab", "vocab_size"),
    ("n_audio_ctx", "max_source_positions"),
    ("n_audio_state", "d_model"),
    ("n_audio_head", "encoder_attention_heads"),
    ("n_audio_layer", "encoder_layers"),
    ("n_text_ctx", "max_target_positions"),
    ("n_text_head", "decoder_attention_heads"),
    ("n_text_layer", "decoder_layers"),
    ("n_mels", "num_mel_bins"),
];

/// `tokenizer.non_speech_tokens` of openai-whisper, multilingual: symbols and the beginnings of remarks.
const NON_SPEECH: [u32; 82] = [
    1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 359, 503, 522,
    542, 873, 893, 902, 918, 922, 931, 1350, 1853, 1982, 2460, 2627, 3246, 3253, 3268, 3536, 3846, 3961,
    4183, 4667, 6585, 6647, 7273, 9061, 9383, 10428, 10929, 11938, 12033, 12331, 12562, 13793, 14157, 14635,
    15265, 15618, 16553, 16604, 18362, 18956, 20075, 21675, 22520, 26130, 26161, 26435, 28279, 29464, 31650,
    32302, 32470, 36865, 42863, 47425, 49870, 50254,
];

/// The same of the English-only vocabulary.
const NON_SPEECH_ENGLISH: [u32; 84] = [
    1, 2, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93, 357, 366, 438,
    532, 685, 705, 796, 930, 1058, 1220, 1267, 1279, 1303, 1343, 1377, 1391, 1635, 1782, 1875, 2162, 2361,
    2488, 3467, 4008, 4211, 4600, 4808, 5299, 5855, 6329, 7203, 9609, 9959, 10563, 10786, 11420, 11709,
    11907, 13163, 13697, 13700, 14808, 15306, 16410, 16791, 17992, 19203, 19510, 20724, 22305, 22935, 27007,
    30109, 30420, 33409, 34949, 40283, 40493, 40549, 47282, 49146,
];

/// The token of a space, in both vocabularies.
const SPACE: u32 = 220;

/// The configuration that transformers would write for a model of these dimensions, with the tokens that
/// openai-whisper suppresses unless told otherwise.
pub(crate) fn config(path: &Path, dims: &BTreeMap<String, u64>) -> Result<Map<String, Value>> {
    let wrong = |fact: String| Error::Torch { path: path.to_path_buf(), fact };
    let field = |name: &str| {
        dims.get(name).copied().ok_or_else(|| wrong(format!("no `{name}` among its dimensions")))
    };
    let mut config = Map::new();
    for (theirs, ours) in FIELDS {
        config.insert(ours.into(), json!(field(theirs)?));
    }
    let width = field("n_audio_state")?;
    if field("n_text_state")? != width {
        return Err(wrong("encoder and decoder differ in width".into()));
    }
    for name in ["encoder_ffn_dim", "decoder_ffn_dim"] {
        config.insert(name.into(), json!(width.saturating_mul(4)));
    }
    let (suppress, begin) = suppressed(field("n_vocab")?, field("n_mels")?);
    config.insert("suppress_tokens".into(), json!(suppress));
    config.insert("begin_suppress_tokens".into(), json!(begin));
    Ok(config)
}

/// Tokens that never come, and that do not come first.
fn suppressed(n_vocab: u64, n_mels: u64) -> (Vec<u32>, Vec<u32>) {
    let multilingual = n_vocab >= FIRST_MULTILINGUAL as u64;
    let (text, end): (&[u32], u32) =
        if multilingual { (&NON_SPEECH, 50257) } else { (&NON_SPEECH_ENGLISH, 50256) };
    let start = end + 1;
    // Behind the languages: translate, transcribe, startoflm, startofprev, nospeech.
    let tasks = start + 1 + if multilingual && n_mels == 128 { 100 } else { 99 };
    let suppress = text.iter().copied().chain([start]).chain(tasks..tasks + 5);
    (suppress.collect(), vec![SPACE, end])
}
