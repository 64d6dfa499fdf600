//! Files that come in chunks. They belong to their id and their client's key, not to a connection: who lost one goes on
//! from another.
//!
//! Where there is a folder for it ([`Limits::upload_dir`]) they don't belong to the process either: `store` holds their
//! bytes and their `journal`, and a chunk is acknowledged when both are written.

mod journal;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use self::journal::Head;
use self::store::{Found, Record, Store};
use super::access::Owner;
use super::base64;
use super::budget::{Budget, Reservation};
use super::failure::Failure;
use super::limits::Limits;
use super::protocol::{Code, Id, Options, UploadChunk, UploadStart};
use super::spool::{Piece, Spool};

/// Enough for a gigabyte in chunks of 8 kB.
const MAX_CHUNKS: u64 = 1 << 17;

/// The endings of files that may hold audio. What is in them is seen when they are decoded.
const ENDINGS: &[&str] = &[
    "3g2", "3gp", "aac", "aif", "aifc", "aiff", "alac", "bwf", "caf", "flac", "m4a", "m4b", "m4r", "m4v",
    "mka", "mkv", "mov", "mp1", "mp2", "mp3", "mp4", "mpga", "oga", "ogg", "ogv", "opus", "wav", "wave",
    "weba", "webm",
];

#[derive(Debug)]
struct Upload {
    /// The connection that began it.
    connection: u64,
    file_size: u64,
    total_chunks: u64,
    options: Options,
    chunks: BTreeMap<u64, Piece>,
    received: u64,
    spool: Spool,
    /// What is written down of it.
    record: Option<Record>,
    reservation: Reservation,
    begun: Instant,
    touched: Instant,
}

/// An upload that is whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) spool: Spool,
    pub(super) options: Options,
    /// Its share of the disk, held until the file is gone. One that outlives the process holds it by itself.
    pub(super) reservation: Reservation,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Progress {
    pub(super) received: u64,
    pub(super) total: u64,
}

impl Progress {
    pub(super) fn percent(self) -> f64 {
        100.0 * self.received as f64 / self.total.max(1) as f64
    }
}

/// Uploads by whose they are and what they are called.
type Known = HashMap<(Owner, Id), Arc<Mutex<Upload>>>;

/// All uploads. The functions may wait for the disk.
#[derive(Debug)]
pub(super) struct Uploads {
    all: Mutex<Known>,
    limits: Limits,
    disk: Arc<Budget>,
    store: Option<Store>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in the middle of a chunk leaves at most bytes that no piece names.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_found(id: &Id) -> Failure {
    Failure::new(
        Code::UploadSessionNotFound,
        format!("There is no upload '{id}'; it may have been forgotten"),
    )
}

fn disk(error: &io::Error) -> Failure {
    tracing::error!("an upload can't be spooled: {error}");
    Failure::internal()
}

/// Whether a file's ending is that of audio or video. A name without one tells nothing, and passes.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let Some(ending) = Path::new(name).extension().and_then(|e| e.to_str()) else { return Ok(()) };
    if ENDINGS.contains(&ending.to_lowercase().as_str()) {
        return Ok(());
    }
    let ending: String = ending.chars().take(16).collect();
    Err(Failure::new(Code::UnsupportedFileType, format!("Unsupported file type: .{ending}")))
}

impl Uploads {
    /// None yet but those that a process before this one left; `disk` bounds their bytes, and perhaps those of others.
    pub(super) fn new(limits: &Limits, disk: Arc<Budget>) -> Self {
        let open = |dir: &Path| {
            let not_kept = |why: String| {
                tracing::warn!("{} can't be used: {why}; uploads won't outlive a restart", dir.display());
            };
            Store::open(dir).map_err(not_kept).ok()
        };
        let store = limits.upload_dir.as_deref().and_then(open);
        let found = store.as_ref().map(Store::load).unwrap_or_default();
        let uploads = Self { all: Mutex::default(), limits: limits.clone(), disk, store };
        found.into_iter().for_each(|found| uploads.take_over(found));
        uploads
    }

