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
    uploads.start(owner, start, Options::default()).map_err(|failure| failure.code)
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
    uploads.abandon(&Id::Text("a".into()));
    assert_eq!(begin(&uploads, 3, &start("d", 100, 1)), Ok(vec![]), "what is given up makes room");
}

#[test]
fn uploads_are_forgotten_when_idle_and_when_old() {
    let uploads = uploads(Limits::default());
    let id = Id::Text("a".into());
    begin(&uploads, 1, &start("a", 8, 2)).unwrap();
    let now = Instant::now();
    uploads.sweep(now + Duration::from_secs(590));
    assert_eq!(uploads.finish(&id).unwrap_err().code, Code::UploadIncomplete);
    uploads.sweep(now + Duration::from_secs(610));
    assert_eq!(uploads.finish(&id).unwrap_err().code, Code::UploadSessionNotFound);

    let patient = Limits { upload_idle: Duration::from_secs(9999), ..Limits::default() };
    let uploads = self::uploads(patient);
    begin(&uploads, 1, &start("a", 8, 2)).unwrap();
    uploads.sweep(now + Duration::from_secs(3500));
    assert!(uploads.chunk(&chunk("a", 1, "aGVsbG8=")).is_ok());
    uploads.sweep(now + Duration::from_secs(3700));
    assert_eq!(uploads.chunk(&chunk("a", 0, "aGVs")).unwrap_err().code, Code::UploadSessionNotFound);
}

#[test]
fn missing_chunks_are_named_and_may_still_come() {
    let uploads = uploads(Limits::default());
    let id = Id::Text("a".into());
    begin(&uploads, 1, &start("a", 8, 3)).unwrap();
    uploads.chunk(&chunk("a", 2, "bG8=")).unwrap();
    let failure = uploads.finish(&id).unwrap_err();
    assert_eq!(failure.code, Code::UploadIncomplete);
    assert!(failure.message.contains("0, 1"), "{}", failure.message);
    uploads.chunk(&chunk("a", 0, "aGU=")).unwrap();
    let last = uploads.chunk(&chunk("a", 1, "bGxsbA==")).unwrap();
    assert_eq!(last.percent(), 100.0);
    assert!(uploads.finish(&id).is_ok());
    assert_eq!(uploads.finish(&id).unwrap_err().code, Code::UploadSessionNotFound);
}
