//! The rules of a peer as calls use them: checked, and apart by direction.

use offhook_sip::{header::HeaderName, uri::Uri};

use super::{
    addresses::Change,
    document::{Action, Direction, RuleDocument},
};
use crate::routing::NumberPlan;

/// Rules of one peer at most: each is gone through for each INVITE.
pub const RULES_MAX: usize = 64;

/// Octets of what a rule writes at most: an address with a name.
const VALUE_BYTES_MAX: usize = 256;

/// Symbols that a user may begin with otherwise, at most.
const BEGINNING_MAX: usize = 32;

/// What RFC 3323 §4.1.1.3 puts in the place of a host that is hidden.
const HIDDEN_HOST: &str = "anonymous.invalid";

/// The headers whose URIs a rule may change.
const WITH_URIS: &[HeaderName] = {
    use HeaderName as H;
    &[
        H::From,
        H::To,
        H::PAssertedIdentity,
        H::PPreferredIdentity,
        H::RemotePartyId,
        H::Diversion,
        H::HistoryInfo,
        H::ReferredBy,
        H::ReplyTo,
    ]
};

/// The headers that make dialog, transaction, session and proof: the node's alone.
const OURS: &[HeaderName] = {
    use HeaderName as H;
    &[
        H::Via,
        H::From,
        H::To,
        H::CallId,
        H::CSeq,
        H::Contact,
        H::MaxForwards,
        H::Route,
        H::RecordRoute,
        H::ContentLength,
        H::ContentType,
        H::ContentEncoding,
        H::ContentDisposition,
        H::Supported,
        H::Require,
        H::ProxyRequire,
        H::SessionExpires,
        H::MinSe,
        H::RSeq,
        H::RAck,
        H::Authorization,
        H::ProxyAuthorization,
        H::Replaces,
    ]
};

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    RequestUri,
    Header(HeaderName),
    /// A header that has no name of ours.
    Other(Box<str>),
}

impl Subject {
    fn parse(text: &str) -> Self {
        match HeaderName::parse(text) {
            _ if text.eq_ignore_ascii_case("Request-URI") => Self::RequestUri,
            Some(known) => Self::Header(known),
            None => Self::Other(text.into()),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::RequestUri => "Request-URI",
            Self::Header(name) => name.as_str(),
            Self::Other(name) => name,
        }
    }

    /// Whether a line of this name is meant.
    pub fn is(&self, known: Option<HeaderName>, name: &str) -> bool {
        match self {
            Self::RequestUri => false,
            Self::Header(wanted) => known == Some(*wanted),
            Self::Other(wanted) => known.is_none() && wanted.eq_ignore_ascii_case(name),
        }
    }
}

/// What is done.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    Remove,
    Add(Box<str>),
    Set(Box<str>),
    Change(Change),
}

/// A rule.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub name: Box<str>,
    pub subject: Subject,
    pub deed: Deed,
}

/// The rules of a peer.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    pub(super) incoming: Vec<Rule>,
    pub(super) outgoing: Vec<Rule>,
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleFault {
    /// Within the list: `[2].header`.
    pub place: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl HeaderRules {
    /// What `documents` say.
    ///
    /// # Errors
    /// All that is wrong with them.
    pub fn new(documents: &[RuleDocument], plan: Option<&NumberPlan>) -> Result<Self, Vec<RuleFault>> {
        if documents.len() > RULES_MAX {
            let what = format!("a peer has at most {RULES_MAX} rules");
            return Err(vec![RuleFault { place: String::new(), what }]);
        }
        let (mut rules, mut faults) = (Self::default(), Vec::new());
        for (number, document) in documents.iter().enumerate() {
            match rule(number, document, plan) {
                Ok(rule) if document.direction == Direction::In => rules.incoming.push(rule),
                Ok(rule) => rules.outgoing.push(rule),
                Err((field, what)) => faults.push(RuleFault { place: format!("[{number}].{field}"), what }),
            }
        }
        if faults.is_empty() { Ok(rules) } else { Err(faults) }
    }

    /// Those of one direction, if there are any.
    pub(super) fn of(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::In => &self.incoming,
            Direction::Out => &self.outgoing,
        }
    }

    /// Whether there is none for this direction.
    pub fn is_empty(&self, direction: Direction) -> bool {
        self.of(direction).is_empty()
    }
}

