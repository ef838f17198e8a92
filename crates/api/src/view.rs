//! The present and the past as JSON. Personal data is opened here, each time for a named purpose.

use offhook_base::{Personal, PersonalData, Purpose, UtcMillis};
use offhook_switch::{
    fact::{Fact, What},
    media::StreamQuality,
    record::{CallId, CallRecord, EndCause, EndedBy, LegRecord, LegRole},
    summary::{CallPhase, CallSummary, RegistrationSummary},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A call that is on now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Call {
    /// Its id: 26 digits and capital letters.
    #[schema(value_type = String)]
    pub(crate) id: CallId,
    /// Its tenant.
    tenant: String,
    /// Who called.
    caller: String,
    /// Who was called.
    callee: String,
    /// `starting`, `ringing`, `established`, `held` or `ending`.
    #[schema(value_type = String)]
    phase: CallPhase,
    /// When it began, RFC 3339.
    started: String,
    /// When it was answered, RFC 3339.
    answered: Option<String>,
    /// Legs that are up now.
    legs: u16,
}

impl From<&CallSummary> for Call {
    fn from(call: &CallSummary) -> Self {
        Self {
            id: call.id,
            tenant: call.tenant.to_string(),
            caller: call.caller.disclose(Purpose::Operation).clone(),
            callee: call.callee.disclose(Purpose::Operation).clone(),
            phase: call.phase,
            started: call.started.to_string(),
            answered: time(call.answered),
            legs: call.legs,
        }
    }
}

/// A contact that is bound now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Registration {
    /// The line's name.
    pub(crate) line: String,
    /// The tenant's name.
    pub(crate) tenant: String,
    /// The contact URI.
    pub(crate) contact: String,
    /// Where it registered from.
    remote: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    transport: String,
    /// Its User-Agent.
    user_agent: Option<String>,
    /// When it ends, RFC 3339.
    expires: String,
    /// Preference, 0 to 1.
    q: f64,
}

impl From<&RegistrationSummary> for Registration {
    fn from(binding: &RegistrationSummary) -> Self {
        Self {
            line: binding.name.to_string(),
            tenant: binding.tenant.to_string(),
            contact: binding.contact.disclose(Purpose::Operation).clone(),
            remote: binding.remote.disclose(Purpose::Operation).clone(),
            transport: binding.transport.to_string(),
            user_agent: binding.user_agent.as_ref().map(ToString::to_string),
            expires: binding.expires.to_string(),
            q: f64::from(binding.q_millis) / 1000.0,
        }
    }
}

/// The account of one call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Record {
    /// Its id: 26 digits and capital letters.
    #[schema(value_type = String)]
    pub(crate) id: CallId,
    /// Its tenant.
    pub(crate) tenant: String,
    /// The caller's address of record or number.
    pub(crate) caller: String,
    /// The name it showed.
    pub(crate) caller_name: Option<String>,
    /// The address that was called.
    pub(crate) callee: String,
    /// When the INVITE came, RFC 3339 with milliseconds, like all times here.
    pub(crate) started: String,
    /// When the first device rang.
    pub(crate) ringing: Option<String>,
    /// When it was answered.
    pub(crate) answered: Option<String>,
    /// When it ended.
    pub(crate) ended: String,
    /// Answered time.
    pub(crate) talk_ms: i64,
    /// `caller`, `callee` or `node`.
    #[schema(value_type = String)]
    pub(crate) ended_by: EndedBy,
    /// Why, in one word, for example `hung_up`, `busy`, `no_answer`.
    #[schema(value_type = String)]
    pub(crate) cause: EndCause,
    /// The SIP status that ended it.
    pub(crate) sip_status: u16,
    /// The cause of ITU-T Q.850.
    pub(crate) q850: u8,
    /// The legs, the caller's first.
    pub(crate) legs: Vec<Leg>,
}

