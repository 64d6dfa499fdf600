//! The vocabulary: the bytes of every token, and the ids of the special ones.
//!
//! It comes from `vocab.json`, else from `tokenizer.json`, else it is Whisper's own, which is embedded.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::{Map, Value};

use super::config::{MAX_TOKENIZER_BYTES, read_json_if_there};
use super::error::{Error, Result};

/// Vocabularies from this size on are multilingual.
pub(crate) const FIRST_MULTILINGUAL: usize = 51865;
/// Tokens of Whisper's English-only models.
pub(crate) const ENGLISH_ONLY: usize = FIRST_MULTILINGUAL - 1;
/// The largest vocabulary for which whisper.cpp can name the special tokens by itself.
pub(crate) const LAST_STANDARD: usize = 51866;
/// The name of the end token; what lies below it is text.
pub(crate) const END_OF_TEXT: &str = "<|endoftext|>";
/// The embedded vocabularies unpack to about 400 kB.
const MAX_EMBEDDED_BYTES: u64 = 4 << 20;

/// Whether a folder has a vocabulary of its own.
pub(crate) fn is_in(dir: &Path) -> bool {
    ["vocab.json", "tokenizer.json"].iter().any(|name| dir.join(name).is_file())
}

/// A checkpoint's vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vocabulary {
    /// The bytes of each text token, by id.
    pub(crate) text: Vec<Vec<u8>>,
    /// Special tokens by name, where the checkpoint has a tokenizer; the added ones that are text, too.
    pub(crate) special: Option<BTreeMap<String, u32>>,
    /// Tokens that were added behind the special ones and are text.
    pub(crate) added: BTreeMap<u32, String>,
}

/// A token that is named outside the vocabulary proper.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Added {
    id: u32,
    /// Whether it is special, where the file says so.
    special: Option<bool>,
}

impl Added {
    /// Whether it stands for its name. Timestamps are not special to tokenizers, but no text either.
    fn is_text(&self, name: &str) -> bool {
        let looks_special = name.starts_with("<|") && name.ends_with("|>");
        let unless_told = name.starts_with(['<', '[']) && name.len() > 1;
        !looks_special && !self.special.unwrap_or(unless_told)
    }
}

impl Vocabulary {
    /// Reads the vocabulary of a checkpoint folder.
    pub(crate) fn read(dir: &Path, n_vocab: usize) -> Result<Self> {
        let tokenizer = dir.join("tokenizer.json");
        let vocab = dir.join("vocab.json");
        let fast = read_json_if_there(&tokenizer, MAX_TOKENIZER_BYTES)?;
        let slow = dir.join("tokenizer_config.json");
        let mut added = BTreeMap::new();
        let file = dir.join("added_tokens.json");
        if let Some(tokens) = read_json_if_there(&file, MAX_TOKENIZER_BYTES)? {
            added.extend(
                ids(&file, &tokens)?.into_iter().map(|(name, id)| (name, Added { id, special: None })),
            );
        }
        // These two know more of a token than its id.
        if let Some(json) = read_json_if_there(&slow, MAX_TOKENIZER_BYTES)? {
            added.extend(added_tokens_decoder(&slow, &json)?);
        }
        if let Some(fast) = &fast {
            added.extend(added_tokens(&tokenizer, fast)?);
        }
        let special = added.iter().map(|(name, token)| (name.clone(), token.id)).collect();
        let mut made = if let Some(entries) = read_json_if_there(&vocab, MAX_TOKENIZER_BYTES)? {
            Self::build(&vocab, ids(&vocab, &entries)?, special)?
        } else if let Some(fast) = fast {
            let entries = fast.get("model").and_then(|m| m.get("vocab")).and_then(Value::as_object);
            let entries = entries.ok_or_else(|| wrong(&tokenizer, "no `model.vocab` in it"))?;
            Self::build(&tokenizer, ids(&tokenizer, entries)?, special)?
        } else {
            let special = Some(special).filter(|special| !special.is_empty());
            Self { special, ..Self::standard(dir, n_vocab)? }
        };
        let behind = |id: u32| (id as usize) > made.text.len() && (id as usize) < n_vocab;
        let text = added.into_iter().filter(|(name, token)| behind(token.id) && token.is_text(name));
        made.added = text.map(|(name, token)| (token.id, name)).collect();
        Ok(made)
    }

    /// Whisper's own vocabulary for a model of this size.
    pub(crate) fn standard(dir: &Path, n_vocab: usize) -> Result<Self> {
        let packed: &[u8] = if n_vocab >= FIRST_MULTILINGUAL {
            include_bytes!("assets/multilingual.vocabulary.gz")
        } else if n_vocab == ENGLISH_ONLY {
            include_bytes!("assets/english.vocabulary.gz")
        } else {
            let fact =
                format!("no vocab.json or tokenizer.json, and {n_vocab} tokens are not Whisper's own number");
            return Err(wrong(dir, fact));
        };
        let mut bytes = Vec::new();
        GzDecoder::new(packed).take(MAX_EMBEDDED_BYTES).read_to_end(&mut bytes).map_err(Error::read(dir))?;
        let mut text = Vec::new();
        let mut rest = bytes.as_slice();
        while let Some((length, tail)) = rest.split_first() {
            let Some((token, tail)) = tail.split_at_checked((*length).into()) else { break };
            text.push(token.to_vec());
            rest = tail;
        }
        Ok(Self { text, special: None, added: BTreeMap::new() })
    }

