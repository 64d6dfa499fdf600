//! Checkpoints from a hub, against a server of our own: downloads, the cache, and what is refused.

mod program;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use imesli::checkpoint::hub::{Failure, Local, Reference, Settings, Token, fetch};
use imesli::checkpoint::{Error, Options, QuantType, convert};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::model::{Checkpoint, REFERENCE_SHA256, fixture, sha256};
use server::{COMMIT, Hub, Repository, Seen};

const NAME: &str = "me/kab";

/// A folder's files.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = dir.read_dir().unwrap().map(|entry| entry.unwrap());
    entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

/// The fixture's model as a repository, with what a trainer leaves behind.
fn repository() -> Repository {
    let checkpoint = Checkpoint::new();
    checkpoint.write("F32", "model.");
    let mut files = files(checkpoint.dir.path());
    for other in ["README.md", "pytorch_model.bin", "optimizer.pt", "checkpoint-10/model.safetensors"] {
        files.insert(other.into(), b"not needed".to_vec());
    }
    Repository { name: NAME, files, stored: vec!["model.safetensors"], ..Repository::default() }
}

/// A server and a cache.
struct Case {
    hub: Hub,
    cache: TempDir,
    settings: Settings,
}

impl Case {
    fn new(repository: Repository) -> Self {
        Self::of(vec![repository])
    }

    fn of(repositories: Vec<Repository>) -> Self {
        let hub = Hub::start(repositories);
        let cache = TempDir::new().unwrap();
        let settings = Settings {
            endpoint: hub.endpoint.clone(),
            cache: cache.path().join("hub"),
            token: None,
            offline: false,
            pause: Duration::from_millis(1),
        };
        Self { hub, cache, settings }
    }

    fn fetch(&self) -> Result<Local, Error> {
        self.fetch_as(None)
    }

    fn fetch_as(&self, revision: Option<&str>) -> Result<Local, Error> {
        fetch(&Reference::new(NAME, revision).unwrap(), &self.settings)
    }

    fn failure(&self) -> Failure {
        self.failure_of(None)
    }

    fn failure_of(&self, revision: Option<&str>) -> Failure {
        let error = self.fetch_as(revision).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("secret"), "{text}");
        match error {
            Error::Hub(failure) => failure,
            other => panic!("{other}"),
        }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.settings.cache.join("models--me--kab").join(below)
    }

    fn snapshot(&self) -> PathBuf {
        self.path("snapshots").join(COMMIT)
    }

    /// The blob of the weights, and its name as long as it is not complete.
    fn blob(&self) -> (PathBuf, PathBuf) {
        let mut name = String::new();
        self.hub.change(|repository| name = sha256(&repository.files["model.safetensors"]));
        (self.path("blobs").join(&name), self.path("blobs").join(format!("{name}.incomplete")))
    }

    /// The byte that each request to the storage begins with.
    fn ranges(&self) -> Vec<Option<u64>> {
        let at_storage = self.hub.seen().into_iter().filter(|seen| seen.at_storage);
        at_storage
            .map(|seen| seen.headers.get("range")?["bytes=".len()..].strip_suffix('-')?.parse().ok())
            .collect()
    }
}

fn paths(seen: &[Seen]) -> Vec<String> {
    seen.iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
}

