//! The answers to a REGISTER, written straight into the buffer that is sent.

use std::{borrow::Cow, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_base::{Instant, Moment, UtcMillis};
use offhook_sip::{
    header::{HeaderName, Quoted},
    message::{Request, StatusCode},
    uri::Uri,
    write::{HeaderValue, Line},
};

use super::{
    RegistrarConfig,
    binding::Binding,
    fault::Fault,
    gruu::{Mint, TempUser},
    request::Change,
    stored::HOP_END,
    target::Push,
};
use crate::directory::LineId;

/// What a 200 tells.
pub(super) struct Granted<'a> {
    pub(super) line: LineId,
    /// All contacts of the line (RFC 3261 §10.3 step 8).
    pub(super) bindings: &'a [Binding],
    /// The mint, if the device understands GRUUs.
    pub(super) mint: Option<&'a Mint>,
    /// Outbound was used (RFC 5626 §6).
    pub(super) outbound: bool,
    /// `Flow-Timer` where outbound was used.
    pub(super) flow_timer: Option<Duration>,
    /// The Path to repeat (RFC 3327 §5.3).
    pub(super) path: &'a str,
    /// A contact's push service that we wake (RFC 8599 §5.3).
    pub(super) push_provider: Option<&'a str>,
}

/// Writes the 200.
pub(super) fn accept(
    request: &Request,
    granted: &Granted<'_>,
    now: Moment,
    to_tag: &str,
    out: &mut BytesMut,
) -> Bytes {
    let mut response = request.respond(out, StatusCode::OK, Some(to_tag));
    let to = request.headers().to().ok();
    let gruus = granted.mint.and_then(|mint| Some((mint, Address::of(to?.uri)?)));
    for binding in granted.bindings {
        let gruu = gruus.as_ref().and_then(|(mint, address)| Gruu::of(mint, granted.line, address, binding));
        response.header(&HeaderName::Contact, Told { binding, gruu, now: now.instant });
    }
    for hop in granted.path.split_terminator(HOP_END) {
        response.header(&HeaderName::Path, hop);
    }
    if granted.outbound {
        response.header(&HeaderName::Require, "outbound");
        if let Some(timer) = granted.flow_timer {
            response.header(&HeaderName::FlowTimer, timer.as_secs());
        }
    }
    if let Some(provider) = granted.push_provider {
        response.header(&HeaderName::FeatureCaps, format_args!("*;+sip.pns={}", Quoted(provider)));
    }
    response.header(&HeaderName::Supported, "path, outbound, gruu");
    response.header_with(&HeaderName::Date, |line| {
        line.display(Date(now.utc));
    });
    response.finish()
}

/// Writes the refusal that `fault` asks for, with its text as a Warning for people.
pub(super) fn refuse(request: &Request, fault: &Fault, to_tag: &str, out: &mut BytesMut) -> Bytes {
    let mut response = request.respond(out, fault.status(), Some(to_tag));
    match fault {
        Fault::Unsupported(tags) => response.header(&HeaderName::Unsupported, tags),
        Fault::TooBrief { min } => response.header(&HeaderName::MinExpires, min.as_secs()),
        Fault::Malformed(_) | Fault::OutOfOrder | Fault::LineFull { .. } | Fault::FirstHopLacksOutbound => {
            // RFC 3261 §20.43: 399 is free text.
            response.header(&HeaderName::Warning, format_args!("399 offhook \"{fault}\""))
        }
    };
    response.finish()
}

/// The push service to confirm: one that a living contact names and that is configured.
pub(super) fn confirmed_push<'a>(changes: &[Change<'_>], config: &'a RegistrarConfig) -> Option<&'a str> {
    let living = changes.iter().filter(|change| change.lifetime.is_some());
    living.filter_map(|change| Push::of(change.contact.uri())).find_map(|push| {
        let known = config.push_providers.iter().find(|known| known.eq_ignore_ascii_case(&push.provider));
        known.map(|known| &**known)
    })
}

/// A binding as a Contact value.
struct Told<'a> {
    binding: &'a Binding,
    gruu: Option<Gruu<'a>>,
    now: Instant,
}

impl HeaderValue for Told<'_> {
    fn write(&self, line: &mut Line<'_>) {
        let Self { binding, gruu, now } = self;
        line.text("<").text(binding.contact()).text(">").text(binding.params());
        let q_millis = binding.terms().q_millis;
        if q_millis < 1000 {
            line.display(format_args!(";q=0.{q_millis:03}"));
        }
        if let Some(Gruu { address, gr, temp_user }) = gruu {
            let Address { scheme, user, host } = address;
            line.display(format_args!(";pub-gruu=\"{scheme}:{user}@{host};gr={gr}\""));
            line.display(format_args!(";temp-gruu=\"{scheme}:{temp_user}@{host};gr\""));
        }
        // Never longer than it lasts, never 0: that would mean removed.
        line.text(";expires=").number(binding.ends.saturating_since(*now).as_secs().max(1));
    }
}

/// The address of record under which a device registered, as the base of its GRUUs.
struct Address<'a> {
    scheme: &'a str,
    user: &'a str,
    host: Cow<'a, str>,
}

impl<'a> Address<'a> {
    fn of(uri: &'a str) -> Option<Self> {
        let uri = Uri::parse(uri).ok()?;
        let host = match uri.port {
            Some(port) => Cow::Owned(format!("{}:{port}", uri.host)),
            None => Cow::Borrowed(uri.host),
        };
        Some(Self { scheme: uri.scheme.as_str(), user: uri.user?, host })
    }
}

/// The GRUUs of one binding (RFC 5627 §5.4).
struct Gruu<'a> {
    address: &'a Address<'a>,
    gr: ParamValue<'a>,
    temp_user: TempUser,
}

impl<'a> Gruu<'a> {
    fn of(mint: &Mint, line: LineId, address: &'a Address<'a>, binding: &'a Binding) -> Option<Self> {
        let temp_user = mint.temporary(line, binding)?;
        Some(Self { address, gr: ParamValue(binding.instance()?), temp_user })
    }
}

/// Writes text as the value of a URI parameter (`pvalue` of RFC 3261 §25.1).
struct ParamValue<'a>(&'a str);

impl fmt::Display for ParamValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0.bytes() {
            if octet.is_ascii_alphanumeric() || b"[]/:&+$-_.!~*'()".contains(&octet) {
                fmt::Write::write_char(f, octet.into())?;
            } else {
                write!(f, "%{octet:02X}")?;
            }
        }
        Ok(())
    }
}

/// RFC 3261 §20.17: phones without another clock set theirs by it.
struct Date(UtcMillis);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day, hour, minute, second) = self.0.civil();
        let weekday = self.0.as_secs().div_euclid(86_400).rem_euclid(7);
        let weekday = DAYS[usize::try_from(weekday).unwrap_or(0)];
        let month = MONTHS[usize::from(month.clamp(1, 12)) - 1];
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}
