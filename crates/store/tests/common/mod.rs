//! What the tests of the store share: made-up calls and authors.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::sync::Arc;

use offhook_base::{DataSubject, Personal, Random, UtcMillis};
use offhook_store::{Access, Author};
use offhook_switch::{
    media::StreamQuality,
    record::{CallId, CallRecord, EndCause, EndedBy, LegRecord, LegRole},
};

/// A moment in November 2026.
pub const NOW: UtcMillis = UtcMillis(1_795_363_836_123);

pub fn author() -> Author {
    Author::new("test", NOW)
}

pub fn access() -> Access {
    Access::new("test", "a test reads back", NOW).unwrap()
}

/// An answered call from line 101 to line 102 that began `start_ms` after [`NOW`] and lasted a minute.
pub fn record(random: &mut Random, start_ms: i64) -> Arc<CallRecord> {
    let started = UtcMillis(NOW.0 + start_ms);
    let leg = |role, line: &str, subject, port: u16| LegRecord {
        role,
        line: Some(line.into()),
        peer: None,
        remote: Personal::new(format!("192.0.2.7:{port}"), subject),
        transport: "udp".into(),
        user_agent: Some("Example Phone 1.0".into()),
        sip_call_id: Personal::new(format!("{started}-{port}@192.0.2.7"), subject),
        started,
        ringing: Some(UtcMillis(started.0 + 200)),
        answered: Some(UtcMillis(started.0 + 5_000)),
        ended: UtcMillis(started.0 + 65_000),
        status: Some(200),
        streams: vec![StreamQuality {
            codec: "PCMA/8000".to_string(),
            packets_received: 3_000,
            octets_received: 480_000,
            packets_sent: 3_000,
            packets_lost: 3,
            jitter_ms: 1.5,
            mos: Some(4.3),
            ..StreamQuality::default()
        }],
    };
    Arc::new(CallRecord {
        id: CallId::new(started, random),
        tenant: "default".into(),
        caller: Personal::new("sip:101@example.org".to_string(), DataSubject::Caller),
        caller_name: Some(Personal::new("Anna".to_string(), DataSubject::Caller)),
        callee: Personal::new("sip:102@example.org".to_string(), DataSubject::Callee),
        started,
        ringing: Some(UtcMillis(started.0 + 200)),
        answered: Some(UtcMillis(started.0 + 5_000)),
        ended: UtcMillis(started.0 + 65_000),
        ended_by: EndedBy::Caller,
        cause: EndCause::HungUp,
        sip_status: 200,
        q850: 16,
        legs: vec![
            leg(LegRole::Caller, "101", DataSubject::Caller, 5060),
            leg(LegRole::Callee, "102", DataSubject::Callee, 5062),
        ],
    })
}
