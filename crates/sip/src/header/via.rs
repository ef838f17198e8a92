//! Via (RFC 3261 §20.42, RFC 3581).

use std::{fmt, net::IpAddr};

use super::{
    essentials::{Span, ViaSpans},
    params::Params,
    scan::{number, take_token, trim, trim_start},
};
use crate::{overload::OverloadFeedback, transport::Transport, uri::is_host, write::Line};

/// The prefix of a branch that is unique by RFC 3261 §8.1.1.7.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via value.
#[derive(Clone, Copy)]
pub struct Via<'a> {
    /// Protocol name and version as in `SIP/2.0`, without white space.
    protocol: (&'a str, &'a str),
    /// The transport as written; see [`Via::transport`].
    transport: &'a str,
    host: &'a str,
    port: Option<u16>,
    params: Params<'a>,
    branch: Option<&'a str>,
    rport: Option<Option<u16>>,
}

impl<'a> Via<'a> {
    /// Takes one value apart; `None` if it does not follow the grammar.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (name, rest) = take_token(trim_start(value));
        let (version, rest) = take_token(trim_start(trim_start(rest).strip_prefix('/')?));
        let (transport, rest) = take_token(trim_start(trim_start(rest).strip_prefix('/')?));
        if name.is_empty()
            || version.is_empty()
            || transport.is_empty()
            || !rest.starts_with(super::scan::is_lws_char)
        {
            return None;
        }
        let (sent_by, params) = rest.split_at(memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len()));
        let (host, port) = sent_by_parts(trim(sent_by))?;
        let (mut branch, mut rport) = (None, None);
        let params = Params::parse_noting(params, |name, value| {
            if name.eq_ignore_ascii_case("branch") {
                branch.get_or_insert(value);
            } else if name.eq_ignore_ascii_case("rport") {
                rport.get_or_insert(value.and_then(number));
            }
        })?;
        Some(Self {
            protocol: (name, version),
            transport,
            host,
            port,
            params,
            branch: branch.flatten(),
            rport,
        })
    }

    /// Where its parts are in `head`, of which it is a piece.
    pub(super) fn spans(&self, head: &str) -> ViaSpans {
        let span = |part| Span::of(part, head);
        ViaSpans {
            name: span(self.protocol.0),
            version: span(self.protocol.1),
            transport: span(self.transport),
            host: span(self.host),
            port: self.port,
            params: span(self.params.as_str()),
            branch: self.branch.map(span),
            rport: self.rport,
        }
    }

    /// The Via whose parts are there in `head`.
    pub(super) fn at(spans: &ViaSpans, head: &'a str) -> Self {
        Self {
            protocol: (spans.name.text(head), spans.version.text(head)),
            transport: spans.transport.text(head),
            host: spans.host.text(head),
            port: spans.port,
            params: Params::checked(spans.params.text(head)),
            branch: spans.branch.map(|branch| branch.text(head)),
            rport: spans.rport,
        }
    }

    /// Whether the protocol is `SIP/2.0`.
    pub const fn is_sip_2(&self) -> bool {
        self.protocol.0.eq_ignore_ascii_case("SIP") && self.protocol.1.eq_ignore_ascii_case("2.0")
    }

    /// The transport, if it is one of ours.
    pub fn transport(&self) -> Option<Transport> {
        self.transport.parse().ok()
    }

    /// The transport as written.
    pub const fn transport_text(&self) -> &'a str {
        self.transport
    }

    /// The host of `sent-by` as written: IPv6 references keep their brackets.
    pub const fn host(&self) -> &'a str {
        self.host
    }

    /// The port of `sent-by`; `None` means the transport's default.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The branch.
    pub const fn branch(&self) -> Option<&'a str> {
        self.branch
    }

    /// The branch, if it begins with the magic cookie and holds more than that: else the transaction is matched by the rules of
    /// RFC 2543 (RFC 3261 §17.2.3).
    pub fn rfc3261_branch(&self) -> Option<&'a str> {
        let branch = self.branch()?;
        let cookie = branch.get(..MAGIC_COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && branch.len() > MAGIC_COOKIE.len()).then_some(branch)
    }

    /// The `received` address (RFC 3261 §18.2.1); IPv6 with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.value("received")?;
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// RFC 3581: `None` without `rport`, `Some(None)` when it asks for the port, `Some(Some(port))` when it tells it.
    pub const fn rport(&self) -> Option<Option<u16>> {
        self.rport
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.value("maddr")
    }

    /// The `ttl` parameter.
    pub fn ttl(&self) -> Option<u8> {
        number(self.params.value("ttl")?)
    }

    /// All parameters.
    pub const fn params(&self) -> Params<'a> {
        self.params
    }

    /// Writes the value with `received` and `rport` set as a server must before it answers or forwards (RFC 3261 §18.2.1,
    /// RFC 3581 §4): `received` where the source differs from the host or `rport` was asked for.
    pub(crate) fn write_stamped(
        &self,
        source: std::net::SocketAddr,
        overload: Option<&OverloadFeedback>,
        line: &mut Line<'_>,
    ) {
        line.text(self.protocol.0).text("/").text(self.protocol.1).text("/").text(self.transport);
        line.text(" ").text(self.host);
        if let Some(port) = self.port {
            line.text(":").number(port.into());
        }
        let source_ip = source.ip().to_canonical();
        let is_plain = self.rport.is_none() && self.names(source_ip);
        if is_plain && overload.is_none() && !self.params.contains("received") {
            line.text(self.params.as_str());
            return;
        }
        for (name, value) in self.params.iter() {
            match value {
                _ if name.eq_ignore_ascii_case("received") => {}
                _ if overload.is_some() && OverloadFeedback::replaces(name) => {}
                _ if name.eq_ignore_ascii_case("rport") => {
                    line.text(";").text(name).text("=").number(source.port().into());
                }
                Some(value) => {
                    line.text(";").text(name).text("=").text(value);
                }
                None => {
                    line.text(";").text(name);
                }
            }
        }
        if !is_plain {
            line.text(";received=").ip(source_ip);
        }
        if let Some(overload) = overload {
            overload.write(line);
        }
    }

    /// Whether the host of `sent-by` is this address.
    fn names(&self, ip: IpAddr) -> bool {
        let host = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(self.host);
        host.parse() == Ok(ip)
    }

    fn write_protocol_and_sent_by(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{} {}", self.protocol.0, self.protocol.1, self.transport, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// `host [COLON port]`: white space may stand around the colon (RFC 3261 §25.1). An IPv6 reference must have brackets; with
/// bare ones it is unclear where the port begins (RFC 5118 §4.3).
fn sent_by_parts(text: &str) -> Option<(&str, Option<u16>)> {
    let end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
    let (host, rest) = text.split_at(end);
    let (host, rest) = (trim(host), trim(rest));
    if !is_host(host) {
        return None;
    }
    match rest.strip_prefix(':') {
        Some(port) => Some((host, Some(number(trim(port))?))),
        None => rest.is_empty().then_some((host, None)),
    }
}

/// Writes it back in canonical white space.
impl fmt::Display for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_protocol_and_sent_by(f)?;
        f.write_str(self.params.as_str())
    }
}

