//! What a REGISTER asks for: read and checked whole before anything changes (RFC 3261 §10.3 steps 5 to 7).

use std::{borrow::Cow, time::Duration};

use offhook_sip::{
    header::{Contact, Contacts, HeaderName, Headers, NameAddr},
    message::Request,
    uri::Uri,
};

use super::{
    RegistrarConfig,
    binding::{Binding, USER_AGENT_LETTERS_MAX},
    fault::Fault,
    stored::{HOP_END, Identity},
};

/// Contacts in one REGISTER. A device sends one, or two while it changes its address; each is compared with each.
const CONTACTS_MAX: usize = 32;

/// Hops in a Path (RFC 3327). More proxies stand before no phone, and a loop must end somewhere.
const PATH_HOPS_MAX: usize = 8;

/// Bounds of text that is kept. Bytes; RFC 3261 §18.1.1's datagrams hold no more either.
const CONTACT_BYTES_MAX: usize = 1024;
const CALL_ID_BYTES_MAX: usize = 256;

/// Extensions whose option tag a REGISTER may require.
const SUPPORTED: [&str; 3] = ["path", "outbound", "gruu"];

/// A REGISTER, read.
pub(super) struct Plan<'a> {
    pub(super) call_id: &'a str,
    pub(super) cseq: u32,
    pub(super) user_agent: &'a str,
    /// Its Path with [`HOP_END`] behind each hop, nearest first.
    pub(super) path: String,
    /// The device understands GRUUs (RFC 5627 §4.1).
    pub(super) wants_gruu: bool,
    pub(super) action: Action<'a>,
}

/// What shall be done.
pub(super) enum Action<'a> {
    /// No Contact: only tell.
    Query,
    /// `Contact: *` with `Expires: 0`.
    RemoveAll,
    /// Add, refresh and remove, in this order; no two of the same identity.
    Change(Vec<Change<'a>>),
}

/// One contact to add, refresh or remove.
pub(super) struct Change<'a> {
    pub(super) contact: Contact<'a>,
    pub(super) uri: Uri<'a>,
    /// `None` removes it.
    pub(super) lifetime: Option<Duration>,
    pub(super) instance: Cow<'a, str>,
    /// Flow number where outbound applies, otherwise 0.
    pub(super) reg_id: u32,
}

impl<'a> Change<'a> {
    pub(super) fn identity(&self) -> Identity<'_> {
        match self.reg_id {
            0 => Identity::Uri(self.uri),
            reg_id => Identity::Outbound { instance: &self.instance, reg_id },
        }
    }

    pub(super) fn q_millis(&self) -> u16 {
        self.contact.q().unwrap_or(1000)
    }

    /// Its parameters as registered, but those that are told anew in each answer.
    pub(super) fn params(&self) -> String {
        let mut kept = String::new();
        for (name, value) in self.contact.params().iter() {
            let told_anew =
                ["q", "expires", "pub-gruu", "temp-gruu"].iter().any(|own| name.eq_ignore_ascii_case(own));
            // A folded quoted value would break the line it is told on.
            if told_anew || value.is_some_and(|value| value.contains(char::is_control)) {
                continue;
            }
            kept.push(';');
            kept.push_str(name);
            if let Some(value) = value {
                kept.push('=');
                kept.push_str(value);
            }
        }
        kept
    }
}

impl<'a> Plan<'a> {
    /// Reads `request`.
    pub(super) fn read(request: &'a Request, config: &RegistrarConfig) -> Result<Self, Fault> {
        let headers = request.headers();
        let unsupported: Vec<Box<str>> = headers
            .require()
            .filter(|tag| !SUPPORTED.iter().any(|known| known.eq_ignore_ascii_case(tag)))
            .map(Box::from)
            .collect();
        if !unsupported.is_empty() {
            return Err(Fault::Unsupported(unsupported.join(", ").into()));
        }
        let call_id = headers.call_id().map_err(|_| Fault::Malformed("the Call-ID is malformed"))?;
        if call_id.len() > CALL_ID_BYTES_MAX {
            return Err(Fault::Malformed("the Call-ID is too long"));
        }
        let path = read_path(headers)?;
        let reach = Outbound::of(headers, &path);
        let action = match headers.contacts().map_err(|_| Fault::Malformed("a Contact is malformed"))? {
            Contacts::Star => remove_all(headers)?,
            contacts if contacts.as_slice().is_empty() => Action::Query,
            contacts => Action::Change(read_changes(contacts.as_slice(), headers, reach, config)?),
        };
        Ok(Self {
            call_id,
            cseq: headers.cseq().map_err(|_| Fault::Malformed("the CSeq is malformed"))?.number,
            user_agent: headers.first(&HeaderName::UserAgent).map_or("", first_letters),
            path,
            wants_gruu: headers.supports("gruu"),
            action,
        })
    }

    /// What it wants changed; empty for a query and for the removal of all.
    pub(super) fn changes(&self) -> &[Change<'a>] {
        match &self.action {
            Action::Change(changes) => changes,
            Action::Query | Action::RemoveAll => &[],
        }
    }

    /// Whether `binding` was made by this request or a later one of the same device (RFC 3261 §10.3 steps 6 and 7).
    pub(super) fn is_overtaken_by(&self, binding: &Binding) -> bool {
        binding.call_id() == self.call_id && self.cseq <= binding.terms().cseq
    }
}

