//! A way to reach the called side: what the INVITE says and where it goes.

use std::{fmt, sync::Arc};

use offhook_sip::transport::Destination;

use crate::directory::{Line, Peer, Srtp};

/// One target of the hunt.
#[derive(Clone)]
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

/// URIs and addresses are personal data: only the shape shows.
impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match &self.end {
            WayEnd::Line(_) => "line",
            WayEnd::Peer(_) => "peer",
        };
        f.debug_struct("Way")
            .field("end", &end)
            .field("transport", &self.destination.transport())
            .field("routes", &self.route.len())
            .finish_non_exhaustive()
    }
}

/// Who is at the end of a way.
#[derive(Clone)]
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