/// Addresses stay hidden.
impl fmt::Debug for Via<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Via({} ***{:?})", self.transport, self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_around_every_sign() {
        let via = Via::parse("SIP  / 2.0\r\n /UDP\r\n    192.0.2.2 : 5061 ;branch=390skdjuw").unwrap();
        assert!(via.is_sip_2());
        assert_eq!(via.transport(), Some(Transport::Udp));
        assert_eq!((via.host(), via.port(), via.branch()), ("192.0.2.2", Some(5061), Some("390skdjuw")));
        assert_eq!(via.rfc3261_branch(), None);
    }

    #[test]
    fn the_source_is_stamped_when_asked_for_or_when_it_differs() {
        let stamp = |text: &str, source: &str| {
            let via = Via::parse(text).unwrap();
            Line::written(|line| via.write_stamped(source.parse().unwrap(), None, line))
        };
        assert_eq!(
            stamp("SIP/2.0/UDP 10.1.1.1:4540;rport;branch=z9hG4bKkjshdyff", "192.0.2.1:9988"),
            "SIP/2.0/UDP 10.1.1.1:4540;rport=9988;branch=z9hG4bKkjshdyff;received=192.0.2.1"
        );
        assert_eq!(stamp("SIP/2.0/UDP 192.0.2.1;branch=x", "192.0.2.1:9"), "SIP/2.0/UDP 192.0.2.1;branch=x");
        assert_eq!(
            stamp("SIP/2.0/TCP [2001:db8::1];branch=x", "[2001:db8::1]:9"),
            "SIP/2.0/TCP [2001:db8::1];branch=x"
        );
        assert_eq!(
            stamp("SIP/2.0/UDP pc.example.com;branch=x", "192.0.2.1:9"),
            "SIP/2.0/UDP pc.example.com;branch=x;received=192.0.2.1"
        );
    }

    #[test]
    fn who_asks_for_the_load_is_told_of_it_and_of_nothing_else() {
        let told = |text: &str, percent, millis| {
            let via = Via::parse(text).unwrap();
            assert_eq!(OverloadFeedback::is_asked_for(&via), text.contains(";oc"));
            let feedback = OverloadFeedback { percent, at: offhook_base::UtcMillis(millis) };
            Line::written(|line| via.write_stamped("192.0.2.1:5060".parse().unwrap(), Some(&feedback), line))
        };
        let asked = "SIP/2.0/TCP 192.0.2.1;branch=x;oc;oc-algo=\"loss,rate\"";
        assert_eq!(
            told(asked, 20, 1_282_321_615_078),
            "SIP/2.0/TCP 192.0.2.1;branch=x;oc=20;oc-algo=\"loss\";oc-validity=500;oc-seq=1282321615.078"
        );
        assert_eq!(
            told(asked, 0, 1_282_321_615_782),
            "SIP/2.0/TCP 192.0.2.1;branch=x;oc=0;oc-algo=\"loss\";oc-validity=0;oc-seq=1282321615.782"
        );
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/2.0 host",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP a:b",
            "SIP/2.0/UDP a:70000",
            "SIP/2.0/UDP 2001:db8::9:1;branch=x",
            "SIP/2.0/UDP[::1]",
            "SIP/2.0/UDP a b",
        ] {
            assert!(Via::parse(value).is_none(), "{value}");
        }
    }
}
