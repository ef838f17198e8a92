//! What goes into an exchange and what comes out.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use offhook_base::Instant;
use offhook_edge::Lists;
use offhook_sip::{
    transaction::TransmitToken,
    transport::{ConnectionId, Destination, Flow, ListenerId, Transport},
};

use crate::{
    directory::{Directory, PeerId},
    fact::Fact,
    media::{MediaCommand, MediaEvent},
    record::CallId,
};

/// One thing that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A datagram, or one framed message of a stream.
    Received {
        /// Where it came from.
        flow: Flow,
        /// Its octets.
        bytes: Bytes,
    },
    /// A stream is gone.
    ConnectionClosed(ConnectionId),
    /// A message could not be sent.
    TransmitFailed(TransmitToken),
    /// The media engine speaks.
    Media(MediaEvent),
    /// A question was answered.
    Answer(Answer),
    /// The directory changed.
    Directory(Arc<Directory>),
    /// The lists of networks changed.
    Lists(Arc<Lists>),
    /// Ban the source of this address as an operator.
    Ban {
        /// Any address of it.
        address: IpAddr,
        /// For how long.
        time: Duration,
    },
    /// End the ban of the source of this address.
    Pardon(IpAddr),
    /// End this call as an operator.
    HangUp(CallId),
    /// Take no new calls but to emergency numbers while this is true: what must be written of calls cannot be.
    Hold(bool),
    /// Take no more calls; running ones go on.
    Drain,
    /// End every call now.
    EndAll,
    /// The deadline asked for may have come.
    Timeout,
}

/// One thing to do outside.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message.
    Transmit {
        /// Where to.
        to: Destination,
        /// Its octets.
        bytes: Bytes,
        /// Comes back in [`Input::TransmitFailed`].
        token: TransmitToken,
    },
    /// Tell the media engine.
    Media(MediaCommand),
    /// Ask the outside; it comes back as [`Input::Answer`].
    Ask(Ask),
    /// Something happened.
    Fact(Fact),
    /// Keep this form of a call, in place of an earlier one: personal data and keys, to be sealed ([`crate::kept`]).
    Keep {
        /// Which call.
        call: CallId,
        /// Its form; at most [`crate::kept::FORM_BYTES_MAX`] octets.
        form: Bytes,
    },
    /// The call is over for every leg: its form is needed only until its record is safe.
    Forget {
        /// Which call.
        call: CallId,
    },
    /// Nothing more now; call again with [`Input::Timeout`] at this time, or when there is other input.
    Timeout(Option<Instant>),
}

/// Numbers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A question to the outside.
#[derive(Clone)]
pub enum Ask {
    /// Where is this next hop (RFC 3263)?
    Locate {
        /// Comes back in the answer.
        id: AskId,
        /// For which peer, for counters.
        peer: Option<PeerId>,
        /// Host name or address literal.
        host: Box<str>,
        /// The port, where given.
        port: Option<u16>,
        /// The transport, where given.
        transport: Option<Transport>,
        /// The scheme was `sips`.
        secure: bool,
    },
    /// Wake this device by the operator's push service (RFC 8599); it answers by registering.
    Wake {
        /// Comes back in the answer.
        id: AskId,
        /// `pn-provider`.
        provider: Box<str>,
        /// `pn-prid`.
        prid: Box<str>,
        /// `pn-param`.
        param: Option<Box<str>>,
    },
}

/// Whoever knows a device's push token can wake it, and a host may be a person's: they stay hidden.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locate { id, peer, port, transport, secure, host: _ } => f
                .debug_struct("Locate")
                .field("id", id)
                .field("peer", peer)
                .field("port", port)
                .field("transport", transport)
                .field("secure", secure)
                .finish_non_exhaustive(),
            Self::Wake { id, provider, .. } => {
                f.debug_struct("Wake").field("id", id).field("provider", provider).finish_non_exhaustive()
            }
        }
    }
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Next hops, best first; empty: none found.
    Located {
        /// Of which question.
        id: AskId,
        /// The addresses.
        hops: Vec<Hop>,
    },
    /// The push service has taken the request, or not.
    Woken {
        /// Of which question.
        id: AskId,
        /// Whether it has.
        accepted: bool,
    },
}

/// One address of a next hop.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// What to speak.
    pub transport: Transport,
    /// Where.
    pub remote: SocketAddr,
    /// The local address that the host's routing picks for it.
    pub local: IpAddr,
    /// The listener to leave by.
    pub listener: ListenerId,
}

/// Where it is may be a person's address: it stays hidden.
impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hop({}#{})", self.transport, self.listener.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use offhook_sip::transport::Destination;

    use super::*;
    use crate::call::{Way, WayEnd};

    #[test]
    fn what_names_a_person_or_a_device_never_shows() {
        let remote: SocketAddr = "203.0.113.77:5060".parse().expect("an address");
        let (listener, transport) = (ListenerId(1), Transport::Udp);
        let hop = Hop { transport, remote, local: remote.ip(), listener };
        let wake = Ask::Wake {
            id: AskId(1),
            provider: "fcm".into(),
            prid: "secret-token".into(),
            param: Some("secret-param".into()),
        };
        let way = Way {
            request_uri: "sip:secret@203.0.113.77".into(),
            destination: Destination::Address { listener, transport, local: remote, remote },
            route: vec!["<sip:secret.example>".into()],
            end: WayEnd::Peer(Arc::new(crate::route::tests::peer(1, &["secret"]))),
        };
        let shown = format!("{hop:?} {wake:?} {way:?}");
        assert!(
            shown.contains("fcm") && !shown.contains("secret") && !shown.contains("203.0.113"),
            "{shown}"
        );
    }
}
