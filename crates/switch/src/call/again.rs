//! Requests within a dialog, and those of them that are sent once more: with credentials after a challenge, or over UDP
//! where TCP fails.

use std::fmt;

use bytes::Bytes;
use offhook_base::Moment;
use offhook_sip::{
    header::HeaderName,
    message::{Message, Method, Request, Response},
    transaction::{Branch, ClientKey},
    transport::Destination,
};

use super::{CALLER, Call, modify::Step};
use crate::{
    directory::Peer,
    exchange::{
        owners::{ClientOwner, ClientUse, LegIndex},
        services::Services,
    },
    trunk_login::answer_challenge,
};

/// A request of ours that may have to be sent once more.
pub(super) struct Repeatable {
    client: ClientKey,
    request: Bytes,
    /// Where it went.
    to: Destination,
    /// Where it goes over UDP, if it went by TCP only for its size.
    udp: Option<Destination>,
    /// It carries credentials: refused once more, it is refused for good.
    is_proved: bool,
}

/// The request is personal data.
impl fmt::Debug for Repeatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repeatable").field("client", &self.client).finish_non_exhaustive()
    }
}

impl Call {
    /// Sends a request that was written for the dialog with `index`. One that is too large for a datagram goes by TCP, as
    /// an initial INVITE does (RFC 3261 §18.1.1). `None`: the transaction layer has no room.
    pub(super) fn send_within(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        purpose: ClientUse,
        transaction: &Branch,
        request: Bytes,
        now: Moment,
    ) -> Option<ClientKey> {
        let leg = &self.legs[usize::from(index)];
        let to = leg.destination;
        let keeps_udp = leg.branch.as_ref().is_some_and(|branch| branch.keeps_udp);
        let stream = services.stream_for_large(&request, &to).filter(|_| !keeps_udp);
        if let Some(stream) = stream
            && let Some((transaction, request)) = self.rewrite(services, index, &request, &stream, None)
        {
            let way = Way { to: stream, udp: Some(to), is_proved: false };
            return self.dispatch(services, index, purpose, &transaction, request, way, now);
        }
        let way = Way { to, udp: None, is_proved: false };
        self.dispatch(services, index, purpose, transaction, request, way, now)
    }

    /// A challenge of a peer that we have a login for is answered once (RFC 3261 §22.2). True: it was.
    pub(super) fn prove_within(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        purpose: ClientUse,
        key: ClientKey,
        response: &Response,
        now: Moment,
    ) -> bool {
        if !matches!(response.status().as_u16(), 401 | 407) {
            return false;
        }
        let Some(Repeatable { request, to, udp, .. }) = self.take_repeatable(key, |known| !known.is_proved)
        else {
            return false;
        };
        let login = match (self.peer_of(index), parse(&request)) {
            (Some(peer), Some(challenged)) => {
                let (method, uri) = (challenged.method(), challenged.uri());
                answer_challenge(peer, response, method, uri, challenged.body(), &mut services.random)
            }
            _ => None,
        };
        let Some(login) = login else { return false };
        self.send_again(
            services,
            index,
            purpose,
            key,
            &request,
            Way { to, udp, is_proved: true },
            Some(login),
            now,
        )
    }

    /// A request that went by TCP for its size had no answer: it goes over UDP after all. True: it does.
    pub(super) fn fall_back_to_udp(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        purpose: ClientUse,
        key: ClientKey,
        now: Moment,
    ) -> bool {
        let Some(Repeatable { request, udp: Some(to), .. }) =
            self.take_repeatable(key, |known| known.udp.is_some())
        else {
            return false;
        };
        if let Some(branch) = self.leg(index).branch.as_mut() {
            branch.keeps_udp = true;
        }
        let way = Way { to, udp: None, is_proved: false };
        self.send_again(services, index, purpose, key, &request, way, None, now)
    }

    /// A request was answered for good.
    pub(super) fn request_answered(&mut self, key: ClientKey) {
        self.repeatables.retain(|known| known.client != key);
    }

    fn take_repeatable(&mut self, key: ClientKey, fits: impl Fn(&Repeatable) -> bool) -> Option<Repeatable> {
        let position = self.repeatables.iter().position(|known| known.client == key && fits(known))?;
        Some(self.repeatables.swap_remove(position))
    }

