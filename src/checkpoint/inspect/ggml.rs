//! Looks at a GGML file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::super::error::{Error, Result};
use super::super::generation::check_ids;
use super::super::material::Coding;
use super::super::profile::Profile;
use super::super::survey::{Entry, survey};
use super::super::verify::{GgmlInfo, Judgement, judge, special_tokens};
use super::values::Values;
use super::{FileReport, Kind, Report, TensorReport, VocabularyReport};

/// All of it, the values of the weights included.
pub(super) fn inspect(path: &Path) -> Result<Report> {
    let survey = survey(path)?;
    let Judgement { model, findings } = judge(&survey);
    let mut report = Report::new(path, Kind::Ggml);
    report.bytes = survey.bytes;
    report.findings = findings;
    report.type_name = model.map(|(_, storage)| storage.name.into());
    report.dims = survey.header.map(|header| header.dims.into());
    report.tensors = survey.tensors.iter().map(tensor).collect();
    if survey.header.is_some() {
        let (tokens, source) = (survey.vocabulary.len(), "the file".into());
        report.vocabulary = Some(VocabularyReport { tokens, source });
    }
    let whole = |entry: &&Entry| entry.offset + entry.bytes <= survey.bytes;
    let mut file = File::open(path).map_err(Error::read(path))?;
    for entry in survey.tensors.iter().filter(whole) {
        file.seek(SeekFrom::Start(entry.offset)).map_err(Error::read(path))?;
        let data = file.by_ref().take(entry.bytes);
        let n = entry.shape.iter().product();
        let values = Values::read(path, Coding::of_ggml(entry.storage), data, n)?;
        if let Some(finding) = values.finding(&entry.name) {
            report.find(finding);
        }
    }
    if let Some((dims, storage)) = model {
        let special = special_tokens(&survey.vocabulary);
        let (type_name, bytes, vocabulary) = (storage.name, survey.bytes, survey.vocabulary);
        profile(path, &GgmlInfo { dims, type_name, vocabulary, special, bytes, storage }, &mut report);
    }
    Ok(report)
}

/// Its structure only, for the list of a folder's files.
pub(super) fn brief(path: &Path) -> Result<FileReport> {
    let survey = survey(path)?;
    let Judgement { model, findings } = judge(&survey);
    Ok(FileReport {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        bytes: survey.bytes,
        type_name: model.map(|(_, storage)| storage.name.into()),
        findings,
    })
}

fn tensor(entry: &Entry) -> TensorReport {
    TensorReport {
        name: entry.name.clone(),
        shape: entry.shape.clone(),
        type_name: entry.storage.name.into(),
        bytes: Some(entry.bytes),
    }
}

/// The profile that the server would use.
fn profile(path: &Path, info: &GgmlInfo, report: &mut Report) {
    let profile_path = Profile::path_for(path);
    let Some(found) = report.keep(Profile::read(&profile_path)) else { return };
    let profile = found.unwrap_or_else(|| {
        let name = profile_path.file_name().unwrap_or_default().to_string_lossy();
        report.notes.push(format!("no {name} beside it: the special tokens are Whisper's own, by its size"));
        Profile::for_ggml(info)
    });
    let n_vocab = u32::try_from(info.dims.n_vocab).unwrap_or(u32::MAX);
    report.keep(check_ids(path, &profile.tokens, n_vocab));
    report.profile = Some(profile);
}
