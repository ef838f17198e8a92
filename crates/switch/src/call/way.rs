//! A way to reach the called side: what the INVITE says and where it goes.

use std::sync::Arc;

use offhook_sip::transport::Destination;

use crate::directory::{Line, Peer, Srtp};

/// One target of the hunt.
#[derive(Clone, Debug)]
pub struct Way {
    /// The Request-URI.
    pub request_uri: Box<str>,
    /// Where the INVITE is sent.
    pub destination: Destination,
    /// Route values to write, nearest first: the Path the device registered by (RFC 3327 §5.2).
    pub route: Vec<Box<str>>,
    /// Who answers there.
    pub end: WayEnd,
}

/// Who is at the end of a way.
#[derive(Clone, Debug)]
pub enum WayEnd {
    /// A device of this line.
    Line(Arc<Line>),
    /// A peer.
    Peer(Arc<Peer>),
}

impl Way {
    /// How the media there is protected.
    pub fn srtp(&self) -> Srtp {
        match &self.end {
            WayEnd::Line(line) => line.srtp,
            WayEnd::Peer(peer) => peer.srtp,
        }
    }

    /// The line rung by it.
    pub fn line(&self) -> Option<&Arc<Line>> {
        match &self.end {
            WayEnd::Line(line) => Some(line),
            WayEnd::Peer(_) => None,
        }
    }

    /// The peer called by it.
    pub fn peer(&self) -> Option<&Arc<Peer>> {
        match &self.end {
            WayEnd::Line(_) => None,
            WayEnd::Peer(peer) => Some(peer),
        }
    }
}
