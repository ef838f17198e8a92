//! Recordings: which there are, their sound, and their end. Whoever asks says why, and that is kept (GDPR-2).

use axum::{
    Json,
    body::{Body, Bytes},
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use offhook_store::{Access, Recording as Stored, RecordingError, RecordingId};
use offhook_switch::tape::TAPE_RATE;
use serde::{Deserialize, Serialize};
use tokio::{sync::mpsc, task};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api, Problem,
    auth::Bearer,
    clock,
    extract::{Params, Segments},
    page::{Page, PageParams, page_by},
};

/// Parts of a recording that wait for a slow reader: some seconds of sound.
const PARTS_WAITING_MAX: usize = 4;

/// A recording.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Recording {
    /// Its id.
    id: String,
    /// Of whose room.
    tenant: String,
    /// The number of the room.
    room: String,
    /// When it began.
    started: String,
    /// How much sound there is.
    seconds: f64,
    /// It has come to its end. Otherwise it is still being made, or broke off.
    complete: bool,
    /// Who agreed to be recorded.
    consents: Vec<Consent>,
}

/// That somebody has agreed to be recorded.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Consent {
    /// In which call; its record says who it was.
    call: String,
    /// When.
    at: String,
}

impl From<Stored> for Recording {
    fn from(stored: Stored) -> Self {
        let consents = stored.consents.iter();
        let consents =
            consents.map(|consent| Consent { call: consent.call.to_string(), at: consent.at.to_string() });
        Self {
            id: stored.id.to_string(),
            consents: consents.collect(),
            tenant: stored.tenant,
            room: stored.room,
            started: stored.started.to_string(),
            seconds: stored.samples as f64 / f64::from(TAPE_RATE),
            complete: stored.is_complete,
        }
    }
}

/// Which recordings, and why.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParams {
    /// Recordings of the page; 1 to 1000, default 100.
    limit: Option<usize>,
    /// Continue behind this one: `next` of the page before.
    after: Option<String>,
    /// Why they are looked at; it goes into the access log.
    reason: String,
}

/// Why a recording is heard or deleted.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReasonParams {
    /// It goes into the access log.
    reason: String,
}

/// Lists recordings, the oldest first. The access is logged.
#[utoipa::path(
    get,
    path = "/recordings",
    tag = "records",
    params(ListParams),
    responses(
        (status = 200, description = "A page", body = Page<Recording>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_recordings(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<Recording>>, Problem> {
    let access = access(&by, &params.reason)?;
    let recordings = api.store().recordings()?;
    let all = on_disk(move || recordings.list()).await?;
    let all = all.into_iter().map(Recording::from).collect();
    let page = PageParams { limit: params.limit, after: params.after };
    let page = page_by(all, &page, |recording| recording.id.clone())?;
    api.store().log_access(&access, "recordings.list", "", page.items.len()).await?;
    Ok(Json(page))
}

/// The sound of a recording, as a WAV file. The access is logged.
#[utoipa::path(
    get,
    path = "/recordings/{recording}",
    tag = "records",
    params(("recording" = String, Path, description = "The recording's id"), ReasonParams),
    responses(
        (status = 200, description = "The sound", body = Vec<u8>, content_type = "audio/wav"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn read_recording(
    State(api): State<Api>,
    by: Bearer,
    Segments(recording): Segments<String>,
    Params(params): Params<ReasonParams>,
) -> Result<Response, Problem> {
    let (id, access) = (recording_id(&recording)?, access(&by, &params.reason)?);
    let recordings = api.store().recordings()?;
    let there = recordings.clone();
    // Whether it can be read shows before anything is answered.
    on_disk(move || there.about(id)).await?;
    api.store().log_access(&access, "recordings.read", &id.to_string(), 1).await?;
    let (sender, receiver) = mpsc::channel::<Result<Bytes, RecordingError>>(PARTS_WAITING_MAX);
    task::spawn_blocking(move || {
        let sent = recordings.export(id, |part| sender.blocking_send(Ok(part.into())).is_ok());
        if let Err(error) = sent {
            tracing::error!(%error, hint = error.hint(), "a recording broke off while it was read");
            // The reader sees that the body is not whole.
            let _ = sender.blocking_send(Err(error));
        }
    });
    let parts =
        stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|part| (part, receiver)));
    Ok(([(header::CONTENT_TYPE, "audio/wav")], Body::from_stream(parts)).into_response())
}

/// Deletes a recording, and its key with it. The access is logged.
#[utoipa::path(
    delete,
    path = "/recordings/{recording}",
    tag = "records",
    params(("recording" = String, Path, description = "The recording's id"), ReasonParams),
    responses(
        (status = 204, description = "It is gone"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn delete_recording(
    State(api): State<Api>,
    by: Bearer,
    Segments(recording): Segments<String>,
    Params(params): Params<ReasonParams>,
) -> Result<StatusCode, Problem> {
    let (id, access) = (recording_id(&recording)?, access(&by, &params.reason)?);
    let recordings = api.store().recordings()?;
    on_disk(move || recordings.delete(id)).await?;
    api.store().log_access(&access, "recordings.delete", &id.to_string(), 1).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn recording_id(text: &str) -> Result<RecordingId, Problem> {
    text.parse().map_err(|error| Problem::parameter("recording", format!("{error}")))
}

fn access(by: &Bearer, reason: &str) -> Result<Access, Problem> {
    Access::new(&by.0, reason, clock::now()).map_err(|error| Problem::parameter("reason", error.to_string()))
}

/// Disks are slow: other requests go on meanwhile.
async fn on_disk<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, RecordingError> + Send + 'static,
) -> Result<T, Problem> {
    let done = task::spawn_blocking(read).await;
    let done =
        done.map_err(|_| Problem::unavailable("the node failed", "see its log, and report the bug"))?;
    done.map_err(|error| match &error {
        RecordingError::Missing(_) => Problem::missing("such recording", error.hint()),
        RecordingError::File { .. } | RecordingError::Unreadable { .. } => {
            tracing::error!(%error, hint = error.hint(), "a recording");
            Problem::unavailable("the recording cannot be read", error.hint())
        }
    })
}
