//! What the API and live screens see of the present: calls and registrations, as plain values.

use offhook_base::{Personal, UtcMillis};
use serde::{Deserialize, Serialize};

use crate::{directory::LineId, fact::LineState, record::CallId};

/// Where a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallPhase {
    /// Not ringing yet.
    Starting,
    /// A device rings.
    Ringing,
    /// Answered.
    Established,
    /// Answered and on hold.
    Held,
    /// Being taken down.
    Ending,
}

/// A call that is on now.
#[derive(Clone, Debug)]
pub struct CallSummary {
    /// Its id.
    pub id: CallId,
    /// Its tenant.
    pub tenant: Box<str>,
    /// Who called.
    pub caller: Personal<String>,
    /// Who was called.
    pub callee: Personal<String>,
    /// Where it stands.
    pub phase: CallPhase,
    /// When it began.
    pub started: UtcMillis,
    /// When it was answered.
    pub answered: Option<UtcMillis>,
    /// Legs that are up now.
    pub legs: u16,
}

/// A contact that is bound now.
#[derive(Clone, Debug)]
pub struct RegistrationSummary {
    /// Whose.
    pub line: LineId,
    /// The tenant's name.
    pub tenant: Box<str>,
    /// The line's name.
    pub name: Box<str>,
    /// The contact URI.
    pub contact: Personal<String>,
    /// Where it registered from.
    pub remote: Personal<String>,
    /// `udp`, `tcp`, `tls`, `ws`, `wss`.
    pub transport: Box<str>,
    /// Its User-Agent.
    pub user_agent: Option<Box<str>>,
    /// When it ends.
    pub expires: UtcMillis,
    /// Preference, thousandths.
    pub q_millis: u16,
}

/// A line and its live state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineSummary {
    /// Which.
    pub line: LineId,
    /// Its state.
    pub state: LineState,
    /// Calls it is in.
    pub calls: u16,
    /// Contacts it has.
    pub bindings: u16,
}
