//! The state of a dialog: how it is made (§12.1), and what requests and responses within it change (§12.2).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    dialog::DialogId,
    header::{Contacts, HeaderError, HeaderName, Headers, NameAddr},
    message::{Method, Request, Response, StatusCode},
};

/// Hops a route set may have: Max-Forwards starts at 70.
pub const ROUTES_MAX: usize = 70;

/// Whether the dialog has been confirmed by a 2xx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Made by a provisional response.
    Early,
    /// Made or confirmed by a 2xx.
    Confirmed,
}

/// A dialog as plain data: what another node needs to go on with it.
///
/// Personal data: parties, addresses. Purpose: signalling. Lives as long as the dialog.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogState {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our tag.
    pub local_tag: Box<str>,
    /// Their tag; empty if they sent none (RFC 2543).
    pub remote_tag: Box<str>,
    /// Our From or To value without its tag.
    pub local_party: Box<str>,
    /// Theirs.
    pub remote_party: Box<str>,
    /// Their Contact URI: the Request-URI of our requests, but for strict routers.
    pub remote_target: Box<str>,
    /// Route values in the order of our requests.
    pub route_set: Box<[Box<str>]>,
    /// The CSeq number of our last request; 0: none yet.
    pub local_cseq: u32,
    /// The CSeq number of their last request.
    pub remote_cseq: Option<u32>,
    /// Made by a request to a `sips` URI over TLS: every message of it goes over TLS (§12.1).
    pub secure: bool,
    /// Early or confirmed.
    pub phase: Phase,
}

/// Parties and addresses stay hidden.
impl fmt::Debug for DialogState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DialogState")
            .field("phase", &self.phase)
            .field("local_cseq", &self.local_cseq)
            .field("remote_cseq", &self.remote_cseq)
            .field("routes", &self.route_set.len())
            .field("secure", &self.secure)
            .finish_non_exhaustive()
    }
}

/// Why a message makes no dialog. A request that causes it is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// A header it needs is missing or malformed.
    #[error("{0}")]
    Header(#[from] HeaderError),
    /// The response has no To tag.
    #[error("no To tag")]
    NoTag,
    /// There is not exactly one Contact with a URI.
    #[error("no single Contact")]
    NoContact,
    /// The message is of another dialog.
    #[error("another dialog's message")]
    OtherDialog,
    /// More hops than [`ROUTES_MAX`].
    #[error("route set too long")]
    TooManyRoutes,
}

/// The request was sent before one that has been seen: answer 500 (§12.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CSeq below the last one")]
pub struct OutOfOrder;

/// One side's view of a dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialog {
    pub(super) state: DialogState,
}

impl Dialog {
    /// The dialog that our response with `local_tag` to `request` makes (§12.1.1).
    ///
    /// # Errors
    /// See [`DialogError`].
    pub fn uas(request: &Request, local_tag: &str, secure: bool, phase: Phase) -> Result<Self, DialogError> {
        let headers = request.headers();
        let (from, to) = (headers.from()?, headers.to()?);
        Ok(Self {
            state: DialogState {
                call_id: headers.call_id()?.into(),
                local_tag: local_tag.into(),
                remote_tag: from.tag().unwrap_or_default().into(),
                local_party: party(&to),
                remote_party: party(&from),
                remote_target: contact(headers)?.ok_or(DialogError::NoContact)?,
                route_set: record_route(headers)?,
                local_cseq: 0,
                remote_cseq: Some(headers.cseq()?.number),
                secure,
                phase,
            },
        })
    }

    /// The dialog that `response` makes to a request we sent with this Call-ID and From tag (§12.1.2): early by a
    /// provisional response with a To tag, confirmed by a 2xx.
    ///
    /// # Errors
    /// See [`DialogError`]. A provisional response without a To tag or Contact simply makes no dialog.
    pub fn uac(
        response: &Response,
        call_id: &str,
        local_tag: &str,
        secure: bool,
    ) -> Result<Self, DialogError> {
        let headers = response.headers();
        let (from, to) = (headers.from()?, headers.to()?);
        if headers.call_id()? != call_id || from.tag() != Some(local_tag) {
            return Err(DialogError::OtherDialog);
        }
        let mut route_set = record_route(headers)?;
        route_set.reverse();
        Ok(Self {
            state: DialogState {
                call_id: call_id.into(),
                local_tag: local_tag.into(),
                remote_tag: to.tag().ok_or(DialogError::NoTag)?.into(),
                local_party: party(&from),
                remote_party: party(&to),
                remote_target: contact(headers)?.ok_or(DialogError::NoContact)?,
                route_set,
                local_cseq: headers.cseq()?.number,
                remote_cseq: None,
                secure,
                phase: phase_of(response.status()),
            },
        })
    }

