//! A form (`multipart/form-data`) as it comes in: its fields, and the one file, which goes to the spool.
//!
//! multer keeps what it can't take apart yet, however much that is; so what goes to it is counted here.

use std::error::Error as StdError;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::{Stream, StreamExt};
use multer::{Field, Multipart};

use super::super::budget::Reservation;
use super::super::failure::Failure;
use super::super::job::blocking;
use super::super::protocol::Code;
use super::super::socket::Connection;
use super::super::spool::Spool;
use super::super::{Shared, limits::Limits};
use super::params;
use super::refusal::Refusal;

/// Fields of a form, the file among them.
const MAX_FIELDS: u64 = 64;
/// Bytes of a field that is no file.
const MAX_FIELD_BYTES: u64 = 64 << 10;
/// Bytes without a field or a part of one among them.
const MAX_UNPARSED: u64 = 1 << 20;
/// Bytes that are written to the spool at a time.
const BLOCK: usize = 256 << 10;

/// What a form held.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// The known fields with their values, in the order in which they came.
    pub(super) fields: Vec<(String, String)>,
    /// The file, and its share of the disk.
    pub(super) file: Option<(Spool, Reservation)>,
}

/// The boundary between the fields, as the head of the request has it. Refused is what is no form, and what says that it
/// is too large.
pub(super) fn boundary(headers: &HeaderMap, limits: &Limits) -> Result<String, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(kind).map_err(|error| match error {
        multer::Error::NoBoundary => Refusal::bad_request("Content-Type: there is no boundary"),
        _ => Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "the body must be multipart/form-data",
        ),
    })?;
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > most(limits)) {
        return Err(too_large(limits));
    }
    Ok(boundary)
}

/// The most that a body may be: the file, and all that may be around it.
fn most(limits: &Limits) -> u64 {
    limits.upload_bytes.saturating_add(MAX_UNPARSED + MAX_FIELDS * MAX_FIELD_BYTES)
}

/// Reads a form to its end.
pub(super) async fn read(
    shared: &Shared,
    connection: &Connection,
    boundary: String,
    body: Body,
) -> Result<Form, Refusal> {
    let mut source = Source {
        body: body.into_data_stream(),
        connection,
        left: most(&shared.limits),
        unparsed: Arc::default(),
        ended: false,
        refusal: None,
    };
    let mut form = Form::default();
    let result = parse(shared, &mut source, boundary, &mut form).await;
    // What the source has to say is only a broken form to multer.
    match (result, source.refusal.take()) {
        (Err(_), Some(refusal)) | (Err(refusal), None) => return Err(refusal),
        (Ok(()), _) => {}
    }
    // The body may go on behind the last field; a connection that is kept must be read to there.
    while let Some(Ok(_)) = source.next().await {}
    Ok(form)
}

async fn parse(
    shared: &Shared,
    source: &mut Source<'_>,
    boundary: String,
    form: &mut Form,
) -> Result<(), Refusal> {
    let unparsed = Arc::clone(&source.unparsed);
    let mut multipart = Multipart::new(source, boundary);
    let mut count = 0;
    while let Some(mut field) = multipart.next_field().await.map_err(|error| broken(&error))? {
        unparsed.store(0, Ordering::Relaxed);
        count += 1;
        if count > MAX_FIELDS {
            return Err(Refusal::bad_request(format!("there are more than {MAX_FIELDS} fields")));
        }
        if field.name() == Some("file") {
            if form.file.is_some() {
                return Err(Refusal::of_field("file", "there is more than one file"));
            }
            form.file = Some(file(shared, &mut field, &unparsed).await?);
            continue;
        }
        let known = params::known(field.name().unwrap_or_default());
        let bytes = bounded(&mut field, &unparsed, known).await?;
        if let Some(name) = known {
            let text = String::from_utf8(bytes)
                .map_err(|_| Refusal::of_field(name, format!("{name}: this is no UTF-8")))?;
            form.fields.push((name.to_owned(), text));
        }
    }
    Ok(())
}

