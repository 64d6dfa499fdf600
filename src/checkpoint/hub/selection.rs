//! Which files of a repository a conversion needs. The names come from outside: none is taken that is not one
//! of those that are looked for.

use std::collections::BTreeSet;

use super::super::input::{SIDE_FILES, TRAINERS, WEIGHTS};
use super::super::lora;

/// A tokenizer has 4 MB, the index of many shards 0.2 MB.
pub(super) const MAX_SIDE_BYTES: u64 = 64 << 20;
/// whisper-large in f64 has 12.4 GB.
pub(super) const MAX_WEIGHT_BYTES: u64 = 32 << 30;

/// The files to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    /// Configuration and tokenizer.
    pub(super) side: Vec<String>,
    pub(super) weights: Weights,
}

/// The weights: one of their forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Weights {
    /// These.
    Files(Vec<String>),
    /// This index, and the files that it names.
    Index(String),
}

impl Weights {
    /// Whether they are in a form of transformers, which has its configuration in a file of its own.
    pub(super) fn are_of_transformers(&self) -> bool {
        match self {
            Self::Index(_) => true,
            Self::Files(files) => files.iter().any(|file| WEIGHTS.contains(&file.as_str())),
        }
    }
}

/// Chooses among the files of a repository, as a conversion does in a folder. The failure says what is there.
pub(super) fn select(names: &BTreeSet<String>) -> Result<Selection, String> {
    let side = SIDE_FILES.iter().filter(|name| names.contains(**name)).map(|name| (*name).to_owned());
    Ok(Selection { side: side.collect(), weights: weights(names)? })
}

fn weights(names: &BTreeSet<String>) -> Result<Weights, String> {
    let first = |wanted: &[&str]| wanted.iter().find(|name| names.contains(**name)).map(|n| (*n).to_owned());
    if let Some(whole) = first(&WEIGHTS) {
        return Ok(if whole.ends_with(".index.json") {
            Weights::Index(whole)
        } else {
            Weights::Files(vec![whole])
        });
    }
    if names.contains(lora::CONFIG) {
        let weights = first(&lora::WEIGHTS)
            .ok_or_else(|| format!("an adapter without {}", lora::WEIGHTS.join(" or ")))?;
        return Ok(Weights::Files(vec![lora::CONFIG.to_owned(), weights]));
    }
    let plain = names.iter().filter(|name| is_plain(name));
    let openai = plain.clone().filter(|name| name.ends_with(".pt") && !TRAINERS.contains(&name.as_str()));
    let ggml = plain.filter(|name| name.starts_with("ggml") && name.ends_with(".bin"));
    let mut found: Vec<String> = openai.cloned().collect();
    if found.is_empty() {
        found = ggml.cloned().collect();
    }
    match found.as_slice() {
        [] => Err(
            "it holds no model.safetensors, pytorch_model.bin (or the index of either's shards), adapter, \
                   .pt or GGML file"
                .to_owned(),
        ),
        [one] => {
            let profile = one.strip_suffix(".bin").map(|stem| format!("{stem}.json"));
            let profile = profile.filter(|profile| names.contains(profile));
            Ok(Weights::Files(profile.into_iter().chain([one.clone()]).collect()))
        }
        several => Err(format!(
            "it holds several models, download one of them and name the file: {}",
            several.iter().take(20).map(String::as_str).collect::<Vec<_>>().join(", ")
        )),
    }
}

/// The name of a file that lies in the repository's root, and needs no escaping in a URL.
pub(super) fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn selected(names: &[&str]) -> Result<Vec<String>, String> {
        let found = select(&names.iter().map(|name| (*name).to_owned()).collect())?;
        let mut all = found.side;
        match found.weights {
            Weights::Files(files) => all.extend(files),
            Weights::Index(index) => all.push(index),
        }
        Ok(all)
    }

    #[test]
    fn one_form_of_the_weights_and_nothing_of_the_training() {
        let all = [
            ".gitattributes",
            "README.md",
            "added_tokens.json",
            "checkpoint-1000/model.safetensors",
            "config.json",
            "flax_model.msgpack",
            "generation_config.json",
            "model.safetensors",
            "optimizer.pt",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "rng_state.pth",
            "tokenizer.json",
            "training_args.bin",
            "vocab.json",
        ];
        let expected = [
            "config.json",
            "generation_config.json",
            "vocab.json",
            "added_tokens.json",
            "tokenizer.json",
            "model.safetensors",
        ];
        assert_eq!(selected(&all).unwrap(), expected);
        let without: Vec<_> = all.into_iter().filter(|name| *name != "model.safetensors").collect();
        assert_eq!(selected(&without).unwrap().last().unwrap(), "pytorch_model.bin");
        assert_eq!(
            selected(&["optimizer.pt", "pytorch_model.bin.index.json"]).unwrap(),
            ["pytorch_model.bin.index.json"]
        );
    }

    #[test]
    fn adapters_and_other_files() {
        assert_eq!(
            selected(&["adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"]).unwrap(),
            ["adapter_config.json", "adapter_model.safetensors"]
        );
        assert_eq!(selected(&["small.pt", "scheduler.pt", "ggml-small.bin"]).unwrap(), ["small.pt"]);
        assert_eq!(
            selected(&["ggml-q8_0.bin", "ggml-q8_0.json", "training_args.bin"]).unwrap(),
            ["ggml-q8_0.json", "ggml-q8_0.bin"]
        );
    }

    #[test]
    fn what_is_not_clear_is_said() {
        assert!(
            selected(&["ggml-tiny.bin", "ggml-base.bin"]).unwrap_err().contains("ggml-base.bin, ggml-tiny")
        );
        assert!(selected(&["tiny.pt", "base.pt"]).unwrap_err().contains("several models"));
        assert!(selected(&["adapter_config.json"]).unwrap_err().contains("an adapter without"));
        assert!(selected(&["config.json", "tf_model.h5"]).unwrap_err().contains("holds no"));
    }

    #[test]
    fn names_that_lead_elsewhere_are_not_taken() {
        for name in ["../model.pt", "/model.pt", "a/model.pt", ".model.pt", "a\\b.pt", "a b.pt", "a%2f.pt"] {
            assert!(selected(&[name]).is_err(), "{name}");
        }
    }
}
