//! After a panic: the call that was being worked on ends, everything else goes on.
//!
//! A panic is a bug of ours. What it may cost is one call; the phones of that call hear of its end, and it has its record
//! like every other. The state it left is not trusted more than needed: whatever is still done with it may panic again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use offhook_base::Moment;
use offhook_sip::message::StatusCode;

use super::Exchange;

/// Panics in a row that are recovered from before the rest of the input is left aside.
const PANICS_MAX: usize = 8;

impl Exchange {
    /// After [`Exchange::handle`] panicked: ends the call that was being worked on, with 500, CANCEL or BYE to its legs and
    /// with its record, and goes on with what else the input has brought. Other calls are untouched: nothing is shared
    /// between them but the tables.
    pub fn recover(&mut self, now: Moment) {
        for _ in 0..PANICS_MAX {
            // What is half written is no message.
            self.services.buffer.clear();
            self.end_call_at_work(now);
            self.answer_for_want_of_better(now);
            if catch_unwind(AssertUnwindSafe(|| self.pump(now))).is_ok() {
                return;
            }
        }
    }

    /// 500 to the request that was being worked on, unless it has its answer.
    fn answer_for_want_of_better(&mut self, now: Moment) {
        let Some((key, request)) = self.answering.take() else { return };
        let tag = self.services.random.token::<12>();
        let status = StatusCode::SERVER_INTERNAL_ERROR;
        let bytes = request.respond(&mut self.services.buffer, status, Some(tag.as_str())).finish();
        self.services.respond(key, bytes, now);
    }

