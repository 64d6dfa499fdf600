//! The reassembly of uploads beside a simple picture of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::access::Owner;
use super::budget::Budget;
use super::limits::Limits;
use super::protocol::{Code, Id, Options, UploadChunk, UploadStart};
use super::spool::Piece;
use super::upload::Uploads;

/// All uploads together: not as much as they may have each.
const DISK: u64 = 500;

/// What there should be of an upload.
struct Picture {
    size: u64,
    total: u64,
    chunks: BTreeMap<u64, Vec<u8>>,
}

/// Whose the upload is and what it is called: two by each name, who must not get at each other's.
fn called(name: u8) -> (Owner, Id) {
    let owner = (name & 1 == 1).then(|| Arc::from("fatma"));
    (owner, Id::Text((name >> 1).to_string()))
}

/// A step is a byte for what is done and to which of four uploads, and bytes of its own.
pub fn steps(mut bytes: &[u8]) {
    let limits = Limits {
        uploads: 3,
        uploads_per_connection: 2,
        upload_bytes: 200,
        spool_bytes: DISK,
        spool_dir: std::env::temp_dir(),
        ..Limits::default()
    };
    let disk = Budget::new(DISK);
    let uploads = Uploads::new(&limits, Arc::clone(&disk));
    let mut pictures: BTreeMap<u8, Picture> = BTreeMap::new();
    let mut next = move |count: usize| {
        let (head, tail) = bytes.split_at(count.min(bytes.len()));
        bytes = tail;
        (head.len() == count).then_some(head)
    };
    while let Some([step]) = next(1) {
        let name = (step >> 3) & 3;
        let (owner, id) = called(name);
        match step & 7 {
            0 | 1 => {
                let Some([size, total]) = next(2) else { break };
                let (size, total) = (u64::from(*size), u64::from(*total));
                let resume = (step & 7 == 1).then_some(true);
                let start = UploadStart {
                    upload_id: id,
                    file_name: "a.wav".into(),
                    file_size: size,
                    total_chunks: total,
                    resume,
                };
                let connection = u64::from(step >> 5);
                match uploads.start(connection, &owner, &start, Options::default()) {
                    Ok(known) => {
                        let fresh = Picture { size, total, chunks: BTreeMap::new() };
                        let picture = match pictures.remove(&name) {
                            Some(old) if resume.is_some() => old,
                            _ => fresh,
                        };
                        assert!((picture.size, picture.total) == (size, total));
                        assert!(picture.chunks.keys().eq(known.iter()));
                        pictures.insert(name, picture);
                    }
                    // An upload is given up for one of its name, though there is no room for that one.
                    Err(failure) if failure.code == Code::Overloaded && resume.is_none() => {
                        pictures.remove(&name);
                    }
                    Err(_) => {}
                }
            }
            2..=4 => {
                let Some([index, len]) = next(2) else { break };
                let Some(data) = next(usize::from(len & 63)) else { break };
                let index = u64::from(*index);
                let chunk_data = ::base64::Engine::encode(&::base64::engine::general_purpose::STANDARD, data);
                let result =
                    uploads.chunk(&owner, &UploadChunk { upload_id: id, chunk_index: index, chunk_data });
                let Some(picture) = pictures.get_mut(&name) else {
                    assert!(result.is_err());
                    continue;
                };
                let received: usize = picture.chunks.values().map(Vec::len).sum();
                let fits = index < picture.total
                    && !picture.chunks.contains_key(&index)
                    && (received + data.len()) as u64 <= picture.size;
                assert_eq!(result.is_ok(), fits);
                if fits {
                    picture.chunks.insert(index, data.to_vec());
                }
            }
            5 | 6 => match uploads.finish(&owner, &id) {
                Ok(whole) => {
                    let picture = pictures.remove(&name).expect("it was there");
                    let wanted: Vec<u8> = picture.chunks.into_values().flatten().collect();
                    let (mut spool, mut found) = (whole.spool, Vec::new());
                    spool.read(Piece { start: 0, len: picture.size }, &mut found).expect("it is in memory");
                    assert_eq!(found, wanted);
                }
                Err(failure) if failure.code == Code::FileReassembleError => drop(pictures.remove(&name)),
                Err(failure) if failure.code == Code::UploadIncomplete => {
                    assert!((pictures[&name].chunks.len() as u64) < pictures[&name].total);
                }
                Err(_) => assert!(!pictures.contains_key(&name)),
            },
            _ => {
                uploads.abandon(&owner, &id);
                pictures.remove(&name);
            }
        }
    }
    let held: u64 = pictures.values().map(|picture| picture.size).sum();
    assert!(disk.reserve(DISK - held).is_some(), "what is not there takes no room");
    assert!(held == 0 || disk.reserve(DISK - held + 1).is_none());
    for name in pictures.into_keys() {
        let (owner, id) = called(name);
        uploads.abandon(&owner, &id);
    }
    assert!(disk.reserve(DISK).is_some());
}