    #[expect(clippy::too_many_arguments, reason = "all of a request and what it is for")]
    fn send_again(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        purpose: ClientUse,
        before: ClientKey,
        request: &Bytes,
        way: Way,
        login: Option<(bool, Box<str>)>,
        now: Moment,
    ) -> bool {
        let Some((transaction, request)) = self.rewrite(services, index, request, &way.to, login) else {
            return false;
        };
        let client = self.dispatch(services, index, purpose, &transaction, request, way, now);
        if let Some(client) = client {
            self.await_instead(before, client);
        }
        client.is_some()
    }

    #[expect(clippy::too_many_arguments, reason = "all of a request and what it is for")]
    fn dispatch(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        purpose: ClientUse,
        transaction: &Branch,
        request: Bytes,
        Way { to, udp, is_proved }: Way,
        now: Moment,
    ) -> Option<ClientKey> {
        let method = method_of(&request);
        let owner = ClientOwner { call: self.key, leg: index, purpose };
        let sent = services.send_request(owner, &method, transaction, request.clone(), to, now);
        let client = sent.inspect_err(|error| tracing::warn!(%error, "request not sent")).ok()?;
        let has_login = self.peer_of(index).is_some_and(|peer| peer.secret.is_some());
        if udp.is_some() || (has_login && !is_proved) {
            self.repeatables.push(Repeatable { client, request, to, udp, is_proved });
        }
        Some(client)
    }

    /// What waited for `before` waits for `after`.
    fn await_instead(&mut self, before: ClientKey, after: ClientKey) {
        if let Some(modify) = &mut self.modify
            && let Step::Asked(client) = &mut modify.step
            && *client == before
        {
            *client = after;
        }
        for refresh in self.legs.iter_mut().filter_map(|leg| leg.refresh.as_mut()) {
            if *refresh == before {
                *refresh = after;
            }
        }
        for relay in self.relays.iter_mut().filter(|relay| relay.client == before) {
            relay.client = after;
        }
    }

    /// The request once more, in a new transaction, with the next CSeq, for another way or with credentials. `None` if the
    /// dialog is another one by now.
    fn rewrite(
        &mut self,
        services: &mut Services,
        index: LegIndex,
        request: &Bytes,
        to: &Destination,
        login: Option<(bool, Box<str>)>,
    ) -> Option<(Branch, Bytes)> {
        let before = parse(request)?;
        let transaction = services.layer.new_branch();
        let (via, contact) = (services.via(to, transaction), services.contact(to, None));
        let leg = &mut self.legs[usize::from(index)];
        let dialog = leg.dialog.as_mut()?;
        if before.headers().to().ok()?.tag() != Some(&*dialog.state().remote_tag) {
            return None;
        }
        let mut writer = dialog.request(before.method(), via, &mut services.buffer);
        if before.headers().contains(&HeaderName::Contact) {
            writer.header(&HeaderName::Contact, contact);
        }
        if let Some((by_proxy, credentials)) = login {
            let name = if by_proxy { HeaderName::ProxyAuthorization } else { HeaderName::Authorization };
            writer.header(&name, credentials);
        }
        writer.copy_lines(before.headers(), |known, _| !known.is_some_and(is_written_anew));
        writer.body("", before.body());
        let bytes = writer.finish();
        if *before.method() == Method::Invite {
            leg.invite_cseq = dialog.state().local_cseq;
        }
        Some((transaction, bytes))
    }

    /// The peer at the other end of a leg.
    fn peer_of(&self, index: LegIndex) -> Option<&Peer> {
        let peer = match &self.legs[usize::from(index)].branch {
            Some(branch) => branch.way.peer(),
            None if index == CALLER => self.who.peer(),
            None => None,
        };
        peer.map(|peer| &**peer)
    }
}

/// The way of one sending.
struct Way {
    to: Destination,
    udp: Option<Destination>,
    is_proved: bool,
}

fn parse(request: &Bytes) -> Option<Request> {
    match Message::parse(request.clone()) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

/// The method of a request of ours, which is its first word.
fn method_of(request: &Bytes) -> Method {
    let word = request.split(|&octet| octet == b' ').next().unwrap_or_default();
    Method::from_token(std::str::from_utf8(word).unwrap_or_default())
}

/// What belongs to one sending of a request alone.
const fn is_written_anew(name: HeaderName) -> bool {
    use HeaderName as H;
    matches!(
        name,
        H::Via
            | H::MaxForwards
            | H::Route
            | H::From
            | H::To
            | H::CallId
            | H::CSeq
            | H::Contact
            | H::ContentLength
            | H::Authorization
            | H::ProxyAuthorization
    )
}