/// The bytes of a field that is no file.
async fn bounded(
    field: &mut Field<'_>,
    unparsed: &AtomicU64,
    name: Option<&'static str>,
) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    while let Some(chunk) = next(field, unparsed).await? {
        if (bytes.len() + chunk.len()) as u64 > MAX_FIELD_BYTES {
            let message = format!("a field is longer than {MAX_FIELD_BYTES} bytes");
            return Err(Refusal::bad_request(message).about(name));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// The file, as it comes.
async fn file(
    shared: &Shared,
    field: &mut Field<'_>,
    unparsed: &AtomicU64,
) -> Result<(Spool, Reservation), Refusal> {
    let limits = &shared.limits;
    let mut held = shared.disk.reserve(0).ok_or_else(no_room)?;
    let mut spool = Spool::new(limits.spool_dir.clone());
    let (mut block, mut length) = (Vec::new(), 0_u64);
    while let Some(chunk) = next(field, unparsed).await? {
        length += chunk.len() as u64;
        if length > limits.upload_bytes {
            return Err(too_large(limits));
        }
        if !held.grow_to(length) {
            return Err(no_room());
        }
        block.extend_from_slice(&chunk);
        if block.len() >= BLOCK {
            spool = append(spool, std::mem::take(&mut block)).await?;
        }
    }
    Ok((append(spool, block).await?, held))
}

async fn append(mut spool: Spool, block: Vec<u8>) -> Result<Spool, Refusal> {
    let written = blocking(move || spool.append(&block).map(|_| spool)).await;
    match written {
        Ok(Ok(spool)) => Ok(spool),
        Ok(Err(error)) => {
            tracing::error!("an upload can't be spooled: {error}");
            Err(Failure::internal().into())
        }
        Err(error) => Err(Failure::at(Code::InternalError, &error).into()),
    }
}

async fn next(field: &mut Field<'_>, unparsed: &AtomicU64) -> Result<Option<Bytes>, Refusal> {
    let chunk = field.chunk().await.map_err(|error| broken(&error))?;
    unparsed.store(0, Ordering::Relaxed);
    Ok(chunk)
}

fn broken(error: &multer::Error) -> Refusal {
    Refusal::bad_request(format!("the form is broken: {error}"))
}

fn too_large(limits: &Limits) -> Refusal {
    let message = format!("files are limited to {} bytes", limits.upload_bytes);
    Failure::new(Code::PayloadTooLarge, message).into()
}

fn no_room() -> Refusal {
    Failure::new(Code::Overloaded, "there is no room for this file; try again later").into()
}

/// A body on its way to multer.
struct Source<'c> {
    body: BodyDataStream,
    connection: &'c Connection,
    /// Bytes that may still come.
    left: u64,
    /// Bytes that came since multer found something.
    unparsed: Arc<AtomicU64>,
    /// Nothing comes any more.
    ended: bool,
    /// Why that is, where it came too early.
    refusal: Option<Refusal>,
}

impl Source<'_> {
    /// Counts what has come.
    fn take(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes = bytes as u64;
        // It goes to the spool, which has a bound of its own.
        drop(self.connection.message_is_whole());
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or_else(|| Failure::new(Code::PayloadTooLarge, "the form is too large"))?;
        if self.unparsed.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_UNPARSED {
            return Err(Refusal::bad_request("the form is broken: there is no field where one should be"));
        }
        Ok(())
    }
}

impl Stream for Source<'_> {
    /// An error is in `refusal`, too.
    type Item = Result<Bytes, &'static str>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let refusal = match ready!(this.body.poll_next_unpin(cx)) {
            None => {
                this.ended = true;
                return Poll::Ready(None);
            }
            Some(Ok(bytes)) => match this.take(bytes.len()) {
                Ok(()) => return Poll::Ready(Some(Ok(bytes))),
                Err(refusal) => refusal,
            },
            Some(Err(error)) => unread(&error),
        };
        (this.ended, this.refusal) = (true, Some(refusal));
        Poll::Ready(Some(Err("see the source")))
    }
}

/// A body that did not come to its end: too slow, or the client is gone.
fn unread(error: &axum::Error) -> Refusal {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = source {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the body came too slowly");
        }
        source = error.source();
    }
    Refusal::bad_request("the body ended too early")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use axum::http::HeaderValue;

    use super::*;

    fn head(values: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        values.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_a_form_is_read() {
        let limits = Limits { upload_bytes: 1000, ..Limits::default() };
        let code = |values: &[(header::HeaderName, &'static str)]| {
            boundary(&head(values), &limits)
                .map_err(|refusal| refusal.written(super::super::refusal::Shape::OpenAi).status().as_u16())
        };
        let form = (header::CONTENT_TYPE, "multipart/form-data; boundary=x");
        assert_eq!(code(std::slice::from_ref(&form)), Ok("x".to_owned()));
        assert_eq!(code(&[(header::CONTENT_TYPE, "multipart/form-data")]), Err(400));
        for other in ["application/json", "multipart/mixed; boundary=x", "audio/wav", "x", ""] {
            assert_eq!(code(&[(header::CONTENT_TYPE, other)]), Err(415), "{other}");
        }
        assert_eq!(code(&[]), Err(415));
        assert_eq!(code(&[form.clone(), (header::CONTENT_LENGTH, "1000")]), Ok("x".to_owned()));
        assert_eq!(code(&[form, (header::CONTENT_LENGTH, "100000000")]), Err(413));
    }

    #[test]
    fn a_body_that_is_too_slow_is_told_apart_from_one_that_broke() {
        let refused = |error: io::Error| unread(&axum::Error::new(error)).message().to_owned();
        assert_eq!(refused(io::ErrorKind::TimedOut.into()), "the body came too slowly");
        assert_eq!(refused(io::ErrorKind::ConnectionReset.into()), "the body ended too early");
    }
}
