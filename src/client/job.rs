//! One file on its way: in one message when it is small, else in chunks that can go on where they were.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connection::Connection;
use super::message::{Answer, Incoming, Options, Outgoing};
use super::{Error, Stage};

/// Larger files go in chunks.
pub(super) const WHOLE: u64 = 8 << 20;
/// Bytes of a chunk, before base64.
pub(super) const CHUNK: u64 = 1 << 20;

/// A file to be sent, and how much of it the server has.
pub(super) struct Job {
    path: PathBuf,
    file: File,
    size: u64,
    /// The path's last part, which is all that the server gets to know of it.
    name: String,
    /// The `audio_id` or `upload_id`: nobody can guess it, and it stays when the connection does not.
    id: String,
    started: bool,
    /// The chunks that the server has, as it says.
    received: BTreeSet<u64>,
    sent: u64,
}

impl Job {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_path_buf(), source };
        let metadata = path.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(std::io::Error::other("it is not a regular file")));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file: File::open(path).map_err(failed)?,
            size: metadata.len(),
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            id: uuid::Uuid::new_v4().to_string(),
            started: false,
            received: BTreeSet::new(),
            sent: 0,
        })
    }

    /// Chunks that got through, over all connections.
    pub(super) fn chunks_sent(&self) -> u64 {
        self.sent
    }

    /// Sends the file, or what is missing of it, and waits for the transcript.
    pub(super) async fn run(
        &mut self,
        connection: &mut Connection,
        options: &Options,
        progress: &mut impl FnMut(Stage),
    ) -> Result<Answer, Error> {
        progress(Stage::Sent(0, self.size));
        if self.size <= WHOLE {
            self.send_whole(connection, options).await?;
        } else {
            self.upload(connection, options, progress).await?;
        }
        progress(Stage::Sent(self.size, self.size));
        loop {
            match connection.receive().await? {
                Incoming::State { state, data } => {
                    progress(Stage::State(state, data.unwrap_or_default().progress));
                }
                Incoming::Transcription { audio_id, answer } if audio_id == self.id => return Ok(answer),
                other => self.refused(other)?,
            }
        }
    }

    async fn send_whole(&mut self, connection: &mut Connection, options: &Options) -> Result<(), Error> {
        let bytes = self.read(0, self.size)?;
        let message = Outgoing::Audio {
            audio_id: &self.id,
            file_name: &self.name,
            format: "base64",
            audio_data: STANDARD.encode(bytes),
            options,
        };
        connection.send(&message).await
    }

    async fn upload(
        &mut self,
        connection: &mut Connection,
        options: &Options,
        progress: &mut impl FnMut(Stage),
    ) -> Result<(), Error> {
        let total = self.size.div_ceil(CHUNK);
        let start = Outgoing::UploadStart {
            upload_id: &self.id,
            file_name: &self.name,
            file_size: self.size,
            total_chunks: total,
            chunk_size: CHUNK,
            resume: self.started,
            options,
        };
        connection.send(&start).await?;
        self.started = true;
        // A server that can't go on, or has forgotten, names no chunks.
        self.received = self.acknowledged(connection).await?.into_iter().flatten().collect();
        for index in 0..total {
            if !self.received.contains(&index) {
                self.send_chunk(connection, index, total).await?;
            }
            progress(Stage::Sent(((index + 1) * CHUNK).min(self.size), self.size));
        }
        connection.send(&Outgoing::UploadComplete { upload_id: &self.id, file_name: &self.name }).await
    }

    /// Sends a chunk and waits until the server has it, so that a slow server is not flooded.
    async fn send_chunk(&mut self, connection: &mut Connection, index: u64, total: u64) -> Result<(), Error> {
        let start = index * CHUNK;
        let bytes = self.read(start, CHUNK.min(self.size - start))?;
        let message = Outgoing::UploadChunk {
            upload_id: &self.id,
            chunk_index: index,
            chunk_data: STANDARD.encode(bytes),
            is_final_chunk: index + 1 == total,
        };
        connection.send(&message).await?;
        self.acknowledged(connection).await?;
        self.sent += 1;
        self.received.insert(index);
        Ok(())
    }

    /// Waits for the answer to a start or a chunk.
    async fn acknowledged(&self, connection: &mut Connection) -> Result<Option<Vec<u64>>, Error> {
        loop {
            match connection.receive().await? {
                Incoming::UploadProgress { upload_id, received_chunks } if upload_id == self.id => {
                    return Ok(received_chunks);
                }
                other => self.refused(other)?,
            }
        }
    }

    /// An error that is about this file, or about nothing else, is its end.
    fn refused(&self, message: Incoming) -> Result<(), Error> {
        match message {
            Incoming::Error { code, message, audio_id, upload_id }
                if [&audio_id, &upload_id].into_iter().flatten().all(|id| *id == self.id) =>
            {
                Err(Error::Refused { code, message })
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, start: u64, length: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| {
            let read = (&mut self.file).take(length).read_to_end(&mut bytes)?;
            // The sizes of the upload were told in advance.
            if read as u64 == length { Ok(()) } else { Err(std::io::Error::other("it has become shorter")) }
        });
        read.map_err(|source| Error::File { path: self.path.clone(), source })?;
        Ok(bytes)
    }
}
