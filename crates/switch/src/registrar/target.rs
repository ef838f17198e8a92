//! What call control gets of a binding: where and how to reach a device.

use std::borrow::Cow;

use offhook_sip::{transport::Destination, uri::Uri};

use super::binding::{Binding, BindingId};

/// A device to try.
#[derive(Clone)]
pub struct Target {
    /// Its binding; not used again after the binding is gone.
    pub binding: BindingId,
    /// The contact as registered: the Request-URI for it (RFC 3261 §16.5).
    pub request_uri: Box<str>,
    /// Where to send. `None`: take the first of `path` and ask DNS (RFC 3263), or without a path wake the device first.
    pub destination: Option<Destination>,
    /// Route headers to put on the request (RFC 3327 §5.3), each `<uri>`, nearest hop first.
    pub path: Vec<Box<str>>,
    /// The device, without quotes and angle brackets, if it named itself (RFC 5626).
    pub instance: Option<Box<str>>,
    /// How to wake the device before anything is sent to it (RFC 8599).
    pub push: Option<Push>,
    /// Its User-Agent header, at most 128 characters.
    pub user_agent: Option<Box<str>>,
    /// Preference, thousandths.
    pub q_millis: u16,
}

/// Contact, addresses and push token are personal data: only the shape shows.
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target")
            .field("binding", &self.binding)
            .field("reachable", &self.destination.is_some())
            .field("hops", &self.path.len())
            .field("push", &self.push.is_some())
            .field("q_millis", &self.q_millis)
            .finish_non_exhaustive()
    }
}

impl Target {
    pub(super) fn of(binding: &Binding) -> Self {
        Self {
            binding: binding.id,
            request_uri: binding.contact().into(),
            destination: binding.destination(),
            path: binding.path().map(Box::from).collect(),
            instance: binding.instance().map(Box::from),
            push: Push::of(binding.contact()),
            user_agent: binding.user_agent().map(Box::from),
            q_millis: binding.terms().q_millis,
        }
    }

    /// As [`Binding::is_within_reach`].
    fn is_within_reach(&self) -> bool {
        self.destination.is_some() || !self.path.is_empty() || self.push.is_some()
    }
}

/// A device's push service, from the parameters of its contact URI (RFC 8599 §4.1), without escapes.
#[derive(Clone, PartialEq, Eq)]
pub struct Push {
    /// The service, for example `apns`, `fcm`, `webpush`.
    pub provider: Box<str>,
    /// What names the device to the service: a secret of the subscriber.
    pub prid: Box<str>,
    /// What the service needs besides; may be empty.
    pub param: Box<str>,
}

/// Whoever knows the token can wake the device: it stays hidden.
impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Push").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Push {
    /// The push service of a contact URI, if it names one and the device's id with it.
    pub(super) fn of(contact: &str) -> Option<Self> {
        let uri = Uri::parse(contact).ok()?;
        let value =
            |name: &str| uri.param(name).flatten().map(offhook_sip::uri::unescape).map(Cow::into_owned);
        Some(Self {
            provider: value("pn-provider")?.into(),
            prid: value("pn-prid")?.into(),
            param: value("pn-param").unwrap_or_default().into(),
        })
    }
}

/// The devices to ring: by falling q one after the other, those of the same q together (RFC 3261 §16.6). Of a device
/// with several flows only the one that was refreshed last, for all lead to the same ear (RFC 5626 §7).
pub(super) fn groups<'a>(bindings: impl Iterator<Item = &'a Binding>) -> Vec<Vec<Target>> {
    let mut chosen: Vec<&Binding> = Vec::new();
    for binding in bindings {
        let twin = chosen.iter_mut().find(|other| {
            binding.is_outbound()
                && other.is_outbound()
                && binding.instance().is_some_and(|instance| other.is_of_device(instance))
        });
        match twin {
            Some(other) if binding.is_preferred_to(other) => *other = binding,
            Some(_) => {}
            None => chosen.push(binding),
        }
    }
    let mut targets: Vec<Target> =
        chosen.into_iter().map(Target::of).filter(Target::is_within_reach).collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.q_millis));
    let mut groups: Vec<Vec<Target>> = Vec::new();
    for target in targets {
        match groups.last_mut() {
            Some(group) if group.first().is_some_and(|first| first.q_millis == target.q_millis) => {
                group.push(target)
            }
            _ => groups.push(vec![target]),
        }
    }
    groups
}

/// All ways to one device, the best first: what is tried in turn until one is not dead (RFC 5626 §7).
pub(super) fn flows<'a>(bindings: impl Iterator<Item = &'a Binding>) -> Vec<Target> {
    let mut found: Vec<&Binding> = bindings.collect();
    found.sort_by(|one, other| {
        if one.is_preferred_to(other) { std::cmp::Ordering::Less } else { std::cmp::Ordering::Greater }
    });
    found.into_iter().map(Target::of).filter(Target::is_within_reach).collect()
}
