//! The data map: every stored column, whose data it is, why it is kept, for how long, and how it is erased (GDPR-8).
//!
//! A test compares it with the schema: a column that is not described here cannot be merged.

use offhook_base::{DataSubject, Purpose};

/// One column of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredColumn {
    /// The file: `site.db` or `records.db`, both SQLite, or `calls`, which has a form of its own.
    pub file: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its name.
    pub column: &'static str,
    /// What it says of a person; `None` if nothing.
    pub personal: Option<PersonalColumn>,
}

/// What the law asks of a personal column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersonalColumn {
    /// Whose data it is.
    pub subject: DataSubject,
    /// Why it is kept.
    pub purpose: Purpose,
    /// How long.
    pub retention: Retention,
    /// What erases it before that.
    pub erasure: Erasure,
}

/// How long a column's values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// As long as the thing is configured.
    WhileConfigured,
    /// Until the registration ends.
    WhileRegistered,
    /// Call records: [`crate::RECORD_RETENTION`] unless configured otherwise.
    Records,
    /// As long as the call lasts, and until its record is on disk.
    WhileCalling,
    /// As evidence of who did what; no limit is built yet.
    Evidence,
}

/// What erases a value. Every one of them overwrites the place on disk (`secure_delete`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// Removing the user, line, device, peer or network, or clearing the field.
    RemoveItem,
    /// The end of the registration or the removal of its line.
    Unregister,
    /// The end of the call.
    EndCall,
    /// [`crate::Store::expire_records`].
    ExpireRecords,
    /// None: the evidence that others' rights rest on.
    Kept,
}

const SITE: &str = "site.db";
const RECORDS: &str = "records.db";
const CALLS: &str = "calls";

const fn plain(file: &'static str, table: &'static str, column: &'static str) -> StoredColumn {
    StoredColumn { file, table, column, personal: None }
}

const fn configured(
    table: &'static str,
    column: &'static str,
    subject: DataSubject,
    purpose: Purpose,
) -> StoredColumn {
    let (retention, erasure) = (Retention::WhileConfigured, Erasure::RemoveItem);
    StoredColumn {
        file: SITE,
        table,
        column,
        personal: Some(PersonalColumn { subject, purpose, retention, erasure }),
    }
}

const fn registered(column: &'static str) -> StoredColumn {
    let personal = PersonalColumn {
        subject: DataSubject::Subscriber,
        purpose: Purpose::Signalling,
        retention: Retention::WhileRegistered,
        erasure: Erasure::Unregister,
    };
    StoredColumn { file: SITE, table: "bindings", column, personal: Some(personal) }
}

const fn recorded(table: &'static str, column: &'static str, subject: DataSubject) -> StoredColumn {
    let personal = PersonalColumn {
        subject,
        purpose: Purpose::Record,
        retention: Retention::Records,
        erasure: Erasure::ExpireRecords,
    };
    StoredColumn { file: RECORDS, table, column, personal: Some(personal) }
}

const fn evidence(file: &'static str, table: &'static str, column: &'static str) -> StoredColumn {
    let personal = PersonalColumn {
        subject: DataSubject::Subscriber,
        purpose: Purpose::Operation,
        retention: Retention::Evidence,
        erasure: Erasure::Kept,
    };
    StoredColumn { file, table, column, personal: Some(personal) }
}

const fn in_call(table: &'static str, column: &'static str, subject: DataSubject) -> StoredColumn {
    let personal = PersonalColumn {
        subject,
        purpose: Purpose::Signalling,
        retention: Retention::WhileCalling,
        erasure: Erasure::EndCall,
    };
    StoredColumn { file: CALLS, table, column, personal: Some(personal) }
}

use DataSubject::{Callee, Caller, RemoteParty, Subscriber};
use Purpose::{Protection, Signalling};

/// Every column of every table.
pub const fn data_map() -> &'static [StoredColumn] {
    COLUMNS
}

