//! Random operations on a transaction layer, in random order, over both kinds of transport. Whatever happens, once the
//! timers have run out nothing is left, and each key that was handed out ended exactly once.

mod transaction_support;

use std::{collections::HashMap, time::Duration};

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    message::{Message, Method, Request, StatusCode},
    transaction::{ClientKey, LayerConfig, RespondError, ServerKey, TransactionKey, TransmitToken},
    transport::{Flow, Transport},
};
use proptest::prelude::*;
use transaction_support::{Bench, Seen, answer_to, flow, our_request, peer_request, to_peer};

/// What may happen. Numbers choose among what exists at that time.
#[derive(Clone, Debug)]
enum Operation {
    Send {
        invite: bool,
        reliable: bool,
    },
    Cancel(usize),
    /// The peer answers request number so-and-so.
    Answer {
        which: usize,
        status: u16,
    },
    /// A request from the peer: method and branch from small sets, so that they repeat and collide.
    Receive {
        method: usize,
        branch: u8,
        tagged: bool,
        reliable: bool,
    },
    Respond {
        which: usize,
        status: u16,
    },
    TransportFailed(usize),
    Advance(u16),
}

fn operation() -> impl Strategy<Value = Operation> {
    let status =
        prop_oneof![Just(100), Just(180), Just(200), Just(202), Just(302), Just(401), Just(486), Just(603)];
    prop_oneof![
        (any::<bool>(), any::<bool>()).prop_map(|(invite, reliable)| Operation::Send { invite, reliable }),
        any::<usize>().prop_map(Operation::Cancel),
        (any::<usize>(), status.clone()).prop_map(|(which, status)| Operation::Answer { which, status }),
        (0..METHODS.len(), 0..4_u8, any::<bool>(), any::<bool>()).prop_map(
            |(method, branch, tagged, reliable)| Operation::Receive { method, branch, tagged, reliable }
        ),
        (any::<usize>(), status).prop_map(|(which, status)| Operation::Respond { which, status }),
        any::<usize>().prop_map(Operation::TransportFailed),
        (0..20_000_u16).prop_map(Operation::Advance),
    ]
}

const METHODS: [&str; 5] = ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"];

/// All that has been seen, to choose from.
struct World {
    bench: Bench,
    ours: Vec<(ClientKey, Bytes)>,
    theirs: Vec<(ServerKey, Request)>,
    tokens: Vec<TransmitToken>,
    /// Requests of the layer's own among what it sent: the peer answers those too.
    sent: Vec<Bytes>,
    alive: HashMap<TransactionKey, bool>,
}

impl World {
    fn new(transactions_max: usize) -> Self {
        let bench = Bench::with(LayerConfig { transactions_max, ..LayerConfig::default() });
        let (ours, theirs, tokens, sent) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { bench, ours, theirs, tokens, sent, alive: HashMap::new() }
    }

    fn take(&mut self, seen: Vec<Seen>) {
        for seen in seen {
            match seen {
                Seen::Sent(_, bytes, _, token) => {
                    Message::parse(bytes.clone()).expect("what is sent can be read");
                    self.tokens.push(token);
                    self.sent.push(bytes);
                }
                Seen::Request(key, request) => {
                    assert_eq!(self.alive.insert(TransactionKey::Server(key), true), None, "a key is new");
                    self.theirs.push((key, request));
                }
                Seen::Cancelled(key) => assert_eq!(self.alive.get(&TransactionKey::Server(key)), Some(&true)),
                Seen::Response(key, _) => {
                    assert_eq!(self.alive.get(&TransactionKey::Client(key)), Some(&true))
                }
                Seen::TimedOut(_, key) | Seen::TransportFailed(key) => {
                    assert_eq!(self.alive.get(&key), Some(&true), "after its end");
                }
                Seen::Terminated(_, key) => {
                    assert_eq!(self.alive.insert(key, false), Some(true), "ended twice")
                }
                Seen::Ack(_) | Seen::Stray(_) => {}
            }
        }
    }

    fn run(&mut self, operation: Operation) {
        let now = self.bench.now;
        match operation {
            Operation::Send { invite, reliable } => {
                let method = if invite { Method::Invite } else { Method::Options };
                let branch = self.bench.layer.new_branch();
                let request = our_request(method.as_str(), branch.as_str());
                let to = to_peer(transport(reliable));
                if let Ok(key) =
                    self.bench.layer.send_request(&method, branch.as_str(), request.clone(), to, now)
                {
                    self.alive.insert(TransactionKey::Client(key), true);
                    self.ours.push((key, request));
                }
            }
            Operation::Cancel(which) => {
                if let Some((key, _)) = pick(&self.ours, which) {
                    self.bench.layer.cancel(*key, Some("SIP;cause=200"), now);
                }
            }
            Operation::Answer { which, status } => {
                let requests: Vec<_> =
                    self.sent.iter().filter(|bytes| !bytes.starts_with(b"SIP/2.0")).collect();
                let Some(request) = pick(&requests, which) else { return };
                let answer = answer_to(request, status);
                self.bench.layer.receive(answer, flow(Transport::Udp), now);
            }
            Operation::Receive { method, branch, tagged, reliable } => {
                let tag = if tagged { ";tag=tu" } else { "" };
                let branch = ["z9hG4bKa", "z9hG4bKb", "z9hG4bK", "old"][usize::from(branch)];
                let message = Message::parse(peer_request(METHODS[method], branch, tag)).unwrap();
                let flow: Flow = flow(transport(reliable));
                self.bench.layer.receive(message, flow, now);
            }
            Operation::Respond { which, status } => {
                let Some((key, request)) = pick(&self.theirs, which) else { return };
                let status = StatusCode::new(status).unwrap();
                let response = request.respond(&mut BytesMut::new(), status, Some("tu")).finish();
                let alive = self.alive.get(&TransactionKey::Server(*key)) == Some(&true);
                let outcome = self.bench.layer.respond(*key, response, now);
                assert_eq!(outcome == Err(RespondError::Gone), !alive);
            }
            Operation::TransportFailed(which) => {
                if let Some(token) = pick(&self.tokens, which) {
                    self.bench.layer.transport_failed(*token, now);
                }
            }
            Operation::Advance(ms) => {
                let seen = self.bench.advance(Duration::from_millis(u64::from(ms)));
                self.take(seen);
            }
        }
        let seen = self.bench.drain();
        self.take(seen);
    }
}

fn pick<T>(from: &[T], which: usize) -> Option<&T> {
    from.get(which.checked_rem(from.len())?)
}

fn transport(reliable: bool) -> Transport {
    if reliable { Transport::Tcp } else { Transport::Udp }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_is_left_when_the_timers_have_run_out(
        operations in proptest::collection::vec(operation(), 1..80),
        transactions_max in prop_oneof![Just(3_usize), Just(1000)],
    ) {
        let mut world = World::new(transactions_max);
        for operation in operations {
            world.run(operation);
            prop_assert!(world.bench.layer.len() <= transactions_max + transactions_max.div_ceil(8));
        }
        let seen = world.bench.run_out();
        world.take(seen);
        prop_assert_eq!(world.bench.layer.len(), 0);
        prop_assert!(world.alive.values().all(|alive| !alive), "a key without its last word");
        prop_assert_eq!(world.bench.layer.is_idle(), true, "no identity and no timer is left either");
    }
}