    fn end_call_at_work(&mut self, now: Moment) {
        let Some(key) = self.at_work.take() else { return };
        let mut ended = false;
        let orderly = catch_unwind(AssertUnwindSafe(|| {
            self.with_call(key, |call, services| ended = call.end_by_bug(services, now));
        }));
        self.at_work = None;
        if orderly.is_ok() && ended {
            return;
        }
        self.services.buffer.clear();
        if let Some(mut call) = self.calls.evict(key) {
            let services = &mut self.services;
            if catch_unwind(AssertUnwindSafe(|| call.give_up(services, now))).is_err() {
                tracing::error!("a call could not even be given up");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc, time::Duration};

    use bytes::Bytes;
    use offhook_base::{Instant, Random, UtcMillis};
    use offhook_edge::EdgeLimits;
    use offhook_sip::{
        message::{Message, Request},
        transport::{Flow, Listener, ListenerId, Transport},
    };

    use super::*;
    use crate::{
        directory::{CallPermission, Directory, Peer, Tenant},
        exchange::{Answer, Ask, ExchangeConfig, Hop, Input, Output},
        fact::What,
        media::{MediaCommand, MediaEvent},
        record::{CallRecord, EndCause, EndedBy},
        registrar::RegistrarConfig,
        settings::Settings,
    };

    const NODE: &str = "198.51.100.1:5060";
    const CALLER: &str = "203.0.113.1:5060";
    const CALLEE: &str = "203.0.113.2:5060";
    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 203.0.113.1\r\ns=-\r\nc=IN IP4 203.0.113.1\r\nt=0 0\r\n\
                       m=audio 6000 RTP/AVP 0\r\n";

    /// An exchange between two peers with room for one call, and all that came out of it.
    struct Stage {
        exchange: Exchange,
        now: Moment,
        sent: Vec<(SocketAddr, Bytes)>,
        records: Vec<Arc<CallRecord>>,
        calls: usize,
    }

    impl Stage {
        fn new() -> Self {
            let peer = |id: u64, address: &str, prefix: &str| {
                let address: SocketAddr = address.parse().unwrap();
                Peer {
                    sources: vec![address.ip().to_string().parse().unwrap()],
                    host: Some(address.ip().to_string().into()),
                    port: Some(address.port()),
                    prefixes: vec![prefix.into()],
                    may_call: CallPermission::Outside,
                    calls_max: 1,
                    ..crate::route::tests::peer(id, &[])
                }
            };
            let tenant = Tenant { name: "default".into(), domains: vec![], realm: "offhook".into() };
            let peers = vec![peer(1, CALLER, "none"), peer(2, CALLEE, "")];
            let bound = NODE.parse().unwrap();
            let listener = Listener { id: ListenerId(0), transport: Transport::Udp, bound, advertised: None };
            let exchange = Exchange::new(ExchangeConfig {
                settings: Settings { listeners: vec![listener], ..Settings::default() },
                registrar: RegistrarConfig::default(),
                limits: EdgeLimits::off(),
                directory: Arc::new(Directory::new(vec![tenant], vec![], vec![], vec![], peers)),
                secret: [7; 32],
                random: Random::from_number(7),
            });
            let now = Moment {
                instant: Instant::from_driver_nanos(1_000_000_000),
                utc: UtcMillis(1_795_363_836_000),
            };
            Self { exchange, now, sent: Vec::new(), records: Vec::new(), calls: 0 }
        }

        /// What a worker does: one input, and a panic is recovered from.
        fn feed(&mut self, act: impl FnOnce(&mut Exchange, Moment)) {
            let now = self.now;
            if catch_unwind(AssertUnwindSafe(|| act(&mut self.exchange, now))).is_err() {
                self.exchange.recover(now);
            }
            loop {
                match self.exchange.poll_output() {
                    Output::Transmit { to, bytes, .. } => self.sent.push((to.remote(), bytes)),
                    Output::Media(command) => self.obey(command),
                    Output::Ask(Ask::Locate { id, .. }) => {
                        let (remote, local) =
                            (CALLEE.parse().unwrap(), NODE.parse::<SocketAddr>().unwrap().ip());
                        let hop = Hop { transport: Transport::Udp, remote, local, listener: ListenerId(0) };
                        self.handle(Input::Answer(Answer::Located { id, hops: vec![hop] }));
                    }
                    Output::Fact(fact) => {
                        if let What::CallEnded(record) = fact.what {
                            self.records.push(record);
                        }
                    }
                    Output::Ask(_) | Output::Keep { .. } | Output::Forget { .. } => {}
                    Output::Timeout(_) => return,
                }
            }
        }

        fn handle(&mut self, input: Input) {
            self.feed(|exchange, now| exchange.handle(input, now));
        }

        fn obey(&mut self, command: MediaCommand) {
            match command {
                MediaCommand::Open { endpoint, .. } => {
                    self.handle(Input::Media(MediaEvent::Opened { endpoint, rtp_ports: vec![20_000] }));
                }
                MediaCommand::Close { endpoint } => {
                    self.handle(Input::Media(MediaEvent::Closed { endpoint, streams: vec![] }));
                }
                MediaCommand::Reopen { .. }
                | MediaCommand::Configure { .. }
                | MediaCommand::Bridge { .. }
                | MediaCommand::Serve { .. }
                | MediaCommand::Press { .. } => {}
            }
        }

        fn receive(&mut self, from: &str, text: String) {
            let (local, remote) = (NODE.parse().unwrap(), from.parse().unwrap());
            let flow =
                Flow { listener: ListenerId(0), transport: Transport::Udp, local, remote, connection: None };
            self.handle(Input::Received { flow, bytes: Bytes::from(text) });
        }

        fn call(&mut self) {
            self.calls += 1;
            let number = self.calls;
            self.receive(
                CALLER,
                format!(
                    "INVITE sip:5550123@{NODE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{number}\r\n\
                     Max-Forwards: 70\r\nFrom: <sip:1@{CALLER}>;tag=c{number}\r\nTo: <sip:5550123@{NODE}>\r\n\
                     Call-ID: {number}\r\nCSeq: 1 INVITE\r\nContact: <sip:1@{CALLER}>\r\n\
                     Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
                    SDP.len()
                ),
            );
        }

        /// The callee answers the latest request of this method.
        fn answer(&mut self, method: &str, status: &str, body: &str) {
            let to: SocketAddr = CALLEE.parse().unwrap();
            let wanted = |request: &Request| request.method().as_str() == method;
            let request = self
                .sent
                .iter()
                .rev()
                .filter(|(remote, _)| *remote == to)
                .find_map(|(_, bytes)| match Message::parse(bytes.clone()) {
                    Ok(Message::Request(request)) if wanted(&request) => Some(request),
                    _ => None,
                })
                .unwrap_or_else(|| panic!("no {method}"));
            let line = |name: &str| request.headers().get(name).unwrap_or_default().to_string();
            let tag = if line("To").contains("tag=") { "" } else { ";tag=callee" };
            let text = format!(
                "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
                 Contact: <sip:2@{CALLEE}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                line("Via"),
                line("From"),
                line("To"),
                line("Call-ID"),
                line("CSeq"),
                body.len()
            );
            self.receive(CALLEE, text);
        }

        /// A bug hits the one call there is.
        fn hit(&mut self) {
            let key = self.exchange.calls.iter().next().expect("a call").0;
            self.feed(|exchange, _| exchange.with_call(key, |_, _| panic!("a bug")));
        }

        /// The first words of what was sent to `address`, but for 100.
        fn words_to(&self, address: &str) -> Vec<String> {
            let address: SocketAddr = address.parse().unwrap();
            let first = |bytes: &Bytes| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let mut words = text.split(' ').map(str::to_string);
                let first = words.next().unwrap_or_default();
                if first == "SIP/2.0" { words.next().unwrap_or_default() } else { first }
            };
            let words = self.sent.iter().filter(|(to, _)| *to == address).map(|(_, bytes)| first(bytes));
            words.filter(|word| word != "100").collect()
        }

        fn pass(&mut self, secs: u64) {
            for _ in 0..secs * 10 {
                let step = Duration::from_millis(100);
                self.now =
                    Moment { instant: self.now.instant + step, utc: self.now.utc.saturating_add(step) };
                self.handle(Input::Timeout);
            }
        }

        /// One record, nothing left behind, and room for the next call.
        fn assert_over(&mut self) {
            self.pass(200);
            assert_eq!(self.records.len(), 1, "one call, one record");
            let record = &self.records[0];
            assert_eq!(
                (record.ended_by, record.cause, record.sip_status),
                (EndedBy::Node, EndCause::Failed, 500)
            );
            let gauges = self.exchange.gauges();
            assert_eq!((gauges.calls, gauges.transactions, gauges.tables), (0, 0, [0; 5]));
            assert_eq!(self.exchange.lines(self.now.instant).len(), 0);
            self.sent.clear();
            self.call();
            assert_eq!(self.words_to(CALLEE), ["INVITE"], "the peers have room for their one call again");
        }
    }

    #[test]
    fn a_panic_while_it_rings_answers_500_and_cancels() {
        let mut stage = Stage::new();
        stage.call();
        stage.answer("INVITE", "180 Ringing", "");
        stage.hit();
        assert_eq!(stage.words_to(CALLER), ["180", "500"]);
        assert_eq!(stage.words_to(CALLEE), ["INVITE", "CANCEL"]);
        stage.answer("CANCEL", "200 OK", "");
        stage.answer("INVITE", "487 Request Terminated", "");
        stage.assert_over();
    }

    #[test]
    fn a_panic_in_a_conversation_hangs_up_on_both_sides() {
        let mut stage = Stage::new();
        stage.call();
        stage.answer("INVITE", "200 OK", SDP);
        stage.hit();
        // The caller's ACK never comes: its BYE waits for 64*T1 (RFC 3261 §15).
        assert_eq!(stage.words_to(CALLEE), ["INVITE", "ACK", "BYE"]);
        stage.answer("BYE", "200 OK", "");
        stage.pass(40);
        assert!(stage.words_to(CALLER).contains(&"BYE".to_string()));
        stage.assert_over();
    }

    #[test]
    fn a_panic_when_a_call_begins_leaves_no_slot_and_one_record() {
        let mut stage = Stage::new();
        // Its ports were asked for, its carrier was not.
        stage.exchange.services.traps = [false, true].into();
        stage.call();
        assert_eq!(stage.words_to(CALLER), ["500"]);
        stage.assert_over();
    }

    /// Goal: whatever else breaks, the tables stay right. Method: what ends the call panics as well, and then what gives it
    /// up does.
    #[test]
    fn a_panic_in_the_recovery_still_makes_the_record() {
        for traps in [1, 2] {
            let mut stage = Stage::new();
            stage.call();
            stage.answer("INVITE", "180 Ringing", "");
            stage.exchange.services.traps = vec![true; traps].into();
            stage.hit();
            assert_eq!(stage.words_to(CALLER), ["180", "500"]);
            stage.answer("CANCEL", "200 OK", "");
            stage.answer("INVITE", "487 Request Terminated", "");
            stage.assert_over();
        }
    }

    #[test]
    fn a_call_that_panics_again_after_its_end_is_given_up() {
        let mut stage = Stage::new();
        stage.call();
        stage.answer("INVITE", "180 Ringing", "");
        stage.hit();
        stage.hit();
        assert_eq!(stage.exchange.gauges().calls, 0);
        stage.answer("CANCEL", "200 OK", "");
        stage.answer("INVITE", "487 Request Terminated", "");
        stage.assert_over();
    }
    #[test]
    fn a_request_that_panics_before_there_is_a_call_gets_500() {
        let mut stage = Stage::new();
        let invite = |branch: &str| {
            format!(
                "INVITE sip:5550123@{NODE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch=z9hG4bK{branch}\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:1@{CALLER}>;tag=c\r\nTo: <sip:5550123@{NODE}>\r\n\
                 Call-ID: {branch}\r\nCSeq: 1 INVITE\r\nContact: <sip:1@{CALLER}>\r\nContent-Length: 0\r\n\r\n"
            )
        };
        stage.exchange.services.request_trap = true;
        stage.receive(CALLER, invite("a"));
        assert_eq!(stage.words_to(CALLER), ["500"]);
        stage.receive(CALLER, invite("b"));
        assert_eq!(stage.words_to(CALLEE), ["INVITE"], "the next one is worked on");
    }
}
