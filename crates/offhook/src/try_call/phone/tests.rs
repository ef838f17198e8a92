//! Two phones back to back, in virtual time: what one sends the other gets, as if there were no node between them.

use std::time::Duration;

use offhook_sdp::Direction;
use offhook_sip::message::Method;

use super::*;
use offhook_codec::G711;

/// How long a message takes.
const DELAY: Duration = Duration::from_millis(5);

/// Steps of a run. What takes more does not end.
const STEPS_MAX: usize = 500;

struct Pair {
    phones: [Phone; 2],
    now: Instant,
    /// Messages under way, in the order in which they arrive.
    wire: VecDeque<(Instant, usize, Bytes)>,
    /// Which messages get lost.
    loses: fn(usize, &[u8]) -> bool,
    events: Vec<(usize, Event)>,
    sent: Vec<(usize, Bytes)>,
}

impl Pair {
    fn new() -> Self {
        let address = |last: u8, port| SocketAddr::from(([192, 0, 2, last], port));
        let phone = |name: &str, own: u8, other: u8| {
            let account =
                Account { name: name.into(), password: "secret".into(), domain: format!("192.0.2.{other}") };
            let link = Link {
                transport: Transport::Udp,
                local: address(own, 5060),
                node: address(other, 5060),
                rtp: address(own, 4000),
            };
            Phone::new(account, link, Random::from_number(own.into()))
        };
        Self {
            phones: [phone("a", 1, 2), phone("b", 2, 1)],
            now: Instant::default(),
            wire: VecDeque::new(),
            loses: |_, _| false,
            events: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// Lets one person do something, and time pass until nothing is left to do within `time`.
    fn run(&mut self, time: Duration) -> Vec<(usize, Event)> {
        let until = self.now + time;
        for _ in 0..STEPS_MAX {
            let timers = [self.drain(0), self.drain(1)];
            let arrival = self.wire.front().map(|(at, ..)| *at);
            let next = timers.into_iter().flatten().chain(arrival).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                self.now = until;
                return std::mem::take(&mut self.events);
            };
            self.now = self.now.max(next);
            if arrival.is_some_and(|arrival| arrival <= self.now) {
                let (_, to, bytes) = self.wire.pop_front().unwrap();
                self.phones[to].receive(Message::parse(bytes).unwrap(), self.now);
            } else {
                for phone in &mut self.phones {
                    phone.handle_timeout(self.now);
                }
            }
        }
        panic!("the phones never come to rest");
    }

    fn drain(&mut self, index: usize) -> Option<Instant> {
        loop {
            match self.phones[index].poll_output() {
                Output::Send(bytes) => {
                    if !(self.loses)(self.sent.len(), &bytes) {
                        self.wire.push_back((self.now + DELAY, 1 - index, bytes.clone()));
                    }
                    self.sent.push((index, bytes));
                }
                Output::Event(event) => self.events.push((index, event)),
                Output::Timeout(at) => return at,
            }
        }
    }

    fn call(&mut self) -> Vec<(usize, Event)> {
        self.phones[0].call("sip:b@192.0.2.2".into(), self.now);
        let mut events = self.run(Duration::from_secs(1));
        self.phones[1].ring(self.now);
        events.extend(self.run(Duration::from_secs(1)));
        self.phones[1].answer(self.now);
        events.extend(self.run(Duration::from_secs(10)));
        events
    }

    fn sent(&self, method: &Method) -> usize {
        let begins = format!("{} ", method.as_str());
        self.sent.iter().filter(|(_, bytes)| bytes.starts_with(begins.as_bytes())).count()
    }
}

fn sound(of: u8, direction: Direction) -> Event {
    let remote = SocketAddr::from(([192, 0, 2, of], 4000));
    Event::Sound(Sound { remote, law: G711::ALaw, direction })
}

#[test]
fn a_call_rings_is_answered_and_ends() {
    let mut pair = Pair::new();
    let events = pair.call();
    let wanted = [
        (1, Event::Called),
        (0, Event::RingsThere),
        (1, sound(1, Direction::SendRecv)),
        (0, sound(2, Direction::SendRecv)),
        (0, Event::Connected),
        (1, Event::Connected),
    ];
    assert_eq!(events, wanted);
    pair.phones[0].hang_up(pair.now);
    assert_eq!(pair.run(Duration::from_secs(60)), [(1, Event::Ended), (0, Event::Ended)]);
    assert!(pair.phones.iter().all(|phone| phone.requests.is_empty() && phone.layer.is_empty()));
}

#[test]
fn hold_lets_sound_flow_one_way_and_resume_both() {
    let mut pair = Pair::new();
    pair.call();
    pair.phones[0].hold(pair.now);
    let held = [(1, sound(1, Direction::RecvOnly)), (0, sound(2, Direction::SendOnly)), (0, Event::Changed)];
    assert_eq!(pair.run(Duration::from_secs(1)), held);
    pair.phones[0].resume(pair.now);
    let resumed =
        [(1, sound(1, Direction::SendRecv)), (0, sound(2, Direction::SendRecv)), (0, Event::Changed)];
    assert_eq!(pair.run(Duration::from_secs(1)), resumed);
}

/// Goal: each message of a call may get lost once. Method: lose the first, run; lose the second, run...
#[test]
fn a_call_survives_the_loss_of_any_one_message() {
    for (loses, what) in [
        ((|number, _| number == 0) as fn(usize, &[u8]) -> bool, "INVITE"),
        (|number, _| number == 2, "200"),
        (|number, _| number == 3, "ACK"),
        (|number, bytes| number < 12 && bytes.starts_with(b"BYE"), "BYE"),
    ] {
        let mut pair = Pair::new();
        pair.loses = loses;
        let events = pair.call();
        assert_eq!(events.iter().filter(|(_, event)| *event == Event::Connected).count(), 2, "{what}");
        pair.loses = |_, _| false;
        pair.phones[0].hang_up(pair.now);
        assert_eq!(pair.run(Duration::from_secs(60)).len(), 2, "{what}");
    }
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    let mut pair = Pair::new();
    pair.phones[0].call("sip:b@192.0.2.2".into(), pair.now);
    pair.run(Duration::from_millis(100));
    pair.phones[1].ring(pair.now);
    pair.run(Duration::from_millis(100));
    pair.phones[0].abandon(pair.now);
    let terminated = Why::Refused(487, "Request Terminated".into());
    let failed = Event::Failed(Trouble { doing: "calling", why: terminated });
    assert_eq!(pair.run(Duration::from_secs(60)), [(1, Event::Ended), (0, failed)]);
}

#[test]
fn a_second_caller_finds_the_phone_busy() {
    let mut pair = Pair::new();
    pair.phones[1].call("sip:a@192.0.2.1".into(), pair.now);
    pair.phones[0].call("sip:b@192.0.2.2".into(), pair.now);
    let busy = Event::Failed(Trouble { doing: "calling", why: Why::Refused(486, "Busy Here".into()) });
    assert_eq!(pair.run(Duration::from_secs(60)), [(0, busy.clone()), (1, busy)]);
}

#[test]
fn nobody_at_the_other_end_is_noticed_after_32_seconds() {
    let mut pair = Pair::new();
    pair.loses = |_, _| true;
    pair.phones[0].register(pair.now);
    assert_eq!(pair.run(Duration::from_millis(31_900)), []);
    let failed = Event::Failed(Trouble { doing: "registering", why: Why::NoAnswer });
    assert_eq!(pair.run(Duration::from_millis(200)), [(0, failed)]);
    assert_eq!(pair.sent(&Method::Register), 11);
}

/// A node's answer to the last REGISTER of phone `0`, with a challenge in it.
fn challenge(pair: &Pair) -> Bytes {
    let Some((_, bytes)) = pair.sent.last() else { panic!("nothing was sent") };
    let Ok(Message::Request(request)) = Message::parse(bytes.clone()) else { panic!("not a request") };
    let mut buffer = BytesMut::new();
    let mut writer = request.respond(&mut buffer, StatusCode::UNAUTHORIZED, Some("tag"));
    writer.header(
        &HeaderName::WwwAuthenticate,
        "Digest realm=\"offhook\", nonce=\"1\", algorithm=SHA-256, qop=\"auth\"",
    );
    writer.finish()
}

#[test]
fn a_challenge_is_answered_once_and_a_second_one_is_a_wrong_password() {
    let mut pair = Pair::new();
    pair.loses = |_, _| true;
    pair.phones[0].register(pair.now);
    pair.drain(0);
    pair.wire.push_back((pair.now, 0, challenge(&pair)));
    assert_eq!(pair.run(Duration::from_millis(1)), []);
    let answer = String::from_utf8(pair.sent.last().unwrap().1.to_vec()).unwrap();
    assert!(answer.contains("CSeq: 2 REGISTER\r\n"), "{answer}");
    assert!(answer.contains("Authorization: Digest username=\"a\", realm=\"offhook\""), "{answer}");
    assert!(answer.contains("uri=\"sip:192.0.2.2\""), "{answer}");
    assert!(!answer.contains("secret"), "{answer}");
    pair.wire.push_back((pair.now, 0, challenge(&pair)));
    let refused = Why::Refused(401, "Unauthorized".into());
    let failed = Event::Failed(Trouble { doing: "registering", why: refused });
    assert_eq!(pair.run(Duration::from_millis(1)), [(0, failed)]);
}
