//! From `--checkpoint` to a file that can be loaded.

use std::fs;
use std::time::{Duration, SystemTime};

use imesli::checkpoint::resolve::resolve_with_cache;
use imesli::checkpoint::{Error, Profile, QuantType, Resolved, resolve};

use super::model::Checkpoint;

fn written(path: &std::path::Path) -> SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

fn resolved(checkpoint: &Checkpoint, quantize: Option<QuantType>) -> Resolved {
    resolve(checkpoint.dir.path(), quantize).unwrap()
}

fn checkpoint() -> Checkpoint {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F16", "model.");
    checkpoint
}

#[test]
fn converts_once() {
    let checkpoint = checkpoint();
    let first = resolved(&checkpoint, None);
    assert_eq!(first.ggml, checkpoint.path("ggml-q8_0.bin"));
    let time = written(&first.ggml);
    let second = resolved(&checkpoint, None);
    assert_eq!((second.ggml, second.profile), (first.ggml.clone(), first.profile));
    assert_eq!(written(&first.ggml), time, "not written again");
}

#[test]
fn converts_again_when_the_checkpoint_changed() {
    let checkpoint = checkpoint();
    let first = resolved(&checkpoint, None);
    assert_eq!(first.profile.generation.language, None);
    checkpoint.write_json("generation_config.json", &serde_json::json!({ "language": "kab" }));
    assert_eq!(resolved(&checkpoint, None).profile.generation.language.as_deref(), Some("kab"));

    let weights = fs::File::options().write(true).open(checkpoint.path("model.safetensors")).unwrap();
    weights.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    let before = Profile::read(&checkpoint.path("ggml-q8_0.json")).unwrap();
    assert_ne!(resolved(&checkpoint, None).profile.source, before.unwrap().source);
}

#[test]
fn converts_again_what_was_cut_short() {
    let checkpoint = checkpoint();
    let whole = fs::read(resolved(&checkpoint, None).ggml).unwrap();
    fs::write(checkpoint.path("ggml-q8_0.bin"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(fs::read(resolved(&checkpoint, None).ggml).unwrap(), whole);
}

#[test]
fn the_type_that_is_asked_for() {
    let checkpoint = checkpoint();
    for ty in [QuantType::Q4_0, QuantType::F16] {
        assert_eq!(resolved(&checkpoint, Some(ty)).info.quant_type(), Some(ty));
    }
    // None asked for: the newest, for there is no q8_0; then that one.
    assert_eq!(resolved(&checkpoint, None).info.type_name, "f16");
    resolved(&checkpoint, Some(QuantType::Q8_0));
    resolved(&checkpoint, Some(QuantType::Q5_1));
    assert_eq!(resolved(&checkpoint, None).info.type_name, "q8_0");
}

#[test]
fn a_folder_with_only_a_ggml_file() {
    let checkpoint = checkpoint();
    let made = resolved(&checkpoint, Some(QuantType::Q5_0));
    fs::remove_file(checkpoint.path("model.safetensors")).unwrap();
    assert_eq!(resolved(&checkpoint, None).profile, made.profile);
    let error = resolve(checkpoint.dir.path(), Some(QuantType::Q8_0)).unwrap_err();
    assert!(matches!(error, Error::NoSuchType { wanted: "q8_0", .. }), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_file_is_taken_as_it_is() {
    let checkpoint = Checkpoint::without_tokenizer(51872, 80);
    checkpoint.write("F16", "");
    let made = resolved(&checkpoint, None);
    assert_eq!(resolve(&made.ggml, None).unwrap().profile, made.profile);
    // A stock file has no profile.
    fs::remove_file(Profile::path_for(&made.ggml)).unwrap();
    let stock = resolve(&made.ggml, None).unwrap();
    assert_eq!(stock.profile.tokens, Profile::standard(51872).tokens);
    assert_eq!(stock.profile.source, None);
}

#[test]
fn what_can_not_be_resolved() {
    let checkpoint = Checkpoint::new();
    checkpoint.write_config();
    assert!(matches!(resolve(checkpoint.dir.path(), None), Err(Error::NoWeights { .. })));
    assert!(matches!(resolve(&checkpoint.path("nothing"), None), Err(Error::Read { .. })));
    assert!(matches!(resolve(&checkpoint.path("config.json"), None), Err(Error::Ggml { .. })));
}

#[test]
fn a_profile_that_is_broken() {
    let checkpoint = checkpoint();
    let made = resolved(&checkpoint, None);
    for text in ["{", "{}", r#"{"version":1}"#] {
        fs::write(Profile::path_for(&made.ggml), text).unwrap();
        assert!(matches!(resolve(&made.ggml, None), Err(Error::Profile { .. })), "{text}");
    }
    let mut old = made.profile.clone();
    old.version = 0;
    fs::write(Profile::path_for(&made.ggml), serde_json::to_string(&old).unwrap()).unwrap();
    assert!(matches!(resolve(&made.ggml, None), Err(Error::Profile { .. })));
    // With the weights beside it, it is made again.
    assert_eq!(resolved(&checkpoint, None).profile, made.profile);
}

#[cfg(unix)]
#[test]
fn a_folder_that_can_not_be_written() {
    use std::os::unix::fs::PermissionsExt;
    let (checkpoint, cache) = (checkpoint(), tempfile::TempDir::new().unwrap());
    let allow = |mode| fs::set_permissions(checkpoint.dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    allow(0o555);
    if tempfile::tempfile_in(checkpoint.dir.path()).is_ok() {
        // Permissions do not stop root.
        return allow(0o755);
    }
    let from_cache = || resolve_with_cache(checkpoint.dir.path(), None, Some(cache.path())).unwrap();
    let made = from_cache();
    assert!(made.ggml.starts_with(cache.path().join("imesli")), "{}", made.ggml.display());
    let time = written(&made.ggml);
    assert_eq!(from_cache().ggml, made.ggml);
    assert_eq!(written(&made.ggml), time, "found there again");
    let error = resolve_with_cache(checkpoint.dir.path(), Some(QuantType::F16), None).unwrap_err();
    assert_eq!(error.exit_code(), 1, "{error}");
    allow(0o755);
}

#[test]
fn special_tokens_that_the_model_has_no_row_for() {
    let checkpoint = checkpoint();
    let made = resolved(&checkpoint, None);
    let mut edited = made.profile.clone();
    edited.tokens.transcribe = Some(40);
    fs::write(Profile::path_for(&made.ggml), serde_json::to_string(&edited).unwrap()).unwrap();
    let error = resolve(&made.ggml, None).unwrap_err();
    assert!(error.to_string().contains("`<|transcribe|>` has the id 40"), "{error}");
    // Whisper's own tokens, taken where there is no profile, do not fit into 40 rows.
    fs::remove_file(Profile::path_for(&made.ggml)).unwrap();
    assert_eq!(resolve(&made.ggml, None).unwrap_err().exit_code(), 2);
}
