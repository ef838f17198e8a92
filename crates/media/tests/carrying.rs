//! The relay beside a carrier, without a kernel: virtual time, and tallies as a carrier would count them.

mod common;

use std::{net::SocketAddr, time::Duration};

use common::{Phone, rtp};
use offhook_base::Instant;
use offhook_media::relay::{Course, OVERHEAD_MAX, PortId, Relay, Tally, Verdict};
use offhook_switch::media::EndpointId;

const SECOND: Duration = Duration::from_secs(1);
const FRAME: Duration = Duration::from_millis(20);

struct Call {
    relay: Relay,
    now: Instant,
    phones: [Phone; 2],
    ports: [PortId; 2],
    next: u16,
}

impl Call {
    /// Established: the streams of both legs may be carried.
    fn new() -> Self {
        let (mut relay, now) = (Relay::new(None), Instant::default() + SECOND);
        let phones = [Phone::new(1), Phone::new(2)];
        let ports = [0, 1].map(|leg| {
            let places = relay.open(EndpointId(leg), 1, now);
            relay.configure(EndpointId(leg), vec![phones[leg as usize].config()], now);
            places[0][0]
        });
        relay.bridge(EndpointId(0), EndpointId(1), now);
        let mut call = Self { relay, now, phones, ports, next: 0 };
        call.talk();
        call
    }

    /// Half a minute both ways.
    fn talk(&mut self) {
        for _ in 0..1500 {
            self.now += FRAME;
            for leg in [0, 1] {
                let packet = rtp(self.phones[leg].ssrc, self.next);
                let verdict = self.hear(leg, self.address(leg), &packet);
                assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
            }
            self.next += 1;
        }
    }

    fn address(&self, leg: usize) -> SocketAddr {
        self.phones[leg].rtp.local_addr().unwrap()
    }

    fn hear(&mut self, leg: usize, source: SocketAddr, packet: &[u8]) -> Verdict {
        let mut buffer = [0; 172 + OVERHEAD_MAX];
        buffer[..packet.len()].copy_from_slice(packet);
        self.relay.handle_packet(self.ports[leg], source, &mut buffer, packet.len(), self.now)
    }

    /// Hands the pair over, if it may be.
    fn hand_over(&mut self) -> Option<[Course; 2]> {
        let courses = self.relay.carriable(self.now).pop()?;
        for course in &courses {
            self.relay.carry(course.port, course.source, &course.tally);
        }
        Some(courses)
    }

    fn take_back(&mut self, disturbed: bool) {
        for port in self.ports {
            self.relay.take_back(port, disturbed, self.now);
        }
    }
}

/// As a carrier counts that heard `packets` more, the last of them at `now`.
fn counted(mut tally: Tally, packets: u64, now: Instant) -> Tally {
    let progress = &mut tally.progress;
    progress.packets += packets;
    progress.received += packets;
    progress.newest += packets;
    progress.seen = u64::MAX;
    progress.last_arrival = now;
    tally
}

/// Goal: latching holds although the packets of the holder are not seen. Method: a stranger who knows the stream's source and
/// its next number speaks while the carrier hears the holder, and again when the holder has been silent.
#[test]
fn a_stranger_who_knows_all_is_refused_while_the_carrier_hears_the_phone() {
    let mut call = Call::new();
    let [course, _] = call.hand_over().unwrap();
    let stranger = SocketAddr::new(call.address(0).ip(), 9);
    call.now += 60 * SECOND;
    call.relay.merge(course.port, &counted(course.tally, 3000, call.now));
    let packet = rtp(1, call.next + 3000);
    call.now += FRAME;
    assert!(!call.relay.disturbs(course.port, stranger, &packet, call.now));
    assert!(matches!(call.hear(0, stranger, &packet), Verdict::Drop(_)));
    // A phone whose NAT gave it another address: the carrier does not know it, user space takes it.
    call.now += SECOND;
    assert!(call.relay.disturbs(course.port, stranger, &packet, call.now));
}

#[test]
fn packets_that_a_carrier_forwarded_are_in_both_reports() {
    let mut call = Call::new();
    let courses = call.hand_over().unwrap();
    assert!(call.hand_over().is_none(), "once");
    for course in &courses {
        call.relay.merge(course.port, &counted(course.tally, 500, call.now));
        call.relay.merge(course.port, &counted(course.tally, 500, call.now));
    }
    for leg in [0, 1] {
        let quality = call.relay.close(EndpointId(leg)).unwrap().remove(0);
        assert_eq!((quality.packets_received, quality.packets_sent), (2000, 2000));
    }
}

/// Goal: a phone that sends what no carrier knows does not cost a handing over each second. Method: each time the pair is handed
/// over it is disturbed at once.
#[test]
fn a_stream_that_is_disturbed_again_and_again_stays_longer_and_longer() {
    let mut call = Call::new();
    let mut waits = Vec::new();
    for _ in 0..5 {
        let mut waited = 0;
        while call.hand_over().is_none() {
            waited += 1;
            call.now += SECOND;
            for leg in [0, 1] {
                call.hear(leg, call.address(leg), &rtp(call.phones[leg].ssrc, call.next));
            }
            call.next += 1;
        }
        waits.push(waited);
        call.take_back(true);
    }
    assert_eq!(waits, [0, 0, 1, 2, 4]);
    // Undisturbed for long, it is forgiven.
    while call.hand_over().is_none() {
        call.talk();
    }
    call.now += 65 * SECOND;
    call.take_back(true);
    call.talk();
    assert!(call.hand_over().is_some());
}