/// One leg of a recorded call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Leg {
    /// `caller` or `callee`.
    #[schema(value_type = String)]
    pub(crate) role: LegRole,
    /// The line, by name.
    line: Option<String>,
    /// The peer, by name.
    peer: Option<String>,
    /// Address and port of its signalling.
    remote: String,
    /// `udp`, `tcp`, `tls`, `ws` or `wss`.
    transport: String,
    /// Its User-Agent or Server header.
    user_agent: Option<String>,
    /// Its Call-ID header.
    sip_call_id: String,
    /// When its INVITE came or went.
    started: String,
    /// When it first rang.
    ringing: Option<String>,
    /// When it answered.
    pub(crate) answered: Option<String>,
    /// When it ended.
    ended: String,
    /// The final status of its INVITE.
    status: Option<u16>,
    /// Quality per media section.
    pub(crate) streams: Vec<Stream>,
}

/// One stream of one leg, as the node saw it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Stream {
    /// For example `PCMA/8000`; empty if nothing came.
    pub(crate) codec: String,
    /// Packets received from the leg.
    pub(crate) packets_received: u64,
    /// Payload octets received.
    pub(crate) octets_received: u64,
    /// Packets sent to the leg.
    pub(crate) packets_sent: u64,
    /// Packets missing.
    pub(crate) packets_lost: u64,
    /// Packets that came twice.
    pub(crate) packets_duplicate: u64,
    /// Packets that came late.
    pub(crate) packets_reordered: u64,
    /// Packets from strangers or that failed authentication.
    pub(crate) packets_refused: u64,
    /// Interarrival jitter at the end.
    pub(crate) jitter_ms: f64,
    /// Its highest value.
    pub(crate) jitter_ms_max: f64,
    /// Round trip between the node and the leg.
    pub(crate) round_trip_ms: Option<f64>,
    /// Loss that the leg reported, 0 to 1.
    pub(crate) remote_loss: Option<f64>,
    /// Mean opinion score, 1 to 4.5.
    pub(crate) mos: Option<f64>,
    /// The codec it was transcoded to for the other side, because the sides share none. Null: passed on as it was.
    pub(crate) transcoded_to: Option<String>,
}

impl Stream {
    /// The part of the leg's packets that did not arrive, 0 to 1; `None` if there were none.
    pub(crate) fn loss(&self) -> Option<f64> {
        let all = self.packets_received.saturating_add(self.packets_lost);
        (all > 0).then(|| self.packets_lost as f64 / all as f64)
    }
}

impl From<&CallRecord> for Record {
    fn from(record: &CallRecord) -> Self {
        Self {
            id: record.id,
            tenant: record.tenant.to_string(),
            caller: record.caller.disclose(Purpose::Record).clone(),
            caller_name: record.caller_name.as_ref().map(|name| name.disclose(Purpose::Record).clone()),
            callee: record.callee.disclose(Purpose::Record).clone(),
            started: record.started.to_string(),
            ringing: time(record.ringing),
            answered: time(record.answered),
            ended: record.ended.to_string(),
            talk_ms: record.talk_millis(),
            ended_by: record.ended_by,
            cause: record.cause,
            sip_status: record.sip_status,
            q850: record.q850,
            legs: record.legs.iter().map(Leg::from).collect(),
        }
    }
}

impl From<&LegRecord> for Leg {
    fn from(leg: &LegRecord) -> Self {
        Self {
            role: leg.role,
            line: leg.line.as_ref().map(ToString::to_string),
            peer: leg.peer.as_ref().map(ToString::to_string),
            remote: leg.remote.disclose(Purpose::Record).clone(),
            transport: leg.transport.to_string(),
            user_agent: leg.user_agent.as_ref().map(ToString::to_string),
            sip_call_id: leg.sip_call_id.disclose(Purpose::Record).clone(),
            started: leg.started.to_string(),
            ringing: time(leg.ringing),
            answered: time(leg.answered),
            ended: leg.ended.to_string(),
            status: leg.status,
            streams: leg.streams.iter().map(Stream::from).collect(),
        }
    }
}

