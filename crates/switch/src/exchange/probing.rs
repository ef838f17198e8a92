//! Peers are asked whether they are there: OPTIONS goes out, and what comes back is told to [`Probes`].

use offhook_base::Moment;
use offhook_sip::{
    header::HeaderName,
    message::{Method, StatusCode},
    transaction::ClientKey,
    write::{HeaderValue, MessageWriter},
};

use super::{
    Exchange,
    event::{Ask, AskId, Hop},
};
use crate::{directory::PeerId, routing::Turned};

/// The questions that are out: one of each kind for a peer.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// Where is it?
    located: Vec<(PeerId, AskId)>,
    /// Is it there?
    sent: Vec<(PeerId, ClientKey)>,
}

impl Exchange {
    /// Asks the peers whose time has come; first where they are.
    pub(super) fn probe_peers(&mut self, now: Moment) {
        for (id, turned) in self.services.probes.due(now.instant) {
            self.tell_of_peer(id, turned);
            self.probing.located.retain(|(peer, _)| *peer != id);
            self.probing.sent.retain(|(peer, _)| *peer != id);
            let Some(peer) = self.services.directory.peers().iter().find(|peer| peer.id == id) else {
                continue;
            };
            let (host, port, transport) = (peer.host.clone().unwrap_or_default(), peer.port, peer.transport);
            let ask = self.services.owners.new_ask_of_nobody();
            self.probing.located.push((id, ask));
            self.services.ask(Ask::Locate { id: ask, peer: Some(id), host, port, transport, secure: false });
        }
    }

    /// A peer's addresses: the first is asked, as a call would be sent there first.
    pub(super) fn probe_located(&mut self, ask: AskId, hops: &[Hop], now: Moment) {
        let Some(place) = self.probing.located.iter().position(|(_, known)| *known == ask) else { return };
        let (id, _) = self.probing.located.swap_remove(place);
        let peer = self.services.directory.peers().iter().find(|peer| peer.id == id);
        let host = peer.and_then(|peer| peer.host.clone()).unwrap_or_default();
        let sent = hops.first().and_then(|hop| self.send_options(&host, hop, now));
        match sent {
            Some(key) => self.probing.sent.push((id, key)),
            None => self.probe_ended(id, false, now),
        }
    }

    fn send_options(&mut self, host: &str, hop: &Hop, now: Moment) -> Option<ClientKey> {
        let services = &mut self.services;
        let to = services.destination(hop);
        let uri = format!("sip:{host}:{}", hop.remote.port());
        let branch = services.layer.new_branch();
        let via = services.via(&to, branch);
        let (contact, own) = (services.contact(&to, None), services.own_host(&to));
        let (tag, call_id) = (services.random.token::<12>(), services.random.token::<24>());
        let mut writer = MessageWriter::request(&mut services.buffer, &Method::Options, &uri);
        writer.header(&HeaderName::Via, via);
        writer.header(&HeaderName::MaxForwards, 70_u8);
        writer.header_with(&HeaderName::From, |line| {
            line.text("<sip:");
            own.write(line);
            line.text(">;tag=").text(tag.as_str());
        });
        writer.header(&HeaderName::To, format_args!("<{uri}>"));
        writer.header(&HeaderName::CallId, call_id);
        writer.header(&HeaderName::CSeq, "1 OPTIONS");
        writer.header(&HeaderName::Contact, contact);
        writer.header(&HeaderName::UserAgent, &services.settings.product);
        let bytes = writer.finish();
        services.layer.send_request(&Method::Options, branch.as_str(), bytes, to, now.instant).ok()
    }

    /// A response to a request that no call and no message has sent, or `None` for silence.
    pub(super) fn probe_answered(&mut self, key: ClientKey, status: Option<StatusCode>, now: Moment) {
        if status.is_some_and(StatusCode::is_provisional) {
            return;
        }
        let Some(place) = self.probing.sent.iter().position(|(_, known)| *known == key) else { return };
        let (id, _) = self.probing.sent.swap_remove(place);
        // Whatever it says of the request, it is there; but these say that it cannot take a call.
        let answered = status.is_some_and(|status| !matches!(status.as_u16(), 408 | 503));
        self.probe_ended(id, answered, now);
    }

    fn probe_ended(&mut self, id: PeerId, answered: bool, now: Moment) {
        let turned = self.services.probes.heard(id, answered, now.instant);
        self.tell_of_peer(id, turned);
    }

    fn tell_of_peer(&self, id: PeerId, turned: Option<Turned>) {
        let peer = self.services.directory.peers().iter().find(|peer| peer.id == id);
        let name = peer.map_or("", |peer| &peer.name);
        match turned {
            Some(Turned::Down) => tracing::warn!(
                peer = name,
                hint = "calls go to the other peers of their route first; it is asked on",
                "a peer does not answer OPTIONS"
            ),
            Some(Turned::Up) => tracing::info!(peer = name, "a peer answers OPTIONS again"),
            None => {}
        }
    }
}
