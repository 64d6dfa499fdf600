//! Looks at a checkpoint folder, or at a weight file by itself.

use std::path::Path;

use super::super::config;
use super::super::error::{Error, Result};
use super::super::input::{self, Located, Settings};
use super::super::material::{Coding, profile};
use super::super::plan::plan_all;
use super::super::profile::source_files;
use super::super::read::Weights;
use super::super::tokenizer::Vocabulary;
use super::super::verify::is_ggml;
use super::values::Values;
use super::{Kind, Report, TensorReport, VocabularyReport, ggml};

/// A checkpoint folder.
pub(super) fn inspect(dir: &Path) -> Result<Report> {
    let mut report = Report::new(dir, Kind::Checkpoint);
    ggml_files(dir, &mut report)?;
    if input::is_without_weights(dir) && report.files.iter().any(|file| file.findings.is_empty()) {
        return Ok(report);
    }
    let Some(located) = report.keep(Located::new(dir, None)) else { return Ok(report) };
    let sizes = located.files().and_then(|files| source_files(dir, &files));
    report.bytes = report.keep(sizes).map_or(0, |files| files.iter().map(|file| file.size).sum());
    let weights = report.keep(located.weights());
    if let Some(weights) = &weights {
        table(weights, &mut report);
    }
    let own = weights.as_ref().and_then(|weights| weights.dims.as_ref());
    let Some((path, config)) = report.keep(located.config(own)) else { return Ok(report) };
    let Some(mut dims) = report.keep(config::dims(&path, &config)) else { return Ok(report) };
    if let Some(mut weights) = weights {
        report.keep(located.merge(&mut weights, &dims));
        if let Some((plan, faults)) = report.keep(plan_all(&mut weights, dims, input::is_tied(&config))) {
            dims = plan.dims;
            faults.into_iter().for_each(|fault| report.find(fault));
            for planned in &plan.tensors {
                let n = planned.expected.shape.iter().product();
                let path = weights.path_of(&planned.source).to_path_buf();
                let values = weights
                    .bytes(&planned.source)
                    .and_then(|bytes| Values::read(&path, Coding::Plain(planned.dtype), bytes, n));
                if let Some(values) = report.keep(values) {
                    values.finding(&planned.expected.hf).into_iter().for_each(|fact| report.find(fact));
                    report.notes.extend(values.note(&planned.expected.hf));
                }
            }
        }
    }
    report.dims = Some(dims.into());
    report.note_types(dims.n_state);
    let (tokenizer, generation) = (located.tokenizer(), located.generation());
    if let Some(vocabulary) = report.keep(Vocabulary::read(&tokenizer, dims.n_vocab)) {
        let tokens = vocabulary.text.len();
        if tokens > dims.n_vocab {
            report.find(format!("{tokens} tokens for {} rows of the embedding", dims.n_vocab));
        }
        let source = match &vocabulary.special {
            Some(_) => "the checkpoint's tokenizer",
            None => "Whisper's own: the folder has no tokenizer",
        };
        report.vocabulary = Some(VocabularyReport { tokens, source: source.into() });
        let settings = Settings { config: &config, tokenizer: &tokenizer, generation: &generation };
        report.profile = report.keep(profile(&settings, &dims, &vocabulary));
    }
    Ok(report)
}

/// A weight file by itself: its table.
pub(super) fn inspect_weights(path: &Path, bytes: u64) -> Result<Report> {
    let mut report = Report::new(path, Kind::Weights);
    report.bytes = bytes;
    if let Some(mut weights) = report.keep(Weights::open(path)) {
        table(&weights, &mut report);
        let tensors = weights.tensors.clone();
        for (name, tensor) in tensors.iter().filter(|(_, tensor)| !tensor.is_spread()) {
            let (Ok(dtype), n) = (&tensor.dtype, tensor.shape.iter().product()) else { continue };
            let path = weights.path_of(tensor).to_path_buf();
            let values =
                weights.bytes(tensor).and_then(|bytes| Values::read(&path, Coding::Plain(*dtype), bytes, n));
            if let Some(values) = report.keep(values) {
                values.finding(name).into_iter().for_each(|fact| report.find(fact));
                report.notes.extend(values.note(name));
            }
        }
        report.notes.push("only the weights were looked at: give the folder for the rest".into());
    }
    Ok(report)
}

fn table(weights: &Weights, report: &mut Report) {
    let mut largest = 0;
    for (name, tensor) in &weights.tensors {
        let type_name = match &tensor.dtype {
            Ok(dtype) => dtype.name().to_string(),
            Err(other) => other.clone(),
        };
        let count = tensor.shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        if count > Some(largest) {
            (largest, report.type_name) = (count.unwrap_or(0), Some(type_name.clone()));
        }
        report.tensors.push(TensorReport {
            name: name.clone(),
            shape: tensor.shape.clone(),
            type_name,
            bytes: tensor.size().map(|n| n as u64),
        });
    }
}

/// The GGML files of a folder, by name.
fn ggml_files(dir: &Path, report: &mut Report) -> Result<()> {
    let entries = dir.read_dir().map_err(Error::read(dir))?;
    let mut paths: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "bin") && is_ggml(path))
        .collect();
    paths.sort();
    for path in paths {
        report.files.push(ggml::brief(&path)?);
    }
    Ok(())
}
