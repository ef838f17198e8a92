//! A call record as a row: what people filter by in columns, the legs in one JSON column.

use std::borrow::Cow;

use offhook_base::{DataSubject, Personal, Purpose, UtcMillis};
use offhook_switch::{
    media::StreamQuality,
    record::{CallRecord, EndCause, EndedBy, LegRecord, LegRole},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sqlx::{Row, sqlite::SqliteRow};

/// The columns of `records`, in the order of [`insert`] and [`decode`].
pub const COLUMNS: &str = "id, tenant, caller, caller_name, callee, started, ringing, answered, ended, talk_ms, \
     ended_by, cause, sip_status, q850, legs";

/// A row of them. One that is there already stays as it is.
pub const INSERT: &str = "INSERT INTO records (id, tenant, caller, caller_name, callee, started, ringing, answered, ended, \
     talk_ms, ended_by, cause, sip_status, q850, legs) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
     ON CONFLICT (id) DO NOTHING";

/// A leg as it is written: the same as [`LegRecord`] with its personal data opened for the record.
#[derive(Serialize, Deserialize)]
struct StoredLeg<'a> {
    role: LegRole,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    line: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    peer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    remote: Cow<'a, str>,
    #[serde(borrow)]
    transport: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    user_agent: Option<Cow<'a, str>>,
    #[serde(borrow)]
    sip_call_id: Cow<'a, str>,
    started: UtcMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ringing: Option<UtcMillis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answered: Option<UtcMillis>,
    ended: UtcMillis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    streams: Vec<StreamQuality>,
}

/// Whose the address and Call-ID of a leg are.
const fn subject(role: LegRole) -> DataSubject {
    match role {
        LegRole::Caller => DataSubject::Caller,
        LegRole::Callee => DataSubject::Callee,
    }
}

impl<'a> From<&'a LegRecord> for StoredLeg<'a> {
    fn from(leg: &'a LegRecord) -> Self {
        Self {
            role: leg.role,
            line: leg.line.as_deref().map(Cow::Borrowed),
            peer: leg.peer.as_deref().map(Cow::Borrowed),
            remote: Cow::Borrowed(leg.remote.disclose(Purpose::Record)),
            transport: Cow::Borrowed(&leg.transport),
            user_agent: leg.user_agent.as_deref().map(Cow::Borrowed),
            sip_call_id: Cow::Borrowed(leg.sip_call_id.disclose(Purpose::Record)),
            started: leg.started,
            ringing: leg.ringing,
            answered: leg.answered,
            ended: leg.ended,
            status: leg.status,
            streams: leg.streams.iter().cloned().map(finite).collect(),
        }
    }
}

impl From<StoredLeg<'_>> for LegRecord {
    fn from(leg: StoredLeg<'_>) -> Self {
        Self {
            role: leg.role,
            line: leg.line.map(Into::into),
            peer: leg.peer.map(Into::into),
            remote: Personal::new(leg.remote.into_owned(), subject(leg.role)),
            transport: leg.transport.into(),
            user_agent: leg.user_agent.map(Into::into),
            sip_call_id: Personal::new(leg.sip_call_id.into_owned(), subject(leg.role)),
            started: leg.started,
            ringing: leg.ringing,
            answered: leg.answered,
            ended: leg.ended,
            status: leg.status,
            streams: leg.streams,
        }
    }
}

/// JSON has no infinity and no NaN: a statistic that came out as one is unknown, and must not cost the record.
fn finite(mut stream: StreamQuality) -> StreamQuality {
    let number = |value: f64| if value.is_finite() { value } else { 0.0 };
    stream.jitter_ms = number(stream.jitter_ms);
    stream.jitter_ms_max = number(stream.jitter_ms_max);
    for value in [&mut stream.round_trip_ms, &mut stream.remote_loss, &mut stream.mos] {
        *value = value.filter(|value| value.is_finite());
    }
    stream
}

