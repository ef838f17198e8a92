//! One contact of a line as it outlives a restart, packed: all of its text in one allocation. The registrar, the facts about it
//! and the store share it.

use std::{borrow::Cow, fmt, net::SocketAddr};

use offhook_base::UtcMillis;
use offhook_sip::{
    transport::{ConnectionId, Flow, ListenerId, Transport},
    uri::Uri,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::target::Push;
use crate::directory::LineId;

/// The most text one binding may hold: contact, parameters, Call-ID, Path. Bytes. Phones need about 300; with three
/// proxies on the way and a push token about 1,500.
pub(super) const TEXT_BYTES_MAX: usize = 4096;

/// Ends each hop of a Path. No header value holds it.
pub(super) const HOP_END: char = '\n';

/// A binding as it outlives a restart. It never changes: a refresh makes another.
#[derive(Clone, PartialEq)]
pub struct StoredBinding {
    terms: Terms,
    text: Text,
}

/// All of a binding that is not text.
#[derive(Clone, Copy, PartialEq)]
pub struct Terms {
    /// Whose.
    pub line: LineId,
    /// Where it registered from. The number of a stream does not outlive the process.
    pub flow: Flow,
    /// When it ends.
    pub expires: UtcMillis,
    /// When it was first registered.
    pub registered: UtcMillis,
    /// The CSeq number that registered it.
    pub cseq: u32,
    /// RFC 5626's flow number where outbound is used, otherwise 0.
    pub reg_id: u32,
    /// Preference, thousandths; 0..=1000, default 1000.
    pub q_millis: u16,
}

/// The parts of a binding's text.
#[derive(Clone, Copy, Default)]
pub struct Parts<'a> {
    /// The URI as registered.
    pub contact: &'a str,
    /// `;name=value` as registered, without `q` and `expires`: for queries and for extensions that others understand.
    pub params: &'a str,
    /// The Call-ID that registered it.
    pub call_id: &'a str,
    /// `+sip.instance` (RFC 5626) without quotes; empty if none.
    pub instance: &'a str,
    /// At most 128 characters; empty if none.
    pub user_agent: &'a str,
    /// The Path it came by (RFC 3327): hops with a line feed behind each; nearest first.
    pub path: &'a str,
}

/// Six strings behind one another.
#[derive(Clone, PartialEq)]
struct Text {
    all: Box<str>,
    ends: [u16; 5],
}

impl Text {
    fn pack(parts: &Parts<'_>) -> Option<Self> {
        let Parts { contact, params, call_id, instance, user_agent, path } = *parts;
        let pieces = [contact, params, call_id, instance, user_agent, path];
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        if length > TEXT_BYTES_MAX {
            return None;
        }
        let mut all = String::with_capacity(length);
        let mut ends = [0; 5];
        for (index, piece) in pieces.iter().enumerate() {
            all.push_str(piece);
            if let Some(end) = ends.get_mut(index) {
                *end = u16::try_from(all.len()).ok()?;
            }
        }
        Some(Self { all: all.into_boxed_str(), ends })
    }

    fn piece(&self, index: usize) -> &str {
        let from = if index == 0 { 0 } else { self.ends[index - 1].into() };
        let to = self.ends.get(index).map_or(self.all.len(), |&end| end.into());
        &self.all[from..to]
    }
}

/// How a contact is recognised: by device and flow number (RFC 5626 §6), or by its URI (RFC 3261 §10.3).
#[derive(Clone, Copy)]
pub(super) enum Identity<'a> {
    Outbound { instance: &'a str, reg_id: u32 },
    Uri(Uri<'a>),
}

impl Identity<'_> {
    /// Whether both mean the same contact.
    pub(super) fn is(&self, other: &Identity<'_>) -> bool {
        match (self, other) {
            (
                Self::Outbound { instance, reg_id },
                Identity::Outbound { instance: other_instance, reg_id: other_reg_id },
            ) => reg_id == other_reg_id && same_instance(instance, other_instance),
            (Self::Uri(uri), Identity::Uri(other)) => uri == other,
            _ => false,
        }
    }
}