fn rule(
    number: usize,
    document: &RuleDocument,
    plan: Option<&NumberPlan>,
) -> Result<Rule, (&'static str, String)> {
    let RuleDocument { name, direction, header, action, value, form, strip, prepend } = document;
    let subject = Subject::parse(header);
    let changes_uris = matches!(action, Action::Number | Action::User | Action::Host);
    check_subject(&subject, *direction, *action, changes_uris).map_err(|what| ("header", what))?;
    let is_text = |text: &str| {
        text.len() <= VALUE_BYTES_MAX && !text.trim().is_empty() && !text.contains(char::is_control)
    };
    if value.as_deref().is_some_and(|value| !is_text(value)) {
        let what = format!("allowed are 1 to {VALUE_BYTES_MAX} octets without control characters");
        return Err(("value", what));
    }
    let needs = |what: &str| what.to_string();
    if value.is_some() && !matches!(action, Action::Add | Action::Set | Action::Host) {
        return Err(("value", needs("only add, set and host have a value")));
    }
    if form.is_some() && *action != Action::Number {
        return Err(("form", needs("only number has a form")));
    }
    if !(strip.is_empty() && prepend.is_empty()) && *action != Action::User {
        return Err(("strip", needs("only user has strip and prepend")));
    }
    let deed = match action {
        Action::Remove => Deed::Remove,
        Action::Add | Action::Set => {
            let value = value.clone().ok_or_else(|| ("value", needs("what is to be written is missing")))?;
            if *action == Action::Add { Deed::Add(value) } else { Deed::Set(value) }
        }
        Action::Number => {
            let form = form.ok_or_else(|| ("form", needs("write plus, e164, national or international")))?;
            let plan = plan.ok_or_else(|| {
                ("form", needs("numbers cannot be written anew without the tenant's `numbers` (country, national, international)"))
            })?;
            Deed::Change(Change::Number(plan.clone(), form))
        }
        Action::User => {
            let is_beginning = |text: &str| {
                text.len() <= BEGINNING_MAX
                    && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+*#-_.".contains(&octet))
            };
            if strip == prepend || !is_beginning(strip) || !is_beginning(prepend) {
                let what = format!(
                    "strip and prepend differ, and have up to {BEGINNING_MAX} letters, digits and +*#-_."
                );
                return Err(("strip", what));
            }
            Deed::Change(Change::User { strip: strip.clone(), prepend: prepend.clone() })
        }
        Action::Host => {
            let host = value.as_deref().unwrap_or(HIDDEN_HOST);
            let is_host = |uri: Uri<'_>| uri.host == host && uri.user.is_none() && uri.port.is_none();
            if !Uri::parse(&format!("sip:{host}")).is_ok_and(is_host) {
                return Err(("value", needs("not a host name or address; IPv6 stands in brackets; no port")));
            }
            Deed::Change(Change::Host(host.into()))
        }
    };
    let name = if name.is_empty() { format!("{number}").into() } else { name.clone() };
    Ok(Rule { name, subject, deed })
}

/// Whether a rule may do that there.
fn check_subject(
    subject: &Subject,
    direction: Direction,
    action: Action,
    changes_uris: bool,
) -> Result<(), String> {
    let is_token = |name: &str| {
        let is_name = |octet: u8| octet.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&octet);
        !name.is_empty() && name.len() <= 64 && name.bytes().all(is_name)
    };
    match subject {
        Subject::Other(name) if !is_token(name) => {
            Err("a header's name has 1 to 64 letters, digits and -.!%*_+`'~".into())
        }
        // Answers repeat To as it came (RFC 3261 §8.2.6.2), and nobody else reads it.
        Subject::Header(HeaderName::To) if direction == Direction::In => {
            Err("To of what comes in is not looked at: change the Request-URI".into())
        }
        // Whose call it is hangs on the domain.
        Subject::RequestUri if direction == Direction::In && action == Action::Host => {
            Err("the host of what comes in stays: it says whose call it is".into())
        }
        Subject::RequestUri if changes_uris => Ok(()),
        Subject::Header(name) if changes_uris && WITH_URIS.contains(name) => Ok(()),
        _ if changes_uris => {
            let names: Vec<_> = WITH_URIS.iter().map(|name| name.as_str()).collect();
            Err(format!("number, user and host work on Request-URI, {}", names.join(", ")))
        }
        Subject::RequestUri => Err("the Request-URI can have number, user and host".into()),
        Subject::Header(name) if OURS.contains(name) => Err(format!(
            "{} is the node's own; allowed is what makes no dialog, session or proof",
            name.as_str()
        )),
        Subject::Header(_) | Subject::Other(_) => Ok(()),
    }
}
