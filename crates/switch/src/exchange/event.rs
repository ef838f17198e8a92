//! What goes into an exchange and what comes out.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use offhook_base::Instant;
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
    /// End this call as an operator.
    HangUp(CallId),
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
    /// Nothing more now; call again with [`Input::Timeout`] at this time, or when there is other input.
    Timeout(Option<Instant>),
}

/// Numbers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId(pub u64);

/// A question to the outside.
#[derive(Clone, Debug)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
