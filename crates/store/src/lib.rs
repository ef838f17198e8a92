//! What outlives the process: configuration, bindings, call records, API tokens, in two SQLite files; and running calls, in a
//! file of their own.
//!
//! Call control never waits for this crate. It reads an immutable [`Directory`](offhook_switch::directory::Directory)
//! that [`Store::load_directory`] makes, and gives its facts to [`RecordWriter`] and [`BindingWriter`], which take them
//! without blocking.
#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]

mod access;
mod audit;
pub mod backup;
mod binding;
mod binding_load;
mod bulk;
mod calls_file;
mod check;
mod data_map;
mod database;
mod document;
mod edit;
mod editor;
mod error;
mod network;
mod password;
mod plan;
mod record;
mod record_row;
mod record_writer;
mod recording;
mod routing;
mod secret_key;
mod site;
mod site_advice;
mod site_names;
mod spec;
mod store;
mod token;
pub mod words;

pub use access::{Access, AccessLogBroken, NoReason};
pub use audit::AuditEntry;
pub use binding::{BindingChange, BindingWriter};
pub use binding_load::StoredBindings;
pub use calls_file::{CallsFile, CallsFileCounters, EarlierCalls, Heartbeat};
pub use check::{Fault, Problem};
pub use data_map::{Erasure, PersonalColumn, Retention, StoredColumn, data_map};
pub use document::{DocumentError, SiteDocument};
pub use edit::{Author, Change, EditError, MadePassword};
pub use error::{OpenError, StoreError};
pub use network::{ListedNetwork, NETWORKS_MAX, NOTE_CHARS_MAX, Verdict};
pub use password::{generate_password, hash_password};
pub use plan::{Applied, Plan};
pub use record::{BadCursor, Cursor, Page, RECORD_RETENTION, RECORDS_PER_PAGE_MAX, RecordFilter};
pub use record_writer::{QUEUE_MAX, QueueFull, RecordStatus, RecordWriter};
pub use recording::{
    BadRecordingId, ReadError, Recording, RecordingError, RecordingId, RecordingStatus, RecordingWriter,
    Recordings,
};
pub use routing::{ROUTING_NOTE_CHARS_MAX, ROUTING_VERSIONS_MAX, RoutingError, RoutingTable, RoutingVersion};
pub use site::Site;
pub use site_names::Named;
pub use spec::{
    BINDINGS_MAX_DEFAULT, DeviceSpec, FieldChange, Item, ItemKey, Kind, LINE_CALLS_MAX_DEFAULT, LineChange,
    LineSpec, PEER_CALLS_MAX_DEFAULT, Password, PeerSecret, PeerSpec, TenantSpec, UserSpec,
};
pub use store::Store;
pub use token::{Role, Token, TokenError};
