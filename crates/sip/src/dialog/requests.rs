//! Writing requests within a dialog (§12.2.1.1).

use bytes::BytesMut;
use offhook_base::HostPort;

use super::{Dialog, DialogState};
use crate::{
    header::{HeaderName, NameAddr},
    message::Method,
    transport::Transport,
    uri::Uri,
    write::{HeaderValue, Line, MessageWriter},
};

/// A Via value of ours. Over UDP it asks for `rport` (RFC 3581): the answer comes back through a NAT.
#[derive(Clone, Copy)]
pub struct OutgoingVia<'a> {
    /// What the request goes over.
    pub transport: Transport,
    /// Where answers to it are awaited.
    pub sent_by: &'a HostPort,
    /// A new one for each request.
    pub branch: &'a str,
}

impl HeaderValue for OutgoingVia<'_> {
    fn write(&self, line: &mut Line<'_>) {
        let Self { transport, sent_by, branch } = self;
        line.text("SIP/2.0/").text(transport.via_token()).text(" ");
        sent_by.write(line);
        line.text(";branch=").text(branch);
        if !transport.is_reliable() {
            line.text(";rport");
        }
    }
}

/// Where a request of ours starts its way down the proxies (§8.1.1.6).
const MAX_FORWARDS: u8 = 70;

impl Dialog {
    /// The URI of the next hop: the first route, else the remote target. RFC 3263 finds its address.
    pub fn next_hop(&self) -> &str {
        let DialogState { route_set, remote_target, .. } = &self.state;
        route_set.first().map_or(remote_target, |route| uri_of(route))
    }

    /// Writes a new request into `buffer`: request line, Via, Max-Forwards, Route, From, To, Call-ID and the next CSeq.
    /// The caller adds Contact and what else it needs, and finishes. Not for ACK and CANCEL.
    pub fn request<'b>(
        &mut self,
        method: &Method,
        via: impl HeaderValue,
        buffer: &'b mut BytesMut,
    ) -> MessageWriter<'b> {
        // §8.1.1.5 keeps the number below 2^31; reaching that takes a request per second for 68 years.
        self.state.local_cseq = self.state.local_cseq.wrapping_add(1) & 0x7fff_ffff;
        self.write(method, self.state.local_cseq, via, buffer)
    }

    /// Writes the ACK of a 2xx to our INVITE with number `cseq` (§13.2.2.4): like a request, but with that number, and
    /// with a branch of its own. The caller adds the answer if the 2xx brought the offer.
    pub fn ack<'b>(&self, cseq: u32, via: impl HeaderValue, buffer: &'b mut BytesMut) -> MessageWriter<'b> {
        self.write(&Method::Ack, cseq, via, buffer)
    }

    fn write<'b>(
        &self,
        method: &Method,
        cseq: u32,
        via: impl HeaderValue,
        buffer: &'b mut BytesMut,
    ) -> MessageWriter<'b> {
        let DialogState { route_set, remote_target, .. } = &self.state;
        let first = route_set.first().map(|route| uri_of(route));
        let strict = first.filter(|route| !is_loose(route));
        let mut writer = MessageWriter::request(buffer, method, strict.unwrap_or(remote_target));
        writer.header(&HeaderName::Via, via);
        writer.header(&HeaderName::MaxForwards, MAX_FORWARDS);
        for route in &route_set[usize::from(strict.is_some())..] {
            writer.header(&HeaderName::Route, route);
        }
        if strict.is_some() {
            // A router of RFC 2543 finds the target at the end of the list.
            writer.header(&HeaderName::Route, format_args!("<{remote_target}>"));
        }
        self.write_parties(&mut writer);
        writer.header_with(&HeaderName::CSeq, |line| {
            line.number(cseq.into()).text(" ").text(method.as_str());
        });
        writer
    }

    fn write_parties(&self, writer: &mut MessageWriter<'_>) {
        let DialogState { call_id, local_tag, remote_tag, local_party, remote_party, .. } = &self.state;
        for (name, party, tag) in
            [(HeaderName::From, local_party, local_tag), (HeaderName::To, remote_party, remote_tag)]
        {
            writer.header_with(&name, |line| {
                line.text(party);
                if !tag.is_empty() {
                    line.text(";tag=").text(tag);
                }
            });
        }
        writer.header(&HeaderName::CallId, call_id);
    }
}

/// The URI of a route value that was parsed when the dialog was made.
fn uri_of(route: &str) -> &str {
    NameAddr::parse(route).map_or(route, |address| address.uri)
}

/// Whether the router keeps the Request-URI (`lr`, §16.12). One that cannot be parsed is taken for a loose one.
fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).map_or(true, |uri| uri.param("lr").is_some())
}