    /// Goes on with an upload of an earlier process, within the bounds: as many as may come in, and as many again that
    /// were whole and waited for their turn.
    fn take_over(&self, found: Found) {
        let Found { told, spool, record, age, idle } = found;
        let (id, now) = (told.head.id, Instant::now());
        let name = (told.head.owner.map(Arc::from), id.clone());
        let mut all = lock(&self.all);
        let is_wanted = age < self.limits.upload_total
            && idle < self.limits.upload_idle
            && told.head.file_size <= self.limits.upload_bytes
            && all.len() < self.limits.uploads.saturating_mul(2)
            && !all.contains_key(&name);
        let Some(reservation) = is_wanted.then(|| self.disk.reserve(told.head.file_size)).flatten() else {
            tracing::info!(upload = %id, chunks = told.pieces.len(), "an upload of an earlier run is forgotten");
            return;
        };
        tracing::info!(upload = %id, chunks = told.pieces.len(), "an upload of an earlier run can be gone on with");
        let upload = Upload {
            connection: 0,
            file_size: told.head.file_size,
            total_chunks: told.head.total_chunks,
            options: told.head.options,
            chunks: told.pieces,
            received: told.received,
            spool,
            record: Some(record),
            reservation,
            begun: now.checked_sub(age).unwrap_or(now),
            touched: now.checked_sub(idle).unwrap_or(now),
        };
        all.insert(name, Arc::new(Mutex::new(upload)));
    }

    /// Where the bytes of an upload will lie, and what is written down of it.
    fn files(
        &self,
        owner: &Owner,
        start: &UploadStart,
        options: &Options,
    ) -> Result<(Spool, Option<Record>), Failure> {
        let Some(store) = &self.store else { return Ok((Spool::new(self.limits.spool_dir.clone()), None)) };
        let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let head = Head {
            id: start.upload_id.clone(),
            owner: owner.as_deref().map(str::to_owned),
            file_size: start.file_size,
            total_chunks: start.total_chunks,
            options: options.clone(),
            begun: u64::try_from(begun.as_millis()).unwrap_or(u64::MAX),
            data: String::new(),
            boot: None,
        };
        let files = store.create(head).map_err(|error| disk(&error))?;
        let too_long = || Failure::new(Code::UploadStartError, "The options are too long");
        files.map(|(spool, record)| (spool, Some(record))).ok_or_else(too_long)
    }

    /// Begins an upload, in place of one of that name; with `resume`, goes on with it. Returns the chunks
    /// that are there already.
    pub(super) fn start(
        &self,
        connection: u64,
        owner: &Owner,
        start: &UploadStart,
        options: Options,
    ) -> Result<Vec<u64>, Failure> {
        let wrong = |message: String| Failure::new(Code::UploadStartError, message);
        check_name(&start.file_name)?;
        if start.file_size > self.limits.upload_bytes {
            let limit = self.limits.upload_bytes;
            return Err(Failure::new(Code::PayloadTooLarge, format!("Uploads are limited to {limit} bytes")));
        }
        if start.file_size == 0 || start.total_chunks == 0 || start.total_chunks > MAX_CHUNKS {
            return Err(wrong(format!("file_size must not be 0, total_chunks must be 1 to {MAX_CHUNKS}")));
        }
        let name = (owner.clone(), start.upload_id.clone());
        let mut all = lock(&self.all);
        if let Some(old) = all.get(&name)
            && start.resume == Some(true)
        {
            let mut old = lock(old);
            if (old.file_size, old.total_chunks) != (start.file_size, start.total_chunks) {
                return Err(wrong("file_size or total_chunks differ from the upload to resume".into()));
            }
            (old.connection, old.touched) = (connection, Instant::now());
            return Ok(old.chunks.keys().copied().collect());
        }
        all.remove(&name);
        let full = |what: &str| Failure::new(Code::Overloaded, format!("{what}; try again later"));
        if all.len() >= self.limits.uploads {
            return Err(full("Too many uploads at a time"));
        }
        let of_this = all.values().filter(|upload| lock(upload).connection == connection).count();
        if of_this >= self.limits.uploads_per_connection {
            return Err(full("Too many uploads at a time on this connection"));
        }
        let reservation =
            self.disk.reserve(start.file_size).ok_or_else(|| full("There is no room for this upload"))?;
        let (spool, record) = self.files(owner, start, &options)?;
        let now = Instant::now();
        let upload = Upload {
            connection,
            file_size: start.file_size,
            total_chunks: start.total_chunks,
            options,
            chunks: BTreeMap::new(),
            received: 0,
            spool,
            record,
            reservation,
            begun: now,
            touched: now,
        };
        all.insert(name, Arc::new(Mutex::new(upload)));
        Ok(Vec::new())
    }