/// Instances are URNs; those of phones are UUIDs, whose digits have no case (RFC 9562 §4).
fn same_instance(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

impl StoredBinding {
    /// Packs a binding; `None` if its text is longer than 4,096 bytes.
    pub fn new(terms: Terms, parts: &Parts<'_>) -> Option<Self> {
        Some(Self { terms, text: Text::pack(parts)? })
    }

    /// The same over another flow.
    pub(super) fn over(&self, flow: Flow) -> Self {
        Self { terms: Terms { flow, ..self.terms }, text: self.text.clone() }
    }

    /// Whose it is.
    pub const fn line(&self) -> LineId {
        self.terms.line
    }

    /// All of it that is not text.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The contact URI as registered.
    pub fn contact(&self) -> &str {
        self.text.piece(0)
    }

    pub(super) fn params(&self) -> &str {
        self.text.piece(1)
    }

    pub(super) fn call_id(&self) -> &str {
        self.text.piece(2)
    }

    pub(super) fn instance(&self) -> Option<&str> {
        Some(self.text.piece(3)).filter(|text| !text.is_empty())
    }

    pub(super) fn user_agent(&self) -> Option<&str> {
        Some(self.text.piece(4)).filter(|text| !text.is_empty())
    }

    /// The hops of its Path, nearest first.
    pub(super) fn path(&self) -> impl Iterator<Item = &str> {
        self.text.piece(5).split_terminator(HOP_END)
    }

    /// Whether there is any way to the device but its flow.
    pub(super) fn has_another_way(&self) -> bool {
        !self.text.piece(5).is_empty() || Push::of(self.contact()).is_some()
    }

    pub(super) const fn is_outbound(&self) -> bool {
        self.terms.reg_id > 0
    }

    /// Unique within the line, the same after a restart: instance and flow number, or the contact URI (RFC 5626 §6,
    /// RFC 3261 §10.2).
    pub fn key(&self) -> Cow<'_, str> {
        match self.instance() {
            Some(instance) if self.is_outbound() => {
                Cow::Owned(format!("{instance};reg-id={}", self.terms.reg_id))
            }
            _ => Cow::Borrowed(self.contact()),
        }
    }

    /// Whether it is a contact of that device.
    pub(super) fn is_of_device(&self, instance: &str) -> bool {
        self.instance().is_some_and(|own| same_instance(own, instance))
    }

    /// Whether it is the contact of that identity.
    pub(super) fn is(&self, identity: &Identity<'_>) -> bool {
        match (identity, self.instance()) {
            (Identity::Outbound { instance, reg_id }, Some(own)) => {
                self.terms.reg_id == *reg_id && same_instance(own, instance)
            }
            (Identity::Uri(uri), _) if !self.is_outbound() => {
                Uri::parse(self.contact()).is_ok_and(|own| own == *uri)
            }
            _ => false,
        }
    }
}

/// Contact, addresses and push token are personal data: only the shape shows.
impl fmt::Debug for StoredBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Terms { line, flow, expires, reg_id, q_millis, .. } = self.terms;
        f.debug_struct("StoredBinding")
            .field("line", &line)
            .field("transport", &flow.transport)
            .field("expires", &expires)
            .field("reg_id", &reg_id)
            .field("q_millis", &q_millis)
            .finish_non_exhaustive()
    }
}

/// The form in the database; earlier and later versions read it too.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    line: LineId,
    /// Follows from the others; earlier versions read it.
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    contact: Cow<'a, str>,
    #[serde(borrow)]
    params: Cow<'a, str>,
    q_millis: u16,
    expires: UtcMillis,
    #[serde(borrow)]
    call_id: Cow<'a, str>,
    cseq: u32,
    path: Vec<Cow<'a, str>>,
    instance: Option<Cow<'a, str>>,
    reg_id: Option<u32>,
    #[serde(borrow)]
    transport: Cow<'a, str>,
    listener: u16,
    local: SocketAddr,
    remote: SocketAddr,
    connection: Option<u64>,
    user_agent: Option<Cow<'a, str>>,
    registered: UtcMillis,
}

impl Serialize for StoredBinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Terms { line, flow, expires, registered, cseq, q_millis, reg_id } = self.terms;
        let Flow { listener, transport, local, remote, connection } = flow;
        let row = Row {
            line,
            key: self.key(),
            contact: self.contact().into(),
            params: self.params().into(),
            q_millis,
            expires,
            call_id: self.call_id().into(),
            cseq,
            path: self.path().map(Cow::Borrowed).collect(),
            instance: self.instance().map(Cow::Borrowed),
            reg_id: self.is_outbound().then_some(reg_id),
            transport: transport.to_string().into(),
            listener: listener.0,
            local,
            remote,
            connection: connection.map(|connection| connection.0),
            user_agent: self.user_agent().map(Cow::Borrowed),
            registered,
        };
        row.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for StoredBinding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let row = Row::deserialize(deserializer)?;
        let transport: Transport =
            row.transport.parse().map_err(|_| de::Error::custom("no transport of that name"))?;
        let flow = Flow {
            listener: ListenerId(row.listener),
            transport,
            local: row.local,
            remote: row.remote,
            connection: row.connection.map(ConnectionId),
        };
        let path: String = row.path.iter().flat_map(|hop| [&**hop, "\n"]).collect();
        let parts = Parts {
            contact: &row.contact,
            params: &row.params,
            call_id: &row.call_id,
            instance: row.instance.as_deref().unwrap_or_default(),
            user_agent: row.user_agent.as_deref().unwrap_or_default(),
            path: &path,
        };
        let Row { line, expires, registered, cseq, q_millis, .. } = row;
        let reg_id = row.reg_id.unwrap_or(0);
        let terms = Terms { line, flow, expires, registered, cseq, reg_id, q_millis };
        Self::new(terms, &parts).ok_or_else(|| de::Error::custom("longer than a binding may be"))
    }
}
