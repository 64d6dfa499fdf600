//! From a checkpoint on disk to a transcriber ready to work: where `checkpoint` and `asr` meet.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::asr::audio_context::{AudioContext, Margin};
use crate::asr::model::{Head, Model, ModelOptions};
use crate::asr::pool::{Pool, PoolOptions};
use crate::asr::recognizer::Task;
use crate::asr::transcriber::{Defaults, Transcriber};
use crate::asr::vocabulary::{SpecialTokens, Vocabulary};
use crate::audio::voice::VoiceDetector;
use crate::checkpoint::profile::{self, Profile};
use crate::checkpoint::{self, Resolved};
use crate::cluster::Loaded;
use crate::config::ModelArgs;

/// Finds or makes the GGML file of a checkpoint, checks it, loads it, and starts its pool. `requests` is
/// how many requests are admitted at a time.
///
/// # Errors
/// When the checkpoint can't be used, or there is no memory for the states.
pub fn transcriber(args: &ModelArgs, requests: usize) -> anyhow::Result<Transcriber> {
    // First, because it is soon done and can be wrong.
    let detector = args.vad_model.as_deref().map_or_else(VoiceDetector::built_in, VoiceDetector::open)?;
    Ok(start(&resolve(args)?, pool_options(args, requests), args.cpu)?.transcriber(detector))
}

/// The parts of a transcriber but for what listens for speech.
struct Parts {
    pool: Pool,
    vocabulary: Arc<Vocabulary>,
    defaults: Defaults,
}

impl Parts {
    fn transcriber(self, detector: VoiceDetector) -> Transcriber {
        Transcriber::new(self.pool, self.vocabulary, self.defaults, detector)
    }
}

/// The same as [`transcriber`] for a worker, which hears windows alone.
///
/// # Errors
/// When the checkpoint can't be used, or there is no memory for the states.
pub fn worker(args: &ModelArgs) -> anyhow::Result<Loaded> {
    let resolved = resolve(args)?;
    let Parts { pool, vocabulary, defaults } = start(&resolved, pool_options(args, 1), args.cpu)?;
    let mut hash = Sha256::new();
    let mut file = File::open(&resolved.ggml).with_context(|| resolved.ggml.display().to_string())?;
    std::io::copy(&mut file, &mut hash).with_context(|| resolved.ggml.display().to_string())?;
    Ok(Loaded { pool, vocabulary, defaults, weights: hash.finalize().to_vec() })
}

fn resolve(args: &ModelArgs) -> checkpoint::Result<Resolved> {
    checkpoint::resolve(&args.checkpoint, args.quantize)
}

fn pool_options(args: &ModelArgs, requests: usize) -> PoolOptions {
    PoolOptions { states: args.states(), threads: args.threads_per_state(), requests }
}

/// The same for a GGML file, with the profile beside it where there is one, and the built-in voice detector.
///
/// # Errors
/// When the file can't be used, or there is no memory for the states.
pub fn from_ggml(path: &Path, pool: PoolOptions, cpu: bool) -> anyhow::Result<Transcriber> {
    let detector = VoiceDetector::built_in()?;
    Ok(start(&checkpoint::resolve(path, None)?, pool, cpu)?.transcriber(detector))
}

fn start(resolved: &Resolved, pool: PoolOptions, cpu: bool) -> anyhow::Result<Parts> {
    let model = Model::load(&resolved.ggml, ModelOptions { gpu: !cpu })?;
    let vocabulary = Arc::new(Vocabulary::new(&model, special_tokens(&resolved.profile.tokens)));
    tracing::info!(
        model = %resolved.ggml.display(),
        weights = resolved.info.type_name,
        states = pool.states,
        threads = pool.threads,
        "the model is loaded"
    );
    if resolved.profile.probe.as_ref().is_some_and(|probe| !probe.timestamps) {
        tracing::info!("the model was seen to write no timestamps: requests for them are answered without");
    }
    let pool = Pool::start(&model, &vocabulary, pool)?;
    Ok(Parts { pool, vocabulary, defaults: defaults(&resolved.profile) })
}

fn special_tokens(tokens: &profile::SpecialTokens) -> SpecialTokens {
    SpecialTokens {
        end_of_text: tokens.eot,
        start_of_transcript: tokens.sot,
        translate: tokens.translate,
        transcribe: tokens.transcribe,
        start_of_prev: tokens.start_of_prev,
        no_speech: tokens.no_speech,
        no_timestamps: tokens.no_timestamps,
        timestamp_begin: tokens.timestamp_begin,
        languages: tokens.languages.clone(),
        added_text: tokens.added_text.clone(),
    }
}

fn defaults(profile: &Profile) -> Defaults {
    let generation = &profile.generation;
    let probe = profile.probe.as_ref();
    Defaults {
        language: generation.language.clone().or_else(|| probe?.language.clone()),
        task: match generation.task.as_deref() {
            Some("translate") => Task::Translate,
            _ => Task::Transcribe,
        },
        suppress: generation.suppress_tokens.clone(),
        begin_suppress: generation.begin_suppress_tokens.clone(),
        max_initial_timestamp: generation.max_initial_timestamp_index,
        no_timestamps: probe.is_some_and(|probe| !probe.timestamps),
        audio_context: match probe.map_or(generation.audio_context, |probe| probe.audio_context) {
            Some(rule) => AudioContext::Margin(Margin {
                seconds: rule.margin_seconds,
                min_log_prob: Some(rule.min_log_prob),
            }),
            None => AudioContext::Full,
        },
        alignment_heads: generation
            .alignment_heads
            .iter()
            .filter_map(|[layer, head]| {
                Some(Head { layer: i32::try_from(*layer).ok()?, head: i32::try_from(*head).ok()? })
            })
            .collect(),
    }
}
