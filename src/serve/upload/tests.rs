#![allow(clippy::unwrap_used)] // A test may fail by panicking.

use std::time::Duration;

use super::*;

fn uploads(limits: Limits) -> Uploads {
    Uploads::new(&limits, Budget::new(limits.spool_bytes))
}

fn start(id: &str, file_size: u64, total_chunks: u64) -> UploadStart {
    UploadStart {
        upload_id: Id::Text(id.into()),
        file_name: "a.wav".into(),
        file_size,
        total_chunks,
        resume: None,
    }
}

fn chunk(id: &str, index: u64, data: &str) -> UploadChunk {
    UploadChunk { upload_id: Id::Text(id.into()), chunk_index: index, chunk_data: data.into() }
}

fn begin(uploads: &Uploads, owner: u64, start: &UploadStart) -> Result<Vec<u64>, Code> {
    uploads.start(owner, &None, start, Options::default()).map_err(|failure| failure.code)
}

#[test]
fn endings_alone_decide() {
    for good in
        ["a.WAV", "b.mp3", "c.webm", "noending", ".hidden", "a.b.m4a", "PTT.opus", "a.oga", "a.mka", "a.3gp"]
    {
        assert_eq!(check_name(good), Ok(()), "{good}");
    }
    for bad in ["a.txt", "a.wav.exe", "a.pdf", "a.amr", "a.wma"] {
        assert_eq!(check_name(bad).unwrap_err().code, Code::UnsupportedFileType, "{bad}");
    }
}

#[test]
fn each_bound_is_kept() {
    let limits = Limits {
        uploads: 3,
        uploads_per_connection: 2,
        upload_bytes: 100,
        spool_bytes: 150,
        ..Limits::default()
    };
    let uploads = uploads(limits);
    assert_eq!(begin(&uploads, 1, &start("a", 101, 1)), Err(Code::PayloadTooLarge));
    assert_eq!(begin(&uploads, 1, &start("a", 0, 1)), Err(Code::UploadStartError));
    assert_eq!(begin(&uploads, 1, &start("a", 1, MAX_CHUNKS + 1)), Err(Code::UploadStartError));
    assert_eq!(begin(&uploads, 1, &start("a", 100, 1)), Ok(vec![]));
    assert_eq!(begin(&uploads, 1, &start("b", 100, 1)), Err(Code::Overloaded), "bytes in all");
    assert_eq!(begin(&uploads, 1, &start("b", 10, 1)), Ok(vec![]));
    assert_eq!(begin(&uploads, 1, &start("c", 10, 1)), Err(Code::Overloaded), "of one connection");
    assert_eq!(begin(&uploads, 2, &start("c", 10, 1)), Ok(vec![]));
    assert_eq!(begin(&uploads, 3, &start("d", 10, 1)), Err(Code::Overloaded), "in all");
    assert_eq!(begin(&uploads, 2, &start("c", 10, 1)), Ok(vec![]), "in place of its namesake");
    uploads.abandon(&None, &Id::Text("a".into()));
    assert_eq!(begin(&uploads, 3, &start("d", 100, 1)), Ok(vec![]), "what is given up makes room");
}

#[test]
fn uploads_are_forgotten_when_idle_and_when_old() {
    let uploads = uploads(Limits::default());
    let id = Id::Text("a".into());
    begin(&uploads, 1, &start("a", 8, 2)).unwrap();
    let now = Instant::now();
    uploads.sweep(now + Duration::from_secs(590));
    assert_eq!(uploads.finish(&None, &id).unwrap_err().code, Code::UploadIncomplete);
    uploads.sweep(now + Duration::from_secs(610));
    assert_eq!(uploads.finish(&None, &id).unwrap_err().code, Code::UploadSessionNotFound);

    let patient = Limits { upload_idle: Duration::from_secs(9999), ..Limits::default() };
    let uploads = self::uploads(patient);
    begin(&uploads, 1, &start("a", 8, 2)).unwrap();
    uploads.sweep(now + Duration::from_secs(3500));
    assert!(uploads.chunk(&None, &chunk("a", 1, "aGVsbG8=")).is_ok());
    uploads.sweep(now + Duration::from_secs(3700));
    assert_eq!(uploads.chunk(&None, &chunk("a", 0, "aGVs")).unwrap_err().code, Code::UploadSessionNotFound);
}

#[test]
fn missing_chunks_are_named_and_may_still_come() {
    let uploads = uploads(Limits::default());
    let id = Id::Text("a".into());
    begin(&uploads, 1, &start("a", 8, 3)).unwrap();
    uploads.chunk(&None, &chunk("a", 2, "bG8=")).unwrap();
    let failure = uploads.finish(&None, &id).unwrap_err();
    assert_eq!(failure.code, Code::UploadIncomplete);
    assert!(failure.message.contains("0, 1"), "{}", failure.message);
    uploads.chunk(&None, &chunk("a", 0, "aGU=")).unwrap();
    let last = uploads.chunk(&None, &chunk("a", 1, "bGxsbA==")).unwrap();
    assert_eq!(last.percent(), 100.0);
    assert!(uploads.finish(&None, &id).is_ok());
    assert_eq!(uploads.finish(&None, &id).unwrap_err().code, Code::UploadSessionNotFound);
}

