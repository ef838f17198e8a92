//! What a transaction layer hands out.

use bytes::Bytes;
use offhook_base::Instant;

use super::table::Key;
use crate::{
    message::{Request, Response},
    transport::{Destination, Flow},
};

/// Names a client transaction of this layer. Never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey(pub(super) Key);

/// Names a server transaction of this layer. Never reused for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey(pub(super) Key);

/// Either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransactionKey {
    /// We sent the request.
    Client(ClientKey),
    /// We received it.
    Server(ServerKey),
}

/// Comes with each [`Output::Transmit`]; hand it to `TransactionLayer::transport_failed` if the message could not be
/// sent. One token may come with several messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransmitToken(pub(super) Option<Key>);

impl TransmitToken {
    /// The number of a message that belongs to no transaction. No key has it: a table never grows to 2^32 - 1 rows.
    const NOBODY: u64 = u64::MAX;

    /// As a number, for a driver whose sockets know nothing of transactions.
    pub fn to_bits(self) -> u64 {
        self.0.map_or(Self::NOBODY, Key::to_bits)
    }

    /// From the number of [`TransmitToken::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self((bits != Self::NOBODY).then(|| Key::from_bits(bits)))
    }
}

/// What a transaction layer wants done or known. Drain with `poll_output` until [`Output::Timeout`].
#[derive(Debug)]
pub enum Output {
    /// Put `bytes` on the wire.
    Transmit {
        /// Where to.
        to: Destination,
        /// The whole message.
        bytes: Bytes,
        /// For reporting a failure.
        token: TransmitToken,
    },
    /// A new request, no ACK and no CANCEL. Answer with `respond`.
    Request {
        /// Its transaction.
        key: ServerKey,
        /// The request.
        request: Request,
        /// How it came.
        flow: Flow,
    },
    /// An ACK of a 2xx (each repeat too), or one that belongs to nothing we know.
    Ack {
        /// The INVITE's transaction, where the ACK repeats its branch; normally there is none, the dialog tells.
        invite: Option<ServerKey>,
        /// The ACK.
        ack: Request,
        /// How it came.
        flow: Flow,
    },
    /// The sender no longer wants an answer to its INVITE. The CANCEL has been answered; answer the INVITE with 487
    /// (§9.2).
    Cancelled {
        /// The INVITE's transaction, still unanswered.
        invite: ServerKey,
        /// The CANCEL: it may carry a Reason.
        cancel: Request,
    },
    /// A response, provisional or final; of an INVITE's 2xx each repeat and each fork's.
    Response {
        /// Its transaction.
        key: ClientKey,
        /// The response.
        response: Response,
        /// How it came.
        flow: Flow,
    },
    /// A 2xx to an INVITE whose transaction is over: the dialog acknowledges it again (§13.2.2.4).
    StrayResponse {
        /// The response.
        response: Response,
        /// How it came.
        flow: Flow,
    },
    /// No answer to our request (act as on 408), no ACK of our failure response, or no answer given by us.
    TimedOut {
        /// Whose.
        key: TransactionKey,
    },
    /// The transport failed. A client transaction acts as on 503 and ends; an INVITE's server transaction stays.
    TransportFailed {
        /// Whose.
        key: TransactionKey,
    },
    /// The last word of each transaction, exactly once: forget the key.
    Terminated {
        /// Whose.
        key: TransactionKey,
    },
    /// Nothing more now; call `handle_timeout` at that time. `None`: nothing is scheduled.
    Timeout(Option<Instant>),
}

/// How often the layer did something that no transaction user sees. Monotonic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that came again and were answered or swallowed here.
    pub request_repeats: u64,
    /// Requests we sent again (Timers A and E).
    pub request_resends: u64,
    /// Failure responses we sent again (Timer G).
    pub response_resends: u64,
    /// Requests refused with 503 because the table was full.
    pub refused_full: u64,
    /// Requests refused with 482: the same one had come by another way.
    pub merged: u64,
    /// CANCELs refused with 481: nothing to cancel.
    pub cancels_unmatched: u64,
    /// Requests refused with 400 or dropped because a header that routing needs is missing or wrong.
    pub malformed: u64,
    /// Responses dropped because no transaction waits for them.
    pub responses_unmatched: u64,
    /// ACKs of failures, swallowed.
    pub acks_absorbed: u64,
    /// Messages of ours that could not be built from the other side's (ACK, CANCEL, 100).
    pub unbuildable: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transaction::table::Table;

    #[test]
    fn a_token_survives_its_way_through_a_number() {
        let mut table = Table::new();
        let keys = [table.insert(()), table.insert(())];
        table.remove(keys[0]);
        for key in [Some(keys[0]), Some(keys[1]), Some(table.insert(())), None] {
            assert_eq!(TransmitToken::from_bits(TransmitToken(key).to_bits()), TransmitToken(key));
        }
    }
}