#[test]
fn what_a_conversion_needs_is_fetched_into_the_hubs_own_layout() {
    let case = Case::new(repository());
    let found = case.fetch().unwrap();
    assert_eq!(found, Local { path: case.snapshot(), base: None });
    let expected = ["added_tokens.json", "config.json", "model.safetensors", "vocab.json"];
    assert_eq!(files(&found.path).into_keys().collect::<Vec<_>>(), expected);
    assert_eq!(fs::read_to_string(case.path("refs/main")).unwrap(), COMMIT);
    let (blob, unfinished) = case.blob();
    assert!(blob.is_file() && !unfinished.exists());
    #[cfg(unix)]
    {
        let link = fs::read_link(found.path.join("model.safetensors")).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(blob.file_name().unwrap()));
    }
    let made = convert(&Options { checkpoint: found.path, base: None, quantize: QuantType::F16, out: None });
    assert_eq!(sha256(fs::read(made.unwrap().ggml).unwrap()), REFERENCE_SHA256);
    case.hub.seen();

    // Once more, and by the commit: nothing but the question for what is newest.
    case.fetch().unwrap();
    case.fetch_as(Some(COMMIT)).unwrap();
    let api = |revision: &str| format!("GET /api/models/{NAME}/revision/{revision}");
    assert_eq!(paths(&case.hub.seen()), [api("main"), api(COMMIT)]);
}

#[test]
fn a_revision_may_have_slashes() {
    let case = Case::new(Repository { revisions: vec!["refs/pr/3"], ..repository() });
    case.fetch_as(Some("refs/pr/3")).unwrap();
    assert_eq!(fs::read_to_string(case.path("refs/refs/pr/3")).unwrap(), COMMIT);
    assert!(matches!(case.failure_of(Some("v2")), Failure::NoRevision { .. }));
}

#[test]
fn small_files_may_have_moved_on_the_hub_itself() {
    let case = Case::new(Repository { moved: true, ..repository() });
    let path = case.fetch().unwrap().path;
    assert_eq!(files(&path).len(), 4);
    assert!(paths(&case.hub.seen()).iter().any(|path| path.starts_with("GET /moved/")));
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let case = Case::new(repository());
    case.hub.change(|repository| repository.faults.cuts = 2);
    let size = case.fetch().unwrap().path.join("model.safetensors").metadata().unwrap().len();
    let ranges = case.ranges();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert_eq!(ranges[0], None);
    assert_eq!(ranges[1], Some(size / 2));
    assert_eq!(ranges[2], Some(size / 2 + (size - size / 2) / 2));
}

#[test]
fn a_later_run_goes_on_too() {
    let case = Case::new(repository());
    case.hub.change(|repository| repository.faults.cuts = usize::MAX);
    assert!(matches!(case.failure(), Failure::Unreachable { .. }));
    let (blob, unfinished) = case.blob();
    let have = unfinished.metadata().unwrap().len();
    assert!(have > 0 && !blob.exists());
    assert!(!case.snapshot().join("model.safetensors").exists() && !case.path("refs/main").exists());
    case.ranges();
    case.hub.change(|repository| repository.faults.cuts = 0);
    case.fetch().unwrap();
    assert_eq!(case.ranges(), [Some(have)]);
}

#[test]
fn a_beginning_that_is_of_no_use_is_left() {
    let case = Case::new(repository());
    let (blob, unfinished) = case.blob();
    fs::create_dir_all(unfinished.parent().unwrap()).unwrap();
    // Other bytes than the file's, then more of them than it has.
    fs::write(&unfinished, [7; 100]).unwrap();
    case.fetch().unwrap();
    assert_eq!(case.ranges(), [Some(100), None]);
    let size = blob.metadata().unwrap().len();
    for no_ranges in [false, true] {
        fs::remove_file(&blob).unwrap();
        fs::write(&unfinished, vec![7; if no_ranges { 100 } else { size as usize + 1 }]).unwrap();
        case.hub.change(|repository| repository.faults.no_ranges = no_ranges);
        case.fetch().unwrap();
        assert_eq!(case.ranges(), [no_ranges.then_some(100)]);
    }
}