    /// Adds a chunk, in whatever order they come.
    pub(super) fn chunk(&self, owner: &Owner, chunk: &UploadChunk) -> Result<Progress, Failure> {
        let wrong = |message: String| Failure::new(Code::UploadChunkError, message);
        let index = chunk.chunk_index;
        let upload = lock(&self.all).get(&(owner.clone(), chunk.upload_id.clone())).cloned();
        let upload = upload.ok_or_else(|| not_found(&chunk.upload_id))?;
        let bytes = base64::decode(&chunk.chunk_data)
            .map_err(|error| Failure::new(Code::ChunkDecodeError, format!("Chunk {index}: {error}")))?;
        let mut upload = lock(&upload);
        upload.touched = Instant::now();
        if index >= upload.total_chunks {
            let last = upload.total_chunks - 1;
            return Err(wrong(format!("chunk_index {index} is past the last one, {last}")));
        }
        if upload.chunks.contains_key(&index) {
            return Err(Failure::new(Code::ChunkAddError, format!("Chunk {index} came twice")));
        }
        let received = upload.received + bytes.len() as u64;
        if received > upload.file_size {
            return Err(wrong(format!(
                "Chunk {index}: more than the file_size of {} bytes",
                upload.file_size
            )));
        }
        let Upload { spool, record, .. } = &mut *upload;
        let piece = spool.append(&bytes).map_err(|error| disk(&error))?;
        if let Some(record) = record {
            record.add(spool, index, piece).map_err(|error| {
                spool.take_back(piece);
                disk(&error)
            })?;
        }
        upload.received = received;
        upload.chunks.insert(index, piece);
        Ok(Progress { received: upload.chunks.len() as u64, total: upload.total_chunks })
    }

    /// The model that an upload began with the wish for.
    pub(super) fn model(&self, owner: &Owner, id: &Id) -> Option<String> {
        let all = lock(&self.all);
        let upload = lock(all.get(&(owner.clone(), id.clone()))?);
        upload.options.model.clone()
    }

    /// The file, when all of it is there. One whose bytes are not as many as announced is given up.
    pub(super) fn finish(&self, owner: &Owner, id: &Id) -> Result<Whole, Failure> {
        let name = (owner.clone(), id.clone());
        let mut all = lock(&self.all);
        let upload = all.get(&name).ok_or_else(|| not_found(id))?;
        {
            let mut upload = lock(upload);
            upload.touched = Instant::now();
            let missing: Vec<u64> =
                (0..upload.total_chunks).filter(|i| !upload.chunks.contains_key(i)).collect();
            if !missing.is_empty() {
                return Err(incomplete(upload.total_chunks, &missing));
            }
        }
        let upload = all.remove(&name).and_then(Arc::into_inner).ok_or_else(|| {
            Failure::new(Code::UploadCompleteError, "A chunk of this upload is still being written")
        })?;
        drop(all);
        let mut upload = upload.into_inner().unwrap_or_else(PoisonError::into_inner);
        if upload.received != upload.file_size {
            return Err(Failure::new(
                Code::FileReassembleError,
                format!("The chunks are {} bytes, file_size was {}", upload.received, upload.file_size),
            ));
        }
        let pieces: Vec<Piece> = upload.chunks.into_values().collect();
        let spool = match (&self.store, upload.record) {
            (Some(store), Some(record)) => {
                let arranged = store.arranged(upload.spool, record, &pieces);
                let (spool, record) = arranged.map_err(|error| disk(&error))?;
                spool.with_journal(record.into_path(), upload.reservation.take())
            }
            _ => upload.spool.arranged(&pieces).map_err(|error| disk(&error))?,
        };
        Ok(Whole { spool, options: upload.options, reservation: upload.reservation })
    }

    /// How many are coming in.
    pub(super) fn count(&self) -> usize {
        lock(&self.all).len()
    }

    /// Gives an upload up.
    pub(super) fn abandon(&self, owner: &Owner, id: &Id) {
        lock(&self.all).remove(&(owner.clone(), id.clone()));
    }

    /// Forgets those that are too old at `now`.
    pub(super) fn sweep(&self, now: Instant) {
        lock(&self.all).retain(|(_, id), upload| {
            let upload = lock(upload);
            let keep = now.saturating_duration_since(upload.touched) < self.limits.upload_idle
                && now.saturating_duration_since(upload.begun) < self.limits.upload_total;
            if !keep {
                tracing::info!(upload = %id, chunks = upload.chunks.len(), "upload forgotten");
            }
            keep
        });
    }
}

impl Drop for Uploads {
    /// What is not whole yet can be gone on with after a restart.
    fn drop(&mut self) {
        let all = self.all.get_mut().unwrap_or_else(PoisonError::into_inner);
        for upload in all.values() {
            if let Upload { record: Some(record), spool, .. } = &mut *lock(upload) {
                record.leave(spool);
            }
        }
    }
}

fn incomplete(total: u64, missing: &[u64]) -> Failure {
    let named: Vec<String> = missing.iter().take(20).map(u64::to_string).collect();
    let more = if missing.len() > named.len() { ", …" } else { "" };
    let count = missing.len();
    Failure::new(
        Code::UploadIncomplete,
        format!("{count} of {total} chunks are missing: {}{more}", named.join(", ")),
    )
}
