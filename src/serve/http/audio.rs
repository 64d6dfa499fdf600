//! A form in, a transcript out.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::super::access::Client;
use super::super::failure::Failure;
use super::super::job::{self, Front, Source, Work};
use super::super::protocol::Code;
use super::super::request;
use super::super::socket::Connection;
use super::super::{Shared, Stage};
use super::params::{Api, Params, params};
use super::refusal::Refusal;
use super::{answer, events, form, inference};

/// `POST /v1/audio/transcriptions`, `/v1/audio/translations` and `/inference`: which of them says the route.
pub(super) async fn transcript(
    Extension(api): Extension<Api>,
    State(shared): State<Arc<Shared>>,
    Extension(connection): Extension<Arc<Connection>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let front = if api == Api::Inference { Front::Inference } else { Front::Api };
    let (params, work) = match work(api, &shared, &connection, &client, &headers, body).await {
        Ok(asked) => asked,
        Err(Unasked::Refused(failure)) => {
            job::refused(&shared, front, &failure);
            return Err(failure.into());
        }
        Err(Unasked::Wrong(refusal)) => return Err(refusal),
    };
    if params.stream {
        return events::answer(shared, work, front).await;
    }
    let temperature = work.request.search.temperature;
    let task = work.request.task.unwrap_or_default();
    let outcome = job::run(&shared, work, front, |_| {}).await?;
    let heard = answer::Heard { outcome: &outcome, temperature, task };
    Ok(match api {
        Api::Inference => inference::answer(&params, &heard),
        Api::Transcriptions | Api::Translations => answer::answer(&params, &heard),
    })
}

/// Why there is no job.
enum Unasked {
    /// It might have been one.
    Refused(Failure),
    /// What was asked for is none.
    Wrong(Refusal),
}

impl From<Failure> for Unasked {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<Refusal> for Unasked {
    fn from(refusal: Refusal) -> Self {
        Self::Wrong(refusal)
    }
}

/// What there is to do. Who would be refused anyway is told so before the file has come.
async fn work(
    api: Api,
    shared: &Arc<Shared>,
    connection: &Connection,
    client: &Client,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Params, Work), Unasked> {
    let boundary = form::boundary(headers, &shared.limits)?;
    if shared.stage() != Stage::Running {
        return Err(Failure::shutting_down().into());
    }
    shared.queue.check()?;
    shared.engine.check_any().map_err(|error| job::refusal(shared, Code::TranscriptionError, &error))?;
    let form = form::read(shared, connection, boundary, body).await?;
    let params = params(&form.fields, api, shared.defaults.timestamps)?;
    let (spool, held) =
        form.file.ok_or_else(|| Refusal::of_field("file", "file: there is none in the form"))?;
    let request = request::request(&params.options, &shared.defaults).map_err(of_field)?;
    let subtitles = request::subtitles(&params.options).map_err(of_field)?;
    let model = params.options.model.as_deref();
    let admission = job::admit(shared, client, model).map_err(|failure| match failure.code {
        // Of all that keeps a request out, the name of its model alone is wrong with it.
        Code::MessageProcessingError => Unasked::Wrong(Refusal::no_such_model(failure.message)),
        _ => Unasked::Refused(failure),
    })?;
    Ok((params, Work { source: Source::Upload(spool), request, subtitles, admission, held }))
}

/// A wrong option: its message begins with its name.
fn of_field(failure: Failure) -> Refusal {
    let name = failure.message.split_once(':').and_then(|(name, _)| super::params::known(name));
    Refusal::bad_request(failure.message).about(name)
}