#[test]
fn bytes_that_are_not_the_files_are_refused() {
    let case = Case::new(repository());
    case.hub.change(|repository| repository.faults.corrupt = true);
    let Failure::File { file, fact, .. } = case.failure() else { panic!() };
    assert!(file == "model.safetensors" && fact.contains("checksum"), "{fact}");
    let (blob, unfinished) = case.blob();
    assert!(!blob.exists() && !unfinished.exists());
    case.hub.change(|repository| {
        repository.faults.corrupt = false;
        repository.faults.longer = true;
    });
    let Failure::File { fact, .. } = case.failure() else { panic!() };
    assert!(fact.contains("more than"), "{fact}");
    assert!(!case.blob().0.exists());
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let mut case = Case::new(Repository { token: Some("hf_secret"), ..repository() });
    assert!(matches!(case.failure(), Failure::NoRepository { advice, .. } if advice.contains("HF_TOKEN")));
    case.settings.token = Some(Token::new("hf_other_secret").unwrap());
    assert!(
        matches!(case.failure(), Failure::NoRepository { advice, .. } if advice.contains("does not open"))
    );
    case.settings.token = Some(Token::new("hf_secret").unwrap());
    case.hub.seen();
    case.fetch().unwrap();
    let (storage, hub): (Vec<_>, Vec<_>) = case.hub.seen().into_iter().partition(|seen| seen.at_storage);
    assert_eq!(storage.len(), 1);
    assert!(!storage[0].headers.contains_key("authorization"), "{storage:?}");
    assert!(hub.len() > 3);
    for seen in hub {
        assert_eq!(seen.headers["authorization"], "Bearer hf_secret", "{seen:?}");
    }
}

#[test]
fn each_refusal_is_told_apart() {
    let case = Case::new(repository());
    let with = |status, code| {
        case.hub.change(|repository| repository.faults.status = Some((status, code)));
        case.failure()
    };
    assert!(matches!(with(401, "RepoNotFound"), Failure::NoRepository { .. }));
    assert!(matches!(with(404, "RepoNotFound"), Failure::NoRepository { .. }));
    assert!(matches!(with(404, ""), Failure::NoRepository { .. }));
    assert!(matches!(with(404, "RevisionNotFound"), Failure::NoRevision { .. }));
    assert!(matches!(with(401, "GatedRepo"), Failure::Gated { page, .. } if page.ends_with("/me/kab")));
    assert!(matches!(with(403, ""), Failure::Gated { .. }));
    assert!(matches!(with(503, ""), Failure::Unreachable { fact, .. } if fact.contains("503")));
    assert!(matches!(with(418, ""), Failure::Status { status: 418, .. }));
}

#[test]
fn without_a_hub_the_cache_will_do() {
    let mut case = Case::new(repository());
    case.settings.offline = true;
    assert!(matches!(case.failure(), Failure::Offline { .. }));
    case.settings.offline = false;
    let expected = case.fetch().unwrap();
    case.hub.seen();
    case.settings.offline = true;
    assert_eq!(case.fetch().unwrap(), expected);
    assert_eq!(case.fetch_as(Some(COMMIT)).unwrap(), expected);
    assert!(matches!(case.failure_of(Some("v2")), Failure::Offline { .. }));
    assert!(case.hub.seen().is_empty());
    // A port that nobody listens on, and a hub that is out of order.
    case.settings.offline = false;
    case.hub.change(|repository| repository.faults.status = Some((502, "")));
    assert_eq!(case.fetch().unwrap(), expected);
    case.settings.endpoint = "http://127.0.0.1:1".into();
    assert_eq!(case.fetch().unwrap(), expected);
    // What is not complete is of no use.
    fs::remove_file(case.snapshot().join("config.json")).unwrap();
    assert!(matches!(case.failure(), Failure::Unreachable { endpoint, .. } if endpoint.ends_with(":1")));
}

