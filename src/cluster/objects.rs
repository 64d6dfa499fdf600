//! What is too large for a message at the broker: a bucket of NATS' object store.

use std::time::{Duration, Instant};

use async_nats::jetstream::Context;
use async_nats::jetstream::object_store::{
    Config, DeleteErrorKind, InfoErrorKind, ObjectMetadata, ObjectStore,
};
use async_nats::jetstream::stream::{StorageType, Stream};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use sha2::{Digest as _, Sha256};

use super::broker::{PATIENCE, PAUSE};
use crate::error::{Error, Result};

/// Objects are cut into pieces of this size, or of half of what a message may have.
const PIECE: usize = 512 << 10;
/// The largest object that is read: 30 s of floats take 1.92 MB, a vocabulary 0.5 MB.
const MOST_BYTES: usize = 64 << 20;
/// How long one try to read an object may take.
const READ: Duration = Duration::from_secs(10);
/// The servers of a cluster all know of an object so long after it was stored.
const SPREAD: Duration = Duration::from_secs(2);

/// Objects by name.
#[derive(Clone)]
pub(super) struct Bucket {
    store: ObjectStore,
    /// Where its objects lie, in pieces.
    stream: Stream<()>,
    /// The size of these.
    piece: usize,
}

fn not_given(error: impl std::error::Error) -> Error {
    Error::Overloaded(format!("the broker does not give an object: {error}"))
}

impl Bucket {
    /// Makes it where it is not there. Objects live for `max_age`; zero is for ever.
    ///
    /// # Errors
    /// When the broker has no JetStream, or none that is ready.
    pub(super) async fn open(
        context: &Context,
        bucket: String,
        max_age: Duration,
        num_replicas: usize,
    ) -> anyhow::Result<Self> {
        let name = format!("OBJ_{bucket}");
        let store = match context.get_object_store(&bucket).await {
            Ok(there) => there,
            Err(_) => {
                let storage = StorageType::File;
                let config = Config { bucket, max_age, num_replicas, storage, ..Default::default() };
                context.create_object_store(config).await?
            }
        };
        let piece = PIECE.min(context.client().max_payload() / 2);
        Ok(Self { store, stream: context.get_stream_no_info(name).await?, piece })
    }

    /// Whether there is an object of this name.
    pub(super) async fn has(&self, name: &str) -> bool {
        self.store.info(name).await.is_ok_and(|object| !object.deleted)
    }

    /// Stores an object: tries again for half a minute. Pieces that a broken try has stored go when their time is over.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the broker does not take it.
    pub(super) async fn put(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let store = async {
            loop {
                let about =
                    ObjectMetadata { name: name.into(), chunk_size: Some(self.piece), ..Default::default() };
                match self.store.put(about, &mut &*bytes).await {
                    Ok(_) => return,
                    Err(error) => tracing::debug!("the broker has not stored an object yet: {error}"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, store)
            .await
            .map_err(|_| Error::Overloaded("the broker stores nothing at the moment".into()))
    }

    /// Reads an object: tries again for half a minute, for less where there is none.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it can't be had now, [`Error::InvalidInput`] when it is not there.
    pub(super) async fn get(&self, name: &str) -> Result<Vec<u8>> {
        let begin = Instant::now();
        loop {
            let read = tokio::time::timeout(READ, self.read(name)).await;
            let error = match read {
                Ok(Ok(bytes)) => return Ok(bytes),
                Ok(Err(error)) => error,
                Err(_) => Error::Overloaded("the broker does not give an object".into()),
            };
            let patience = if matches!(error, Error::InvalidInput(_)) { SPREAD } else { PATIENCE };
            if begin.elapsed() > patience {
                return Err(error);
            }
            tracing::debug!("{error}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Piece by piece: the client's own reader has a consumer made for it, and panics where there is none in time
    /// (<https://github.com/nats-io/nats.rs/issues/1615>).
    async fn read(&self, name: &str) -> Result<Vec<u8>> {
        let gone = || Error::InvalidInput(format!("the broker has no {name} any more"));
        let object = match self.store.info(name).await {
            Ok(object) if object.deleted => return Err(gone()),
            Ok(object) => object,
            Err(error) if error.kind() == InfoErrorKind::NotFound => return Err(gone()),
            Err(error) => return Err(not_given(error)),
        };
        if object.size > MOST_BYTES {
            return Err(Error::InvalidInput(format!("{name} at the broker is too large")));
        }
        let subject = format!("$O.{}.C.{}", object.bucket, object.nuid);
        let (mut bytes, mut next) = (Vec::with_capacity(object.size), 1);
        while bytes.len() < object.size {
            let piece = self.stream.raw_message_builder().sequence(next).next_by_subject(subject.clone());
            let piece = piece.send().await.map_err(not_given)?;
            if piece.payload.is_empty() || bytes.len() + piece.payload.len() > object.size {
                return Err(Error::InvalidInput(format!(
                    "{name} at the broker has not the size that it says"
                )));
            }
            bytes.extend_from_slice(&piece.payload);
            next = piece.sequence + 1;
        }
        let digest = format!("SHA-256={}", URL_SAFE.encode(Sha256::digest(&bytes)));
        if object.digest.is_some_and(|said| said != digest) {
            return Err(Error::InvalidInput(format!("{name} at the broker is not what was stored")));
        }
        Ok(bytes)
    }

    /// Deletes an object, in the background: tries again for half a minute. After that it goes when its time is over.
    pub(super) fn delete(&self, name: String) {
        let store = self.store.clone();
        tokio::spawn(async move {
            let delete = async {
                while let Err(error) = store.delete(&name).await {
                    tracing::debug!("the broker has not deleted an object yet: {error}");
                    if error.kind() == DeleteErrorKind::NotFound {
                        return;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            if tokio::time::timeout(PATIENCE, delete).await.is_err() {
                tracing::warn!("audio could not be deleted at the broker; it goes when its time is over");
            }
        });
    }
}