/// Whether flow numbers apply (RFC 5626 §6).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outbound {
    /// The device supports it, and its first hop is us or a proxy that does.
    Works,
    /// The device does not; flow numbers are ignored.
    Unknown,
    /// The device does, its first proxy does not.
    FirstHopLacksIt,
}

impl Outbound {
    fn of(headers: &Headers, path: &str) -> Self {
        if !headers.supports("outbound") {
            return Self::Unknown;
        }
        // The first proxy wrote its hop first, so it stands last.
        let first_hop = path.split_terminator(HOP_END).next_back();
        let direct = headers.values(&HeaderName::Via).nth(1).is_none();
        let works = match first_hop {
            Some(hop) => NameAddr::parse(hop)
                .and_then(|hop| Some(hop.parsed_uri().ok()?.has_param("ob")))
                .unwrap_or(false),
            None => direct,
        };
        if works { Self::Works } else { Self::FirstHopLacksIt }
    }
}

/// RFC 3261 §10.3 step 6: `*` only with `Expires: 0`. That it stands alone has been checked.
fn remove_all<'a>(headers: &Headers) -> Result<Action<'a>, Fault> {
    match headers.expires() {
        Some(0) => Ok(Action::RemoveAll),
        _ => Err(Fault::Malformed("Contact * needs Expires 0")),
    }
}

fn read_changes<'a>(
    contacts: &[Contact<'a>],
    headers: &Headers,
    outbound: Outbound,
    config: &RegistrarConfig,
) -> Result<Vec<Change<'a>>, Fault> {
    if contacts.len() > CONTACTS_MAX {
        return Err(Fault::Malformed("too many contacts in one request"));
    }
    let default = default_lifetime(headers, config);
    let mut changes: Vec<Change<'a>> = Vec::with_capacity(contacts.len());
    for &contact in contacts {
        let change = read_change(contact, default, outbound, config)?;
        // The last word on a contact counts.
        changes.retain(|earlier| !earlier.identity().is(&change.identity()));
        changes.push(change);
    }
    // RFC 5626 §6: a flow number speaks of this flow, so there can be one contact that lives.
    let living = changes.iter().filter(|change| change.lifetime.is_some()).count();
    if living > 1 && changes.iter().any(|change| change.reg_id > 0) {
        return Err(Fault::Malformed("a contact with reg-id must be the only one"));
    }
    Ok(changes)
}

fn read_change<'a>(
    contact: Contact<'a>,
    default: Duration,
    outbound: Outbound,
    config: &RegistrarConfig,
) -> Result<Change<'a>, Fault> {
    if contact.uri().len() > CONTACT_BYTES_MAX || contact.params().as_str().len() > CONTACT_BYTES_MAX {
        return Err(Fault::Malformed("a Contact is too long"));
    }
    let uri = Uri::parse(contact.uri()).map_err(|_| Fault::Malformed("a Contact URI is malformed"))?;
    if !uri.scheme.is_sip() {
        return Err(Fault::Malformed("a Contact is no SIP URI"));
    }
    let instance = contact.instance().filter(|text| !text.contains(char::is_control)).unwrap_or_default();
    let reg_id = match (outbound, contact.reg_id()) {
        (Outbound::Unknown, _) | (_, None) => 0,
        _ if instance.is_empty() => 0,
        (Outbound::Works, Some(reg_id)) => reg_id,
        (Outbound::FirstHopLacksIt, Some(_)) => return Err(Fault::FirstHopLacksOutbound),
    };
    let asked = contact.expires().map_or(default, |seconds| Duration::from_secs(seconds.into()));
    if !asked.is_zero() && asked < config.expires_min {
        return Err(Fault::TooBrief { min: config.expires_min });
    }
    let lifetime = (!asked.is_zero()).then_some(asked.min(config.expires_max));
    Ok(Change { contact, uri, lifetime, instance, reg_id })
}

/// What holds for contacts without an `expires` parameter. RFC 3261 §20.19: a malformed header counts as 3600 s.
fn default_lifetime(headers: &Headers, config: &RegistrarConfig) -> Duration {
    match headers.expires() {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None if headers.contains(&HeaderName::Expires) => Duration::from_secs(3600),
        None => config.expires_default,
    }
}

/// RFC 3327 §5.3: the hops by which the REGISTER came, if the device knows that they will be used.
fn read_path(headers: &Headers) -> Result<String, Fault> {
    let mut path = String::new();
    for (index, value) in headers.values(&HeaderName::Path).enumerate() {
        if !headers.supports("path") {
            return Err(Fault::Unsupported("path".into()));
        }
        if index >= PATH_HOPS_MAX {
            return Err(Fault::Malformed("the Path has too many hops"));
        }
        let hop = NameAddr::parse(value).ok_or(Fault::Malformed("the Path is malformed"))?;
        if !hop.parsed_uri().is_ok_and(|uri| uri.scheme.is_sip()) {
            return Err(Fault::Malformed("the Path is malformed"));
        }
        // Only the URI is a route; parameters behind it concern the way up.
        path.extend(["<", hop.uri, ">"]);
        path.push(HOP_END);
    }
    Ok(path)
}

fn first_letters(text: &str) -> &str {
    let end = text.char_indices().nth(USER_AGENT_LETTERS_MAX).map_or(text.len(), |(end, _)| end);
    let kept = &text[..end];
    if kept.contains(char::is_control) { "" } else { kept }
}