#[test]
fn shards_are_fetched_by_their_index() {
    let index =
        |file: &str| json!({ "weight_map": { "a": file, "b": "model-2-of-2.safetensors" } }).to_string();
    let mut repository = repository();
    repository.files.remove("model.safetensors");
    for name in ["model-1-of-2.safetensors", "model-2-of-2.safetensors", "model-3-of-2.safetensors"] {
        repository.files.insert(name.into(), name.into());
    }
    repository.files.insert("model.safetensors.index.json".into(), index("model-1-of-2.safetensors").into());
    repository.stored = vec!["model-1-of-2.safetensors", "model-2-of-2.safetensors"];
    let case = Case::new(repository);
    let names: Vec<_> = files(&case.fetch().unwrap().path).into_keys().collect();
    assert!(names.contains(&"model-2-of-2.safetensors".to_owned()) && names.len() == 6, "{names:?}");
    for wrong in ["gone.safetensors", "../../../../x", "a?b"] {
        let case = Case::new(self::repository());
        case.hub.change(|repository| {
            repository.files.remove("model.safetensors");
            repository.files.insert("model.safetensors.index.json".into(), index(wrong).into());
            repository.faults.listed = vec!["../../../../x", "a?b", "model-2-of-2.safetensors"];
        });
        let error = case.fetch().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(wrong), "{error}");
        assert!(!case.cache.path().join("x").exists());
    }
}

#[test]
fn a_hub_does_not_name_places_outside_the_cache() {
    let content = |change: &dyn Fn(&mut Repository)| {
        let case = Case::new(repository());
        case.hub.change(change);
        let failure = case.failure();
        assert!(!case.snapshot().join("model.safetensors").exists(), "{failure}");
        failure.to_string()
    };
    assert!(content(&|r| r.faults.commit = Some("../../../../tmp/imesli")).contains("no commit"));
    assert!(content(&|r| r.faults.etag = Some("../../../../tmp/imesli")).contains("no checksum"));
    assert!(content(&|r| r.faults.size = Some("99999999999999")).contains("at most"));
    assert!(content(&|r| r.faults.size = Some("-1")).contains("size"));
    let text = content(&|r| {
        r.files.clear();
        r.faults.listed = vec!["../../evil.pt", "/etc/evil.pt", "a/evil.pt"];
    });
    assert!(text.contains("it holds no"), "{text}");
}

#[test]
fn what_is_no_whisper_is_not_downloaded() {
    let case = Case::new(repository());
    case.hub.change(|repository| {
        let config = json!({ "model_type": "llama", "vocab_size": 32000 }).to_string();
        repository.files.insert("config.json".into(), config.into_bytes());
    });
    assert_eq!(case.fetch().unwrap_err().exit_code(), 2);
    assert!(case.ranges().is_empty());
}

#[test]
fn an_adapter_brings_its_base_along() {
    let mut adapter = files(&fixture("adapters/plain"));
    adapter.remove("merged.safetensors");
    let mut config: Value = serde_json::from_slice(&adapter["adapter_config.json"]).unwrap();
    config["base_model_name_or_path"] = json!("you/base");
    adapter.insert("adapter_config.json".into(), config.to_string().into_bytes());
    let base = Repository { name: "you/base", ..repository() };
    let adapter = Repository { name: NAME, files: adapter, ..Repository::default() };
    let case = Case::of(vec![adapter, base]);
    let Local { path, base } = case.fetch().unwrap();
    let base = base.unwrap();
    assert_eq!(
        files(&path).into_keys().collect::<Vec<_>>(),
        ["adapter_config.json", "adapter_model.safetensors"]
    );
    assert!(base.ends_with(format!("models--you--base/snapshots/{COMMIT}")), "{base:?}");
    convert(&Options { checkpoint: path, base: Some(base), quantize: QuantType::F32, out: None }).unwrap();
}

#[test]
fn two_at_a_time_do_not_spoil_each_others_work() {
    let case = Case::new(repository());
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4).map(|_| scope.spawn(|| case.fetch().unwrap())).collect();
        for fetch in fetches {
            assert_eq!(fetch.join().unwrap().path, case.snapshot());
        }
    });
    assert_eq!(case.ranges(), [None], "one download for all");
}