    /// Text tokens are those below the end token, without a gap: whisper.cpp numbers them by position.
    fn build(
        path: &Path,
        entries: BTreeMap<String, u32>,
        mut special: BTreeMap<String, u32>,
    ) -> Result<Self> {
        if let Some(end) = entries.get(END_OF_TEXT) {
            special.entry(END_OF_TEXT.into()).or_insert(*end);
        }
        let limit = special.get(END_OF_TEXT).copied();
        let mut by_id = BTreeMap::new();
        for (name, id) in entries {
            if limit.is_some_and(|limit| id >= limit) || special.get(&name) == Some(&id) {
                special.entry(name).or_insert(id);
            } else if let Some(other) = by_id.insert(id, name) {
                return Err(wrong(path, format!("token {id} is there twice, once as `{other}`")));
            }
        }
        let mut text = Vec::with_capacity(by_id.len());
        for (position, (id, name)) in by_id.into_iter().enumerate() {
            if id as usize != position {
                return Err(wrong(path, format!("no token has the id {position}")));
            }
            let bytes: Option<Vec<u8>> = name.chars().map(byte_of).collect();
            text.push(
                bytes.ok_or_else(|| wrong(path, format!("token {id}, `{name}`, is not byte-level BPE")))?,
            );
        }
        if text.is_empty() {
            return Err(wrong(path, "no tokens in it"));
        }
        Ok(Self { text, special: Some(special), added: BTreeMap::new() })
    }

    /// The names that the GGML file holds for ids from `text.len()` on. whisper.cpp makes them up for
    /// Whisper's own sizes, and aborts for larger ones.
    pub(crate) fn tail(&self, n_vocab: usize) -> Vec<Vec<u8>> {
        if n_vocab <= LAST_STANDARD {
            return Vec::new();
        }
        let names: BTreeMap<u32, &str> =
            self.special.iter().flatten().map(|(name, id)| (*id, name.as_str())).collect();
        (self.text.len()..n_vocab)
            .map(|id| match u32::try_from(id).ok().and_then(|id| names.get(&id)) {
                Some(name) => name.as_bytes().to_vec(),
                None => format!("[_extra_token_{id}]").into_bytes(),
            })
            .collect()
    }
}

fn wrong(path: &Path, fact: impl Into<String>) -> Error {
    Error::Vocabulary { path: path.to_path_buf(), fact: fact.into() }
}

fn ids(path: &Path, entries: &Map<String, Value>) -> Result<BTreeMap<String, u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    entries
        .iter()
        .map(|(name, value)| match id(value) {
            Some(id) => Ok((name.clone(), id)),
            None => Err(wrong(path, format!("token `{name}` has the id {value}"))),
        })
        .collect()
}

/// `added_tokens` of `tokenizer.json`: a list.
fn added_tokens(path: &Path, tokenizer: &Map<String, Value>) -> Result<Vec<(String, Added)>> {
    let list = tokenizer.get("added_tokens").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    list.iter()
        .map(|token| {
            let id = token.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
            added(token, id).ok_or_else(|| wrong(path, "an entry of `added_tokens` has no id or content"))
        })
        .collect()
}

/// `added_tokens_decoder` of `tokenizer_config.json`: from id to token.
fn added_tokens_decoder(path: &Path, tokenizer: &Map<String, Value>) -> Result<Vec<(String, Added)>> {
    let map = tokenizer.get("added_tokens_decoder").and_then(Value::as_object);
    let fact = "an entry of `added_tokens_decoder` has no id or content";
    map.into_iter()
        .flatten()
        .map(|(id, token)| added(token, id.parse().ok()).ok_or_else(|| wrong(path, fact)))
        .collect()
}

fn added(token: &Value, id: Option<u32>) -> Option<(String, Added)> {
    let name = token.get("content").and_then(Value::as_str)?;
    let special = token.get("special").and_then(Value::as_bool);
    Some((name.to_string(), Added { id: id?, special }))
}

/// The byte that a character of a byte-level vocabulary stands for: itself where it is printable
/// Latin-1, else the n-th unprintable byte stands as U+0100 + n.
fn byte_of(c: char) -> Option<u8> {
    let printable = |b: u32| matches!(b, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let code = u32::from(c);
    if printable(code) {
        return u8::try_from(code).ok();
    }
    let n = code.checked_sub(0x100)?;
    (0..=255_u8).filter(|b| !printable(u32::from(*b))).nth(n as usize)
}
