//! A real small GGML file, damaged in thousands of ways: each is refused, or loaded and computed with. A
//! crash inside whisper.cpp would end the whole test program.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use imesli::asr::model::{Model, ModelOptions};
use imesli::asr::search::{Decoder, SearchOptions};
use imesli::asr::transcriber::Request;
use imesli::checkpoint::{Error, QuantType, inspect, verify};
use tempfile::TempDir;

use super::model::Checkpoint;
use crate::support::{ONE, demo, samples, transcribe};

/// A file that is changed in place.
struct Victim {
    dir: TempDir,
    path: PathBuf,
    file: fs::File,
    bytes: Vec<u8>,
    /// How many changed files were refused, and how many were loaded.
    refused: usize,
    loaded: usize,
}

impl Victim {
    fn new(quantize: QuantType) -> Self {
        let checkpoint = Checkpoint::new();
        checkpoint.write("F16", "");
        Self::of(checkpoint.converted(quantize))
    }

    fn of(bytes: Vec<u8>) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("m.bin");
        fs::write(&path, &bytes).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        Self { dir, path, file, bytes, refused: 0, loaded: 0 }
    }

    /// Replaces bytes, tries the file, and puts them back.
    fn try_with(&mut self, at: usize, new: &[u8]) {
        self.file.write_all_at(new, at as u64).unwrap();
        self.attempt(&format!("{new:?} at {at}"));
        self.file.write_all_at(&self.bytes[at..at + new.len()], at as u64).unwrap();
    }

    fn flip(&mut self, at: usize, bits: impl IntoIterator<Item = u8>) {
        for bit in bits {
            self.try_with(at, &[self.bytes[at] ^ (1 << bit)]);
        }
    }

    /// Verified is loaded; what is refused is refused as a GGML file, and by `inspect`, too.
    fn attempt(&mut self, what: &str) {
        match verify(&self.path) {
            Ok(_) => {
                decode(&self.path);
                self.loaded += 1;
            }
            Err(Error::Ggml { fact, .. }) => {
                assert!(!fact.is_empty());
                self.refused += 1;
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
}

/// Loads a file and computes with it; what comes of it does not matter.
fn decode(path: &Path) {
    let model = Model::load(path, ModelOptions { gpu: false }).expect("what verifies is loaded");
    let mut state = model.new_state(1).unwrap();
    state.set_audio(&[0.1; 4000], None).unwrap();
    let mut logits = Vec::new();
    state.encode().unwrap().start(&[21, 3, 7], &mut logits).unwrap();
    assert_eq!(logits.len(), model.dims().n_vocab);
}

/// Where things are in a file, by a walk of the test's own.
struct Map {
    /// Beginnings of the parts: header, filters, vocabulary, every token, every tensor, its name and data.
    boundaries: Vec<usize>,
    /// Header and end of the header of every tensor.
    tensors: Vec<(usize, usize)>,
    vocabulary: usize,
}

fn map(bytes: &[u8]) -> Map {
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 48;
    let mut boundaries = vec![4, at];
    at += 8 + 4 * number(at) * number(at + 4);
    let vocabulary = at;
    boundaries.extend([at, at + 4]);
    let tokens = number(at);
    at += 4;
    for _ in 0..tokens {
        at += 4 + number(at);
        boundaries.push(at);
    }
    let mut tensors = Vec::new();
    while at < bytes.len() {
        let (n_dims, n_name, ty) = (number(at), number(at + 4), number(at + 8));
        let count: usize = (0..n_dims).map(|i| number(at + 12 + 4 * i)).product();
        let data = at + 12 + 4 * n_dims + n_name;
        tensors.push((at, data));
        boundaries.extend([at, at + 12, data - n_name, data]);
        at = data
            + match ty {
                0 => 4 * count,
                1 => 2 * count,
                8 => count / 32 * 34,
                other => panic!("{other}"),
            };
    }
    Map { boundaries, tensors, vocabulary }
}

#[test]
fn every_number_of_the_header() {
    let mut victim = Victim::new(QuantType::Q8_0);
    for field in 0..14 {
        let at = 4 * field;
        let own = u32::from_le_bytes(victim.bytes[at..at + 4].try_into().unwrap());
        for number in [0, 1, 2, 3, 4, 8, 16, 31, 64, 80, 128, 201, 1500, 1 << 16, 51864, 51865, 51866, 51867]
            .into_iter()
            .chain([
                own.wrapping_sub(1),
                own + 1,
                own.wrapping_mul(2),
                1 << 30,
                i32::MAX as u32,
                1 << 31,
                u32::MAX,
            ])
        {
            victim.try_with(at, &number.to_le_bytes());
        }
        for byte in at..at + 4 {
            victim.flip(byte, 0..8);
        }
    }
    assert!(victim.refused > 700, "{}", victim.refused);
    // Other numbers of heads are no damage that could be seen.
    assert!(victim.loaded > 10, "{}", victim.loaded);
}

#[test]
fn every_tensors_header() {
    for quantize in [QuantType::Q8_0, QuantType::F16] {
        let mut victim = Victim::new(quantize);
        for (from, to) in map(&victim.bytes).tensors {
            for at in from..to {
                // Each bit of the numbers, and one of each letter.
                victim.flip(at, if at < from + 24 { 0..8 } else { 2..3 });
            }
        }
        assert!(victim.refused > 9000, "{}", victim.refused);
        assert_eq!(victim.loaded, 0);
    }
}

#[test]
fn cut_at_every_boundary() {
    let mut victim = Victim::new(QuantType::Q8_0);
    let boundaries = map(&victim.bytes).boundaries;
    assert!(boundaries.len() > 150, "{}", boundaries.len());
    for at in boundaries {
        for length in [at - 1, at, at + 1] {
            victim.file.set_len(length as u64).unwrap();
            victim.attempt(&format!("{length} bytes"));
        }
        victim.file.write_all_at(&victim.bytes, 0).unwrap();
    }
    assert_eq!(victim.loaded, 0);
}

#[test]
fn vocabularies_and_weights_may_be_anything() {
    let mut victim = Victim::new(QuantType::Q8_0);
    let Map { vocabulary, tensors, .. } = map(&victim.bytes);
    for at in vocabulary..vocabulary + 120 {
        victim.flip(at, [0, 7]);
    }
    let before = victim.loaded;
    // Scales and values that are huge, infinite or no numbers, in the first block of every tensor.
    for (_, data) in tensors {
        victim.try_with(data, &[0xff, 0x7f, 0xff, 0x7f]);
        victim.try_with(data, &[0x00, 0xfc, 0x80, 0xff]);
    }
    assert!(victim.loaded - before > 80, "{}", victim.loaded - before);
}

#[test]
fn weights_that_are_no_numbers_end_a_transcription_properly() {
    let mut bytes = fs::read(demo(QuantType::F16)).unwrap();
    let name = b"decoder.token_embedding.weight";
    let at = bytes.windows(name.len()).position(|w| w == name).unwrap() + name.len();
    bytes[at..at + 200_000].fill(0xff);
    let victim = Victim::of(bytes);
    let transcriber = imesli::load::from_ggml(&victim.path, ONE, true).unwrap();
    let search = SearchOptions { max_new_tokens: 4, ..SearchOptions::default() };
    let request = Request { search, ..Request::default() };
    transcribe(&transcriber, samples("tests/data/theo-7309.wav"), &request);
    // It is found when it is looked for.
    let report = inspect(&victim.path).unwrap();
    assert!(
        report.findings[0].contains("token_embedding.weight` holds 100000 values"),
        "{:?}",
        report.findings
    );
}

#[test]
fn tensors_too_many_twice_or_none() {
    let victim = Victim::new(QuantType::Q8_0);
    let tensors = map(&victim.bytes).tensors;
    let (first, last) = (tensors[0].0, tensors[tensors.len() - 1].0);
    let tail = victim.bytes[last..].to_vec();
    let fact = |bytes: &[u8]| {
        fs::write(&victim.path, bytes).unwrap();
        match verify(&victim.path).unwrap_err() {
            Error::Ggml { fact, .. } => fact,
            other => panic!("{other}"),
        }
    };
    let with = |more: &[u8]| [victim.bytes.as_slice(), more].concat();
    assert!(fact(&victim.bytes[..first]).contains("missing"));
    assert!(fact(&victim.bytes[..last]).contains("missing"));
    assert!(fact(&with(&tail)).contains("twice"));
    // As many as fit into 8 MB, where the file claims no end of them.
    assert!(fact(&with(&tail.repeat(8_000_000 / tail.len()))).contains("twice"));
    let long = [1, 1 << 30, 0, 1].map(u32::to_le_bytes).concat();
    assert!(fact(&with(&long)).contains("a name of"));
    let report = inspect(&victim.path).unwrap();
    // And, there being no profile beside it, Whisper's own tokens do not fit.
    assert!(report.findings[0].contains("a name of") && report.findings.len() == 2, "{:?}", report.findings);
}

/// Runs a program in 200 MB of address space, `convert` or `imesli`.
fn run_in_little_memory(program: &str, arguments: &[&str]) -> Output {
    let limit = if program.ends_with("convert") {
        "ulimit -v 200000; exec \"$0\" \"$@\""
    } else {
        "exec \"$0\" \"$@\""
    };
    Command::new("sh")
        .args(["-c", limit, program])
        .args(arguments)
        .env("IMESLI_THREADS", "1")
        .output()
        .unwrap()
}

#[test]
fn the_programs_refuse_what_is_damaged() {
    let whole = Victim::new(QuantType::Q8_0).bytes;
    let map = map(&whole);
    let with = |at: usize, number: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    let (convert, imesli) = (env!("CARGO_BIN_EXE_convert"), env!("CARGO_BIN_EXE_imesli"));
    for (what, bytes, grown) in [
        ("cut short", whole[..whole.len() - 1].to_vec(), 0),
        ("a vocabulary without end", with(4, 51865), 1 << 40),
        ("tokens without end", with(map.vocabulary, u32::MAX), 1 << 40),
        ("filters without end", with(52, 1 << 29), 1 << 40),
        ("layers without end", with(20, u32::MAX), 0),
        ("a tensor without end", with(map.tensors[3].0 + 12, i32::MAX as u32), 1 << 40),
        ("zeros without end", whole.clone(), 1 << 40),
    ] {
        let victim = Victim::of(bytes);
        if grown > 0 {
            victim.file.set_len(grown).unwrap();
        }
        let (file, folder) = (victim.path.to_str().unwrap(), victim.dir.path().to_str().unwrap());
        for (program, arguments) in [
            (convert, vec!["--inspect", file]),
            (convert, vec!["--inspect", file, "--json"]),
            (convert, vec!["--inspect", folder]),
            (convert, vec!["--checkpoint", file, "--quantize", "q4_0"]),
            (imesli, vec!["--checkpoint", file, "--port", "0"]),
            (imesli, vec!["--checkpoint", folder, "--port", "0"]),
            (imesli, vec!["transcribe", "--checkpoint", file, "tests/data/theo-7309.wav"]),
        ] {
            let output = run_in_little_memory(program, &arguments);
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said);
            assert_eq!(output.status.code(), Some(2), "{what}: {arguments:?}: {said}");
            assert!(said.contains("m.bin"), "{what}: {arguments:?}: {said}");
        }
        assert_eq!(victim.dir.path().read_dir().unwrap().count(), 1, "{what}");
    }
}
