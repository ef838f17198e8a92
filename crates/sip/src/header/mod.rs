//! Header fields: one index of slices over the received octets, typed on demand.
//!
//! [`Headers`] is like the thumb index of a dictionary: parsing a message cuts one notch per header line (kind, where the
//! name is, where the value is) and copies nothing. An accessor walks the notches, a few dozen octets each, and
//! looks into the text only where the kind fits. What everybody asks for is taken apart once (`essentials`).

mod auth;
mod date;
mod essentials;
mod lists;
mod name;
mod name_addr;
mod params;
pub(crate) mod scan;
mod session;
mod typed;
mod via;

pub use auth::{AuthParams, Challenge, Credentials, DigestChallenge, DigestCredentials};
pub use date::parse_date;
pub use lists::{Addresses, HistoryEntry, MediaType, Reason, Tokens, Values, Warning};
pub use name::HeaderName;
pub use name_addr::{Contact, Contacts, NameAddr, PushParams, Quoted};
pub use params::{PARAMS_MAX, Params};
pub use scan::unfold;
pub use session::{CSeq, DialogRef, Event, RAck, Refresher, SessionExpires};
pub use via::Via;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use bytestring::ByteString;

use self::essentials::Essentials;

/// Header lines of one message: a busy proxy chain makes about 60; more is an attack.
pub const HEADERS_MAX: usize = 256;

/// Octets of one header line, folds included: room for an Identity token or a certificate.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// Via values of one message: Max-Forwards starts at 70, so no honest request has passed more hops.
pub const VIAS_MAX: usize = 70;

/// Comma-separated values one list accessor hands out.
pub const VALUES_MAX: usize = 256;

/// What is wrong with a header a typed accessor was asked for. Its value is not repeated: it may name a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It must be there and is not.
    #[error("Missing {0}")]
    Missing(HeaderName),
    /// It may stand there once.
    #[error("Repeated {0}")]
    Repeated(HeaderName),
    /// It does not follow its grammar, or a number does not fit.
    #[error("Bad {0}")]
    Malformed(HeaderName),
    /// More values than this crate's bounds allow.
    #[error("Too many {0}")]
    TooMany(HeaderName),
}

impl HeaderError {
    /// The header.
    pub const fn name(self) -> HeaderName {
        match self {
            Self::Missing(name) | Self::Repeated(name) | Self::Malformed(name) | Self::TooMany(name) => name,
        }
    }
}

/// One header line within the message.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) name_start: u32,
    pub(crate) value_start: u32,
    pub(crate) value_end: u32,
    pub(crate) name_len: u16,
    /// Discriminant of the [`HeaderName`], or [`name::NONE`].
    pub(crate) kind: u8,
}

/// The header lines of a message, in order. Clones share index and text.
#[derive(Clone)]
pub struct Headers(Arc<Index>);

struct Index {
    /// The whole message.
    bytes: Bytes,
    /// Its head, known to be UTF-8.
    head: ByteString,
    slots: Vec<Slot>,
    /// The known names that stand there once, and more than once, as [`HeaderName::bit`]s.
    present: u128,
    repeated: u128,
    essentials: Essentials,
}

impl Headers {
    /// Slots that fit without growing: what a call's messages carry at most (about 20 lines of our own peers' INVITEs).
    pub(crate) const EXPECTED: usize = 24;

    /// `head` is the text of the first octets of `bytes`; the slots are within it.
    pub(crate) fn new(bytes: Bytes, head: ByteString, slots: Vec<Slot>) -> Self {
        let (mut present, mut repeated) = (0, 0);
        for name in slots.iter().filter_map(|slot| HeaderName::from_discriminant(slot.kind)) {
            repeated |= present & name.bit();
            present |= name.bit();
        }
        let essentials = Essentials::read(&head, &slots);
        Self(Arc::new(Index { bytes, head, slots, present, repeated, essentials }))
    }

    /// The whole message.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    fn slots(&self) -> &[Slot] {
        &self.0.slots
    }

    /// Most names that are asked for are not there: one look instead of a walk.
    fn slots_of(&self, name: HeaderName) -> std::slice::Iter<'_, Slot> {
        if self.contains(&name) { self.slots().iter() } else { [].iter() }
    }

    fn essentials(&self) -> (&Essentials, &str) {
        (&self.0.essentials, &self.0.head)
    }

    /// Number of header lines.
    pub fn len(&self) -> usize {
        self.slots().len()
    }

    /// Whether there is no header line.
    pub fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    /// The value of the first line of that name as received, trimmed, folds included (see [`unfold`]).
    pub fn first(&self, name: &HeaderName) -> Option<&str> {
        self.slots_of(*name).find(|slot| slot.kind == *name as u8).map(|slot| self.value(slot))
    }

    /// The values of all lines of that name, as [`Headers::first`] gives them.
    pub fn all(&self, name: &HeaderName) -> impl Iterator<Item = &str> + use<'_> {
        let kind = *name as u8;
        self.slots_of(*name).filter(move |slot| slot.kind == kind).map(|slot| self.value(slot))
    }

    /// All values of that name: every line, split at commas outside quotes and angle brackets (RFC 3261 §7.3.1). Empty
    /// elements are left out. Not for headers whose value may hold commas of its own (credentials, challenges, Date).
    pub fn values(&self, name: &HeaderName) -> Values<'_> {
        Values::of(self, *name)
    }

    /// Whether a line of that name is there.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.0.present & name.bit() != 0
    }

    /// The first value of a header by its text, in any case: for names this crate does not know. Known ones are found too,
    /// under their long and compact forms.
    pub fn get(&self, name: &str) -> Option<&str> {
        match HeaderName::parse(name) {
            Some(known) => self.first(&known),
            None => self
                .slots()
                .iter()
                .find(|slot| slot.kind == name::NONE && self.name(slot).eq_ignore_ascii_case(name))
                .map(|slot| self.value(slot)),
        }
    }

    /// Every line in order: the name as received and its trimmed value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + use<'_> {
        self.slots().iter().map(|slot| (self.name(slot), self.value(slot)))
    }

    /// Every line in order, with the known name if it has one.
    pub fn lines(&self) -> impl Iterator<Item = (Option<HeaderName>, &str, &str)> + use<'_> {
        self.slots()
            .iter()
            .map(|slot| (HeaderName::from_discriminant(slot.kind), self.name(slot), self.value(slot)))
    }

    /// The first name of `set` (of [`HeaderName::bit`]s) that a second line has.
    pub(crate) fn first_repeated(&self, set: u128) -> Option<HeaderName> {
        if self.0.repeated & set == 0 {
            return None;
        }
        let mut seen = 0;
        self.slots().iter().filter_map(|slot| HeaderName::from_discriminant(slot.kind)).find(|name| {
            let is_repeated = seen & set & name.bit() != 0;
            seen |= name.bit();
            is_repeated
        })
    }

    fn name(&self, slot: &Slot) -> &str {
        let start = slot.name_start as usize;
        self.text(start, start + usize::from(slot.name_len))
    }

    fn value(&self, slot: &Slot) -> &str {
        self.text(slot.value_start as usize, slot.value_end as usize)
    }

    /// The parser cut at ASCII octets within the head, so the fallback is never taken; a wrong slot shall still cost a
    /// header, not the process.
    pub(crate) fn text(&self, start: usize, end: usize) -> &str {
        self.0.head.get(start..end).unwrap_or_default()
    }
}

/// Names only: values are personal.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.slots().iter().filter_map(|slot| HeaderName::from_discriminant(slot.kind));
        f.debug_list().entries(known).finish()
    }
}
