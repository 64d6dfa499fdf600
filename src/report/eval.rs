//! `--eval`: the user's clips with each type, beside f16.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};

use super::manifest::{Clip, spread};
use super::score::{Tally, comparable};
use super::table::{FailedClip, Report, Row, Text};
use super::worker::{self, Done, Heard, Order};
use super::{Failure, progress_bar};
use crate::checkpoint::{self, Converted, QuantType};
use crate::config::ConvertCommand;

/// The type that the others are measured against.
const REFERENCE: QuantType = QuantType::F16;

/// A model and what it made of the clips.
struct Trial {
    type_name: &'static str,
    /// None when it was made for the comparison alone.
    file: Option<PathBuf>,
    bytes: u64,
    done: Done,
}

/// Transcribes the clips with each of the models, prints the report, and judges it.
pub(super) fn run(
    made: &[Converted],
    clips: Vec<Clip>,
    args: &ConvertCommand,
    myself: &[&str],
) -> Result<ExitCode, Failure> {
    let clips = spread(clips, args.eval_clips);
    let reference = Reference::of(made, args)?;
    let mut models: Vec<&Converted> = reference.made.iter().chain(made).collect();
    models.sort_by_key(|model| model.info.type_name != REFERENCE.name());
    let bar = progress_bar(models.len() * (clips.len() + 1));
    let mut trials = Vec::with_capacity(models.len());
    for model in models {
        let type_name = model.info.type_name;
        bar.set_message(type_name);
        let paths = clips.iter().map(|clip| clip.path.clone()).collect();
        let order = Order::new(&model.ggml, paths, args.pool(), args.cpu, &args.decode.request());
        let done =
            worker::run(&order, myself, || bar.inc(1)).with_context(|| model.ggml.display().to_string())?;
        let file = made.iter().any(|made| made.ggml == model.ggml).then(|| model.ggml.clone());
        trials.push(Trial { type_name, file, bytes: model.info.bytes, done });
    }
    bar.finish_and_clear();
    drop(reference);

    let report = report(&clips, &trials, args);
    for failed in &report.failed {
        eprintln!("not counted: {}: {}", failed.path, failed.reason);
    }
    if report.clips == 0 {
        return Err(Failure::Work(anyhow!("none of the {} clips could be transcribed", clips.len())));
    }
    let text = if args.convert.json { report.json()? } else { report.table() };
    std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())
        .context("writing the report")?;
    for row in report.types.iter().filter(|row| report.loses_too_much(row)) {
        eprintln!("{}", report.loss(row));
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The f16 model: one of those that were asked for, or one of our own that goes away again.
struct Reference {
    made: Option<Converted>,
    _folder: Option<tempfile::TempDir>,
}

impl Reference {
    fn of(made: &[Converted], args: &ConvertCommand) -> anyhow::Result<Self> {
        if made.iter().any(|made| made.info.type_name == REFERENCE.name()) {
            return Ok(Self { made: None, _folder: None });
        }
        // Beside the others: where there was room for them, there should be for this one.
        let beside =
            made.first().and_then(|made| made.ggml.parent()).filter(|dir| !dir.as_os_str().is_empty());
        let folder = tempfile::Builder::new()
            .prefix(".imesli-eval-")
            .tempdir_in(beside.unwrap_or(Path::new(".")))
            .context("making a folder for the f16 model")?;
        let mut reference = checkpoint::convert(&checkpoint::Options {
            checkpoint: args.convert.checkpoint.clone().unwrap_or_default(),
            base: args.convert.base.clone(),
            quantize: REFERENCE,
            out: Some(folder.path().to_path_buf()),
        })?;
        // It goes by what was seen of the others, or it would be asked for another language than they are.
        if let Some(probe) = made.iter().find_map(|made| made.profile.probe.as_ref()) {
            reference.profile.probe = Some(probe.clone());
            reference.profile.save_for(&reference.ggml)?;
        }
        Ok(Self { made: Some(reference), _folder: Some(folder) })
    }
}

/// Counts. A clip that failed with one type counts for none, so that all are measured on the same ones.
fn report(clips: &[Clip], trials: &[Trial], args: &ConvertCommand) -> Report {
    let (how, orthography) = (args.eval_text, args.decode.orthography);
    let mut report = Report::new(args);
    let mut rows: Vec<Counts> = trials.iter().map(|_| Counts::default()).collect();
    let reference = trials.iter().position(|trial| trial.type_name == REFERENCE.name());
    for (index, clip) in clips.iter().enumerate() {
        let results = trials.iter().map(|trial| match trial.done.clips.get(index) {
            Some(Ok(heard)) => Ok(heard),
            Some(Err(reason)) => Err(reason.as_str()),
            None => Err("it was not reached"),
        });
        let heard: Vec<&Heard> = match results.collect::<Result<_, _>>() {
            Ok(heard) => heard,
            Err(reason) => {
                let path = clip.path.display().to_string();
                report.failed.push(FailedClip { path, reason: reason.to_owned() });
                continue;
            }
        };
        let said = comparable(&clip.sentence, how, orthography);
        let standard: Vec<String> = heard.iter().map(|heard| orthography.normalize(&heard.text)).collect();
        let of_reference = reference.and_then(|index| standard.get(index));
        for ((counts, heard), text) in rows.iter_mut().zip(&heard).zip(&standard) {
            counts.tally.add(&said, &comparable(text, how, orthography));
            counts.took += heard.took;
            counts.changed += usize::from(of_reference != Some(text));
        }
        let seconds = heard.first().map_or(0.0, |heard| heard.seconds);
        report.clips += 1;
        report.seconds += seconds;
        let names = trials.iter().map(|trial| trial.type_name);
        report.texts.push(Text {
            path: clip.name.clone(),
            sentence: clip.sentence.clone(),
            seconds,
            found: names.zip(standard).collect(),
        });
    }
    let of_reference = reference.and_then(|index| rows.get(index)?.tally.word_error_rate());
    for (trial, counts) in trials.iter().zip(&rows) {
        report.types.push(counts.row(trial, &report, of_reference));
    }
    report.judge();
    report
}

#[derive(Debug, Default)]
struct Counts {
    tally: Tally,
    took: f64,
    changed: usize,
}

impl Counts {
    fn row(&self, trial: &Trial, report: &Report, of_reference: Option<f64>) -> Row {
        let rate = self.tally.word_error_rate();
        Row {
            type_name: trial.type_name,
            file: trial.file.as_ref().map(|file| file.display().to_string()),
            bytes: trial.bytes,
            word_error_rate: rate,
            word_errors: self.tally.word_errors,
            words: self.tally.words,
            character_error_rate: self.tally.character_error_rate(),
            character_errors: self.tally.character_errors,
            characters: self.tally.characters,
            wer_loss: rate.zip(of_reference).map(|(rate, reference)| 100.0 * (rate - reference)),
            real_time_factor: self.took / report.seconds.max(f64::MIN_POSITIVE),
            peak_bytes: trial.done.peak_bytes,
            changed: self.changed as f64 / report.clips.max(1) as f64,
        }
    }
}