const COLUMNS: &[StoredColumn] = &[
    plain(SITE, "node", "key"),
    plain(SITE, "node", "value"),
    plain(SITE, "tenants", "id"),
    plain(SITE, "tenants", "name"),
    plain(SITE, "tenants", "realm"),
    plain(SITE, "domains", "domain"),
    plain(SITE, "domains", "tenant_id"),
    plain(SITE, "domains", "position"),
    plain(SITE, "users", "id"),
    plain(SITE, "users", "tenant_id"),
    configured("users", "name", Subscriber, Signalling),
    configured("users", "full_name", Subscriber, Signalling),
    plain(SITE, "lines", "id"),
    plain(SITE, "lines", "tenant_id"),
    configured("lines", "name", Subscriber, Signalling),
    configured("lines", "display_name", Subscriber, Signalling),
    configured("lines", "user_id", Subscriber, Signalling),
    plain(SITE, "lines", "enabled"),
    // Hashes of a secret that only the subscriber knows.
    configured("lines", "password_md5", Subscriber, Signalling),
    configured("lines", "password_sha256", Subscriber, Signalling),
    plain(SITE, "lines", "may_call"),
    plain(SITE, "lines", "bindings_max"),
    plain(SITE, "lines", "calls_max"),
    plain(SITE, "lines", "srtp"),
    plain(SITE, "devices", "id"),
    plain(SITE, "devices", "tenant_id"),
    configured("devices", "name", Subscriber, Signalling),
    plain(SITE, "devices", "kind"),
    // A device's lasting id: it follows its owner from network to network.
    configured("devices", "instance", Subscriber, Signalling),
    plain(SITE, "device_lines", "device_id"),
    plain(SITE, "device_lines", "line_id"),
    plain(SITE, "device_lines", "position"),
    plain(SITE, "peers", "id"),
    plain(SITE, "peers", "tenant_id"),
    plain(SITE, "peers", "name"),
    plain(SITE, "peers", "enabled"),
    plain(SITE, "peers", "sources"),
    plain(SITE, "peers", "host"),
    plain(SITE, "peers", "port"),
    plain(SITE, "peers", "transport"),
    plain(SITE, "peers", "username"),
    plain(SITE, "peers", "secret"),
    plain(SITE, "peers", "prefixes"),
    plain(SITE, "peers", "may_call"),
    plain(SITE, "peers", "calls_max"),
    plain(SITE, "peers", "anchor_media"),
    plain(SITE, "peers", "srtp"),
    registered("line_id"),
    registered("key"),
    registered("expires"),
    registered("binding"),
    plain(SITE, "tokens", "id"),
    plain(SITE, "tokens", "name"),
    plain(SITE, "tokens", "role"),
    plain(SITE, "tokens", "hash"),
    plain(SITE, "tokens", "created"),
    // Which addresses an operator keeps out or lets in, and why.
    configured("networks", "network", RemoteParty, Protection),
    plain(SITE, "networks", "verdict"),
    configured("networks", "note", RemoteParty, Protection),
    plain(SITE, "networks", "since"),
    evidence(SITE, "networks", "who"),
    // It may name lines and the numbers of callers.
    plain(SITE, "routing_versions", "version"),
    plain(SITE, "routing_versions", "at"),
    evidence(SITE, "routing_versions", "who"),
    evidence(SITE, "routing_versions", "note"),
    configured("routing_versions", "document", Subscriber, Signalling),
    plain(SITE, "routing_tables", "tenant"),
    plain(SITE, "routing_tables", "name"),
    plain(SITE, "routing_tables", "change"),
    plain(SITE, "routing_tables", "at"),
    evidence(SITE, "routing_tables", "who"),
    plain(SITE, "routing_tables", "lines"),
    plain(SITE, "routing_tables", "content"),
    plain(SITE, "audit", "id"),
    plain(SITE, "audit", "at"),
    evidence(SITE, "audit", "who"),
    plain(SITE, "audit", "action"),
    plain(SITE, "audit", "kind"),
    plain(SITE, "audit", "tenant"),
    evidence(SITE, "audit", "name"),
    plain(SITE, "audit", "fields"),
    plain(SITE, "audit", "generation"),
    plain(RECORDS, "records", "id"),
    plain(RECORDS, "records", "tenant"),
    recorded("records", "caller", Caller),
    recorded("records", "caller_name", Caller),
    recorded("records", "callee", Callee),
    // Alone they are nobody's, next to the parties they are both parties' traffic data: they go with the row.
    recorded("records", "started", Caller),
    recorded("records", "ringing", Caller),
    recorded("records", "answered", Caller),
    recorded("records", "ended", Caller),
    recorded("records", "talk_ms", Caller),
    recorded("records", "ended_by", Caller),
    recorded("records", "cause", Caller),
    recorded("records", "sip_status", Caller),
    recorded("records", "q850", Caller),
    // Addresses, devices and Call-IDs of both sides.
    recorded("records", "legs", Caller),
    plain(RECORDS, "record_lines", "tenant"),
    recorded("record_lines", "line", Subscriber),
    recorded("record_lines", "started", Subscriber),
    recorded("record_lines", "record_id", Subscriber),
    plain(RECORDS, "access_log", "id"),
    plain(RECORDS, "access_log", "at"),
    evidence(RECORDS, "access_log", "who"),
    evidence(RECORDS, "access_log", "reason"),
    plain(RECORDS, "access_log", "action"),
    // Whose data was looked for.
    evidence(RECORDS, "access_log", "filter"),
    plain(RECORDS, "access_log", "rows"),
    plain(RECORDS, "access_log", "chain"),
    plain(CALLS, "slots", "call"),
    // Parties, addresses, descriptions and SRTP keys of both sides, sealed.
    in_call("slots", "form", Caller),
];