#[test]
fn an_upload_of_another_key_is_not_found() {
    let uploads = uploads(Limits::default());
    let (ours, theirs) = (Some("ours".into()), Some("theirs".into()));
    uploads.start(1, &ours, &start("a", 5, 1), Options::default()).unwrap();
    for other in [&theirs, &None] {
        assert_eq!(
            uploads.chunk(other, &chunk("a", 0, "aGVsbG8=")).unwrap_err().code,
            Code::UploadSessionNotFound
        );
        uploads.abandon(other, &Id::Text("a".into()));
    }
    // It neither replaces nor resumes the one of that name.
    let again = UploadStart { resume: Some(true), ..start("a", 7, 2) };
    assert_eq!(uploads.start(2, &theirs, &again, Options::default()), Ok(vec![]));
    assert!(uploads.chunk(&ours, &chunk("a", 0, "aGVsbG8=")).is_ok());
    assert!(uploads.finish(&ours, &Id::Text("a".into())).is_ok());
    assert!(uploads.finish(&theirs, &Id::Text("a".into())).is_err());
}

/// Uploads that outlive the process in this folder.
fn durable(dir: &std::path::Path, limits: Limits) -> Uploads {
    uploads(Limits { upload_dir: Some(dir.join("uploads")), spool_dir: dir.to_owned(), ..limits })
}

fn resume(uploads: &Uploads, id: &str, file_size: u64, total_chunks: u64) -> Vec<u64> {
    let start = UploadStart { resume: Some(true), ..start(id, file_size, total_chunks) };
    begin(uploads, 1, &start).unwrap()
}

#[test]
fn uploads_outlive_their_process_within_the_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let first = durable(dir.path(), Limits::default());
    for id in ["a", "b", "c", "d"] {
        begin(&first, 1, &start(id, 8, 3)).unwrap();
        first.chunk(&None, &chunk(id, 1, "bGxs")).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let other = durable(dir.path(), Limits::default());
    assert!(other.store.is_none(), "two processes have not the same folder");
    first.abandon(&None, &Id::Text("b".into()));
    drop(first);
    // There is room for two: the latest.
    let second = durable(dir.path(), Limits { uploads: 1, ..Limits::default() });
    assert_eq!(resume(&second, "c", 8, 3), [1]);
    assert_eq!(second.chunk(&None, &chunk("a", 0, "aGU=")).unwrap_err().code, Code::UploadSessionNotFound);
    drop(second);
    let third = durable(dir.path(), Limits::default());
    third.chunk(&None, &chunk("c", 2, "bG8=")).unwrap();
    third.chunk(&None, &chunk("c", 0, "aGVs")).unwrap();
    let whole = third.finish(&None, &Id::Text("c".into())).unwrap();
    let kept = whole.spool.kept();
    assert!(kept.is_some());
    let files = || std::fs::read_dir(dir.path().join("uploads")).unwrap().count();
    assert_eq!(files(), 5, "the lock, and the bytes and the journals of c and d");
    drop(whole);
    assert_eq!(files(), 5, "until it is answered");
    drop(kept);
    assert_eq!(files(), 3);
    // Its share of the disk is free again, all of it.
    third.abandon(&None, &Id::Text("d".into()));
    assert_eq!(files(), 1);
    assert!(third.disk.reserve(third.limits.spool_bytes).is_some());
}

#[test]
fn an_upload_that_is_too_old_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let first = durable(dir.path(), Limits::default());
    begin(&first, 1, &start("a", 8, 3)).unwrap();
    drop(first);
    let limits = Limits { upload_idle: Duration::ZERO, ..Limits::default() };
    assert_eq!(resume(&durable(dir.path(), limits), "a", 8, 3), [0_u64; 0]);
}

#[cfg(unix)]
#[test]
fn a_folder_that_others_can_get_at_is_not_used() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("uploads");
    std::fs::create_dir(&folder).unwrap();
    for (mode, is_used) in [(0o755, false), (0o777, false), (0o700, true)] {
        std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(durable(dir.path(), Limits::default()).store.is_some(), is_used, "{mode:o}");
    }
    std::fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), &folder).unwrap();
    let uploads = durable(dir.path(), Limits::default());
    assert!(uploads.store.is_none());
    // Without it, they are as long as the process.
    assert_eq!(begin(&uploads, 1, &start("a", 5, 1)), Ok(vec![]));
    uploads.chunk(&None, &chunk("a", 0, "aGVsbG8=")).unwrap();
    assert!(uploads.finish(&None, &Id::Text("a".into())).unwrap().spool.kept().is_none());
}

#[test]
fn options_that_are_too_long_to_be_written_down_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let uploads = durable(dir.path(), Limits::default());
    let options = Options { prompt: Some("x".repeat(1 << 20)), ..Options::default() };
    let failure = uploads.start(1, &None, &start("a", 8, 3), options).unwrap_err();
    assert_eq!(failure.code, Code::UploadStartError);
}
