//! Arguments: the model.

use std::path::PathBuf;

use clap::Args;

use crate::checkpoint::{QuantType, QuantTypeParser};

/// Which model, and how much of the machine it gets.
#[derive(Debug, Clone, Args)]
pub struct ModelArgs {
    /// A checkpoint folder as training left it, a weight file, a GGML file, or hf:OWNER/NAME (or
    /// hf:OWNER/NAME@REVISION), which is downloaded.
    #[arg(long, env = "IMESLI_CHECKPOINT", default_value = "./checkpoint", value_name = "PATH")]
    pub checkpoint: PathBuf,
    /// The type of the weights to use, and to convert to if that has not been done [default: q8_0, or what is there].
    #[arg(long, env = "IMESLI_QUANTIZE", value_name = "TYPE", value_parser = QuantTypeParser)]
    pub quantize: Option<QuantType>,
    /// Windows that are decoded at the same time; each costs memory, for whisper-small about 0.17 GB
    /// [default: one for each four cores, as far as memory goes].
    #[arg(long, env = "IMESLI_STATES", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub states: Option<u16>,
    /// Threads for each of them [default: the cores, shared among the states].
    #[arg(long, env = "IMESLI_THREADS", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Compute on the CPU, also where this build supports a GPU.
    #[arg(long, env = "IMESLI_CPU")]
    pub cpu: bool,
    /// What listens for speech: a Silero model in the format of whisper.cpp [default: the one built in].
    #[arg(long, env = "IMESLI_VAD_MODEL", value_name = "FILE")]
    pub vad_model: Option<PathBuf>,
}

/// Cores for each state: with fewer a single message takes long, with more they are badly used.
const CORES_PER_STATE: usize = 4;
/// What a state of a small model needs, and what is left to its weights and the rest.
const STATE_BYTES: u64 = 512 << 20;

impl ModelArgs {
    /// States of the model.
    pub fn states(&self) -> usize {
        self.states.map_or_else(|| default_states(cores(), memory()), usize::from)
    }

    /// What clients see as the model's name: that of its folder or file, or OWNER/NAME.
    pub fn name(&self) -> String {
        let path = &self.checkpoint;
        if let Some(reference) = path.to_str().and_then(|path| path.strip_prefix("hf:")) {
            return reference.to_owned();
        }
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        real.file_name().map_or_else(|| "imesli".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// Threads for each state.
    pub fn threads_per_state(&self) -> usize {
        self.threads.map_or_else(|| (cores() / self.states()).max(1), usize::from)
    }
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// One for each [`CORES_PER_STATE`], as many as fit into the memory beside the weights, at least one.
fn default_states(cores: usize, memory: Option<u64>) -> usize {
    let fit = memory.map_or(usize::MAX, |bytes| (bytes.saturating_sub(STATE_BYTES) / STATE_BYTES) as usize);
    (cores / CORES_PER_STATE).min(fit).clamp(1, 64)
}

/// Bytes of memory that are free, or that this container may use; `None` where the system does not say.
fn memory() -> Option<u64> {
    let read = |path| std::fs::read_to_string(path).ok();
    let free = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
    });
    let allowed = read("/sys/fs/cgroup/memory.max").and_then(|text| text.trim().parse().ok());
    free.into_iter().chain(allowed).min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::super::Cli;
    use super::*;

    fn model(arguments: &[&str]) -> ModelArgs {
        Cli::read(["imesli"].iter().chain(arguments)).unwrap().serve.model
    }

    #[test]
    fn states_follow_cores_and_memory() {
        assert_eq!(default_states(1, None), 1);
        assert_eq!(default_states(16, None), 4);
        assert_eq!(default_states(16, Some(1 << 30)), 1);
        assert_eq!(default_states(16, Some(2 << 30)), 3);
        assert_eq!(default_states(16, Some(0)), 1);
        assert_eq!(default_states(1000, None), 64);
    }

    #[test]
    fn threads_are_shared_among_the_states() {
        assert_eq!(
            model(&["--states", "64"]).threads_per_state(),
            std::thread::available_parallelism().unwrap().get().div_ceil(64)
        );
        assert_eq!(model(&["--states", "2", "--threads", "3"]).threads_per_state(), 3);
    }
}