impl From<&StreamQuality> for Stream {
    fn from(stream: &StreamQuality) -> Self {
        Self {
            codec: stream.codec.clone(),
            packets_received: stream.packets_received,
            octets_received: stream.octets_received,
            packets_sent: stream.packets_sent,
            packets_lost: stream.packets_lost,
            packets_duplicate: stream.packets_duplicate,
            packets_reordered: stream.packets_reordered,
            packets_refused: stream.packets_refused,
            jitter_ms: stream.jitter_ms,
            jitter_ms_max: stream.jitter_ms_max,
            round_trip_ms: stream.round_trip_ms,
            remote_loss: stream.remote_loss,
            mos: stream.mos,
            transcoded_to: stream.transcoded_to.clone(),
        }
    }
}

/// Whether a stream shows personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// In its masked form.
    Masked,
    /// In clear: somebody gave a reason, and it was logged.
    Clear,
}

impl Sight {
    /// The value, or its masked form.
    pub(crate) fn show<T: PersonalData + ToString>(self, value: &Personal<T>) -> String {
        match self {
            Self::Masked => value.to_string(),
            Self::Clear => value.disclose(Purpose::Operation).to_string(),
        }
    }
}

/// A fact as an event's name and data.
pub(crate) fn event(fact: &Fact, sight: Sight) -> (&'static str, Value) {
    let (name, mut data) = match &fact.what {
        What::CallStarted { call, tenant, caller, callee } => (
            "call_started",
            json!({ "call": call, "tenant": tenant, "caller": sight.show(caller), "callee": sight.show(callee) }),
        ),
        What::LegStarted { call, leg, role } => {
            ("leg_started", json!({ "call": call, "leg": leg, "role": role }))
        }
        What::LegRinging { call, leg } => ("leg_ringing", json!({ "call": call, "leg": leg })),
        What::CallAnswered { call, leg } => ("call_answered", json!({ "call": call, "leg": leg })),
        What::LegHeld { call, leg } => ("leg_held", json!({ "call": call, "leg": leg })),
        What::LegResumed { call, leg } => ("leg_resumed", json!({ "call": call, "leg": leg })),
        What::LegTranscoded { call, leg, from, to, why } => {
            ("leg_transcoded", json!({ "call": call, "leg": leg, "from": from, "to": to, "why": why }))
        }
        What::LegEnded { call, leg, status } => {
            ("leg_ended", json!({ "call": call, "leg": leg, "status": status }))
        }
        What::CallEnded(record) => (
            "call_ended",
            json!({
                "call": record.id,
                "tenant": record.tenant,
                "caller": sight.show(&record.caller),
                "callee": sight.show(&record.callee),
                "ended_by": record.ended_by,
                "cause": record.cause,
                "sip_status": record.sip_status,
                "q850": record.q850,
                "talk_ms": record.talk_millis(),
            }),
        ),
        What::LineChanged { line, state } => ("line_changed", json!({ "line": line, "state": state })),
        What::Bound(binding) | What::Refreshed(binding) => (
            "bound",
            // Who may not see it in clear sees the line's number and the transport.
            json!({
                "line": binding.line(),
                "contact": if sight == Sight::Clear { binding.contact() } else { "***" },
                "transport": binding.terms().flow.transport.to_string(),
                "expires": binding.terms().expires.to_string(),
            }),
        ),
        What::Unbound { line, why, .. } => ("unbound", json!({ "line": line, "why": why })),
        What::Banned(banned) => (
            "banned",
            json!({
                "source": if sight == Sight::Clear {
                    banned.source.disclose(Purpose::Operation).to_text()
                } else {
                    banned.source.to_string()
                },
                "why": banned.why.name(),
                "spared": banned.is_spared,
                "seconds": banned.left.as_secs(),
            }),
        ),
        What::Pardoned(address) => ("pardoned", json!({ "source": sight.show(address) })),
        What::Refused { why, source } => ("refused", json!({ "why": why, "source": sight.show(source) })),
    };
    data["at"] = fact.at.to_string().into();
    (name, data)
}

fn time(at: Option<UtcMillis>) -> Option<String> {
    at.map(|at| at.to_string())
}