    /// Goes on with a dialog that was written down.
    pub const fn from_state(state: DialogState) -> Self {
        Self { state }
    }

    /// The dialog as plain data.
    pub const fn state(&self) -> &DialogState {
        &self.state
    }

    /// What names it.
    pub fn id(&self) -> DialogId<'_> {
        let DialogState { call_id, local_tag, remote_tag, .. } = &self.state;
        DialogId { call_id, local_tag, remote_tag }
    }

    /// Early or confirmed.
    pub const fn phase(&self) -> Phase {
        self.state.phase
    }

    /// We sent or received the 2xx. As UAC use [`Dialog::confirm_by`].
    pub const fn confirm(&mut self) {
        self.state.phase = Phase::Confirmed;
    }

    /// A 2xx of this dialog came: it confirms an early dialog and sets its route set anew (§13.2.2.4), and moves the
    /// remote target if it answers a target refresh request (§12.2.1.2).
    ///
    /// # Errors
    /// See [`DialogError`]; the dialog is then as it was.
    pub fn confirm_by(&mut self, response: &Response) -> Result<(), DialogError> {
        let headers = response.headers();
        let target = contact(headers)?;
        if self.state.phase == Phase::Early && response.status().is_success() {
            let mut route_set = record_route(headers)?;
            route_set.reverse();
            self.state.route_set = route_set;
            self.state.phase = Phase::Confirmed;
        }
        if let Some(target) = target {
            self.state.remote_target = target;
        }
        Ok(())
    }

    /// Takes a request within the dialog, no ACK and no CANCEL: checks its order and counts it. Whether it also moves the
    /// remote target is decided by the answer to it: see [`Dialog::refresh_target`].
    ///
    /// # Errors
    /// [`OutOfOrder`]: answer 500; nothing changed.
    pub fn take_request(&mut self, request: &Request) -> Result<(), OutOfOrder> {
        let number = request.headers().cseq().map_err(|_| OutOfOrder)?.number;
        if self.state.remote_cseq.is_some_and(|last| number < last) {
            return Err(OutOfOrder);
        }
        self.state.remote_cseq = Some(number);
        Ok(())
    }

    /// A request within the dialog is answered with a 2xx: moves the remote target if it is a target refresh request
    /// (INVITE, UPDATE, SUBSCRIBE, NOTIFY, REFER; §12.2.2). One that is refused leaves the target where it was (RFC 6141).
    pub fn refresh_target(&mut self, request: &Request) {
        let refreshes = matches!(
            request.method(),
            Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
        );
        if refreshes && let Ok(Some(target)) = contact(request.headers()) {
            self.state.remote_target = target;
        }
    }
}

const fn phase_of(status: StatusCode) -> Phase {
    if status.is_success() { Phase::Confirmed } else { Phase::Early }
}

/// The URI of the one Contact; `None` if there is no Contact.
fn contact(headers: &Headers) -> Result<Option<Box<str>>, DialogError> {
    if !headers.contains(&HeaderName::Contact) {
        return Ok(None);
    }
    match headers.contacts()? {
        Contacts::One(Some(contact)) => Ok(Some(contact.name_addr.uri.into())),
        _ => Err(DialogError::NoContact),
    }
}

/// A From or To value without its tag: the other parameters are extensions and stay.
fn party(address: &NameAddr<'_>) -> Box<str> {
    let mut text = match address.display_name() {
        Some(name) => format!("{} <{}>", crate::header::Quoted(&name), address.uri),
        None => ["<", address.uri, ">"].concat(),
    };
    for (name, value) in address.params.iter() {
        if !name.eq_ignore_ascii_case("tag") {
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
    }
    text.into()
}

/// The Record-Route values from top to bottom.
fn record_route(headers: &Headers) -> Result<Box<[Box<str>]>, DialogError> {
    if !headers.contains(&HeaderName::RecordRoute) {
        return Ok(Box::default());
    }
    let mut routes = Vec::new();
    for route in headers.record_routes() {
        if routes.len() == ROUTES_MAX {
            return Err(DialogError::TooManyRoutes);
        }
        routes.push(route?.to_string().into_boxed_str());
    }
    Ok(routes.into())
}
