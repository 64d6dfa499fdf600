//! `generation_config.json`, and what old checkpoints kept in `config.json` instead.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::languages;
use super::profile::{AudioContext, Generation, SpecialTokens};

type Json = Map<String, Value>;

/// The decoding defaults of a checkpoint. As in transformers, `generation_config.json` counts alone
/// where it is there, but for the language and task that old checkpoints force in `config.json`.
pub(crate) fn generation(
    config: &Json,
    generation: Option<&Json>,
    tokens: &SpecialTokens,
    n_vocab: u32,
) -> Generation {
    let main = generation.unwrap_or(config);
    let forced = forced_ids(main).or_else(|| forced_ids(config)).unwrap_or_default();
    let text = |field: &str| main.get(field).and_then(Value::as_str);
    let forced_language = || {
        let found = tokens.languages.iter().find(|(_, id)| forced.contains(id));
        found.map(|(code, _)| code.clone())
    };
    let forced_task = || {
        let task =
            |id: Option<u32>, name: &str| id.filter(|id| forced.contains(id)).map(|_| name.to_string());
        task(tokens.transcribe, "transcribe").or_else(|| task(tokens.translate, "translate"))
    };
    Generation {
        language: text("language").map(languages::code).or_else(forced_language),
        task: text("task").map(str::to_lowercase).or_else(forced_task),
        suppress_tokens: token_list(main, "suppress_tokens", n_vocab),
        begin_suppress_tokens: token_list(main, "begin_suppress_tokens", n_vocab),
        alignment_heads: pairs(main.get("alignment_heads")),
        max_length: main.get("max_length").and_then(id),
        return_timestamps: main.get("return_timestamps").and_then(Value::as_bool),
        max_initial_timestamp_index: main.get("max_initial_timestamp_index").and_then(id),
        audio_context: main.get("imesli_audio_context").and_then(|rule| AudioContext::deserialize(rule).ok()),
    }
}

/// Ids that `generation_config.json` names itself; transformers decodes by them.
pub(crate) fn take_ids(
    path: &Path,
    generation: &Json,
    named: bool,
    tokens: &mut SpecialTokens,
) -> Result<()> {
    if let Some(map) = generation.get("lang_to_id").and_then(Value::as_object) {
        // With no tokenizer, these are the only languages that are known to be there.
        if !named && !map.is_empty() {
            tokens.languages.clear();
        }
        for (name, value) in map {
            let id = id(value).ok_or_else(|| Error::Json {
                path: path.to_path_buf(),
                fact: format!("`lang_to_id`: `{name}` has the id {value}"),
            })?;
            tokens.languages.insert(languages::code(name), id);
        }
    }
    let task = |name: &str| generation.get("task_to_id").and_then(|m| m.get(name)).and_then(id);
    tokens.transcribe = task("transcribe").or(tokens.transcribe);
    tokens.translate = task("translate").or(tokens.translate);
    if let Some(id) = generation.get("no_timestamps_token_id").and_then(id)
        && tokens.no_timestamps != Some(id)
    {
        tokens.no_timestamps = Some(id);
        tokens.timestamp_begin = id.checked_add(1);
    }
    Ok(())
}

/// Fails for the first special token that the model has no row for.
pub(crate) fn check_ids(path: &Path, tokens: &SpecialTokens, n_vocab: u32) -> Result<()> {
    let named = [
        ("<|endoftext|>", Some(tokens.eot)),
        ("<|startoftranscript|>", Some(tokens.sot)),
        ("<|translate|>", tokens.translate),
        ("<|transcribe|>", tokens.transcribe),
        ("<|notimestamps|>", tokens.no_timestamps),
    ];
    let languages = tokens.languages.iter().map(|(code, id)| (code.as_str(), Some(*id)));
    for (name, id) in named.into_iter().chain(languages) {
        if let Some(id) = id.filter(|id| *id >= n_vocab) {
            let fact = format!("the special token `{name}` has the id {id}, the model has {n_vocab} tokens");
            return Err(Error::Vocabulary { path: path.to_path_buf(), fact });
        }
    }
    Ok(())
}

fn id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// A list of token ids; those that the model has no row for can't come anyway.
fn token_list(json: &Json, field: &str, n_vocab: u32) -> Vec<u32> {
    let list = json.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(id).filter(|id| *id < n_vocab).collect()
}

/// The token ids of `forced_decoder_ids`: `[[1, 50259], [2, 50359], [3, 50363]]`, with null for "any".
fn forced_ids(json: &Json) -> Option<Vec<u32>> {
    let list = json.get("forced_decoder_ids")?.as_array()?;
    Some(list.iter().filter_map(|pair| pair.get(1).and_then(id)).collect())
}

fn pairs(value: Option<&Value>) -> Vec<[u32; 2]> {
    let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|pair| Some([id(pair.get(0)?)?, id(pair.get(1)?)?])).collect()
}