/// Gives a record to [`INSERT`].
pub fn insert(row: &mut rusqlite::Statement<'_>, record: &CallRecord) -> rusqlite::Result<()> {
    let legs: Vec<_> = record.legs.iter().map(StoredLeg::from).collect();
    // Strings, integers and finite numbers always have a JSON form.
    let legs = serde_json::to_string(&legs).unwrap_or_else(|_| "[]".to_string());
    row.execute((
        record.id.as_str(),
        &*record.tenant,
        record.caller.disclose(Purpose::Record),
        record.caller_name.as_ref().map(|name| name.disclose(Purpose::Record)),
        record.callee.disclose(Purpose::Record),
        record.started.0,
        record.ringing.map(|at| at.0),
        record.answered.map(|at| at.0),
        record.ended.0,
        record.talk_millis(),
        ended_by_name(record.ended_by),
        cause_name(record.cause),
        record.sip_status,
        record.q850,
        legs,
    ))?;
    Ok(())
}

/// Reads a row of [`COLUMNS`]. The inner error says what is damaged.
pub fn decode(row: &SqliteRow) -> Result<Result<CallRecord, &'static str>, sqlx::Error> {
    let Ok(id) = row.try_get::<&str, _>(0)?.parse() else { return Ok(Err("the id is no call id")) };
    let Some(ended_by) = from_name(row.try_get(10)?) else { return Ok(Err("unknown side that ended it")) };
    let Some(cause) = from_name(row.try_get(11)?) else { return Ok(Err("unknown cause")) };
    let Ok(legs) = serde_json::from_str::<Vec<StoredLeg>>(row.try_get(14)?) else {
        return Ok(Err("the legs do not parse"));
    };
    let personal =
        |index, subject| Ok::<_, sqlx::Error>(Personal::new(row.try_get::<String, _>(index)?, subject));
    let time = |index| Ok::<_, sqlx::Error>(row.try_get::<Option<i64>, _>(index)?.map(UtcMillis));
    Ok(Ok(CallRecord {
        id,
        tenant: row.try_get(1)?,
        caller: personal(2, DataSubject::Caller)?,
        caller_name: row
            .try_get::<Option<String>, _>(3)?
            .map(|name| Personal::new(name, DataSubject::Caller)),
        callee: personal(4, DataSubject::Callee)?,
        started: UtcMillis(row.try_get(5)?),
        ringing: time(6)?,
        answered: time(7)?,
        ended: UtcMillis(row.try_get(8)?),
        ended_by,
        cause,
        sip_status: row.try_get(12)?,
        q850: row.try_get(13)?,
        legs: legs.into_iter().map(LegRecord::from).collect(),
    }))
}

const fn ended_by_name(side: EndedBy) -> &'static str {
    match side {
        EndedBy::Caller => "caller",
        EndedBy::Callee => "callee",
        EndedBy::Node => "node",
    }
}

/// The name of a cause in the database, the same as in its JSON form.
pub const fn cause_name(cause: EndCause) -> &'static str {
    match cause {
        EndCause::HungUp => "hung_up",
        EndCause::Cancelled => "cancelled",
        EndCause::Busy => "busy",
        EndCause::Declined => "declined",
        EndCause::NoAnswer => "no_answer",
        EndCause::NotRegistered => "not_registered",
        EndCause::NotFound => "not_found",
        EndCause::NotPermitted => "not_permitted",
        EndCause::Incompatible => "incompatible",
        EndCause::Failed => "failed",
        EndCause::Outage => "outage",
        EndCause::Vanished => "vanished",
        EndCause::MediaSilence => "media_silence",
        EndCause::TooLong => "too_long",
        EndCause::Shutdown => "shutdown",
        EndCause::Overloaded => "overloaded",
    }
}

/// A unit variant by its serde name.
fn from_name<T: DeserializeOwned>(name: &str) -> Option<T> {
    let name = serde::de::value::StrDeserializer::<serde::de::value::Error>::new(name);
    T::deserialize(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_database_is_the_one_serde_reads_back() {
        use EndCause::*;
        for cause in [
            HungUp,
            Cancelled,
            Busy,
            Declined,
            NoAnswer,
            NotRegistered,
            NotFound,
            NotPermitted,
            Incompatible,
            Failed,
            Vanished,
            MediaSilence,
            TooLong,
            Shutdown,
            Overloaded,
            Outage,
        ] {
            assert_eq!(from_name::<EndCause>(cause_name(cause)), Some(cause));
        }
        for side in [EndedBy::Caller, EndedBy::Callee, EndedBy::Node] {
            assert_eq!(from_name::<EndedBy>(ended_by_name(side)), Some(side));
        }
    }
}
