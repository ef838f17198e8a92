//! SRTP that ends at the engine, on real sockets: towards a leg in clear, towards another leg with other keys, and when
//! keys change or rest.

mod common;

use common::{LOCAL, Phone, Stage, rtp};
use offhook_base::{CryptoSuite, MasterKey};
use offhook_rtp::{
    rtcp::{CompoundWriter, ReportBlock},
    rtp::Ssrc,
    srtp::{OVERHEAD_MAX, Protector, SrtcpMode, Unprotector},
};
use offhook_switch::media::{StreamConfig, StreamCrypto};

fn master(suite: CryptoSuite, octet: u8) -> MasterKey {
    MasterKey::new(suite, &vec![octet; suite.master_len()]).unwrap()
}

/// A phone that speaks SRTP.
struct Secured {
    phone: Phone,
    keys: StreamCrypto,
    protector: Protector,
    unprotector: Unprotector,
}

impl Secured {
    /// `number` makes its keys: those of two phones differ.
    fn new(ssrc: u32, suite: CryptoSuite, number: u8) -> Self {
        let keys = StreamCrypto { ours: master(suite, number), theirs: master(suite, number + 1) };
        Self {
            phone: Phone::new(ssrc),
            protector: Protector::new(&keys.theirs, SrtcpMode::Encrypted),
            unprotector: Unprotector::new(&keys.ours, SrtcpMode::Encrypted),
            keys,
        }
    }

    fn config(&self) -> StreamConfig {
        StreamConfig { crypto: Some(Box::new(self.keys.clone())), ..self.phone.config() }
    }

    /// Takes a new key for what it sends.
    fn renew(&mut self, number: u8) {
        self.keys.theirs = master(self.keys.theirs.suite(), number);
        self.protector = Protector::new(&self.keys.theirs, SrtcpMode::Encrypted);
    }

    fn say(&mut self, to: u16, sequence_number: u16) {
        let mut packet = rtp(self.phone.ssrc, sequence_number);
        let len = packet.len();
        packet.resize(len + OVERHEAD_MAX, 0);
        let len = self.protector.protect_rtp(&mut packet, len).unwrap();
        self.phone.rtp.send_to(&packet[..len], (LOCAL, to)).unwrap();
    }

    fn hear(&mut self) -> Vec<u8> {
        let (mut packet, _) = self.phone.hear();
        let len = self.unprotector.unprotect_rtp(&mut packet).expect("closed with the key that was told");
        packet.truncate(len);
        packet
    }

    /// Sends a report, from the RTP port if `mux`.
    fn report(&mut self, to: u16, mux: bool, report: &[u8]) {
        let mut packet = report.to_vec();
        packet.resize(report.len() + OVERHEAD_MAX, 0);
        let len = self.protector.protect_rtcp(&mut packet, report.len()).unwrap();
        let (socket, port) = if mux { (&self.phone.rtp, to) } else { (&self.phone.rtcp, to + 1) };
        socket.send_to(&packet[..len], (LOCAL, port)).unwrap();
    }

    fn hear_report(&mut self, mux: bool) -> Vec<u8> {
        let (mut packet, _) = if mux { self.phone.hear() } else { self.phone.hear_control() };
        let len =
            self.unprotector.unprotect_rtcp(&mut packet).expect("closed, and never twice under one number");
        packet.truncate(len);
        packet
    }
}

/// A receiver report of `by` on `about`, of which it has lost some.
fn report(by: u32, about: u32, lost: i32) -> Vec<u8> {
    let mut buffer = [0; 64];
    let mut writer = CompoundWriter::new(&mut buffer);
    let block = ReportBlock { ssrc: Ssrc(about), cumulative_lost: lost, ..ReportBlock::default() };
    writer.receiver_report(Ssrc(by), &[block]).unwrap();
    writer.written().to_vec()
}

fn join(stage: &Stage, left: StreamConfig, right: StreamConfig) -> (u16, u16) {
    let ports = (stage.open(1, 1)[0], stage.open(2, 1)[0]);
    stage.configure(1, vec![left]);
    stage.configure(2, vec![right]);
    stage.bridge(1, 2);
    stage.settle();
    ports
}

/// Goal: whatever suite, and wherever RTCP goes, both sides understand all, and the statistics see into it. Method: 20
/// packets and a report each way; the report says that two of ours were lost.
#[test]
fn a_secured_leg_and_one_in_clear_understand_each_other_with_their_reports() {
    for suite in CryptoSuite::ALL {
        for mux in [false, true] {
            let stage = Stage::new(8);
            let (mut alice, bob) = (Secured::new(1, suite, 10), Phone::new(2));
            let left = StreamConfig { rtcp_mux: mux, ..alice.config() };
            let (left, right) = join(&stage, left, bob.config());
            for sequence_number in 0..20 {
                alice.say(left, sequence_number);
                assert_eq!(bob.hear(), (rtp(1, sequence_number), (LOCAL, right).into()));
                bob.say(right, sequence_number);
                assert_eq!(alice.hear(), rtp(2, sequence_number));
            }
            alice.report(left, mux, &report(1, 2, 2));
            assert_eq!(bob.hear_control().0, report(1, 2, 2));
            bob.rtcp.send_to(&report(2, 1, 1), (LOCAL, right + 1)).unwrap();
            assert_eq!(alice.hear_report(mux), report(2, 1, 1));
            let (secured, plain) = (stage.close(1).remove(0), stage.close(2).remove(0));
            assert_eq!((secured.packets_received, secured.octets_received), (20, 3200), "{suite:?}");
            assert_eq!((secured.packets_sent, secured.packets_refused), (20, 0));
            assert_eq!((secured.remote_loss, plain.remote_loss), (Some(0.1), Some(0.05)), "{suite:?} {mux}");
        }
    }
}

#[test]
fn two_secured_legs_with_keys_of_their_own_understand_each_other() {
    let stage = Stage::new(8);
    let mut alice = Secured::new(1, CryptoSuite::AesCm128HmacSha1_80, 10);
    let mut bob = Secured::new(2, CryptoSuite::ALL[3], 20);
    let (left, right) = join(&stage, alice.config(), bob.config());
    for sequence_number in 0..20 {
        alice.say(left, sequence_number);
        assert_eq!(bob.hear(), rtp(1, sequence_number));
        bob.say(right, sequence_number);
        assert_eq!(alice.hear(), rtp(2, sequence_number));
    }
    alice.report(left, false, &report(1, 2, 0));
    assert_eq!(bob.hear_report(false), report(1, 2, 0));
}

/// RFC 3711 §9.1: under one key nothing is counted twice. The phone would refuse a number that it knows as a replay.
#[test]
fn a_new_key_of_the_leg_leaves_ours_counting_on() {
    let stage = Stage::new(8);
    let (mut alice, bob) = (Secured::new(1, CryptoSuite::AesCm128HmacSha1_80, 10), Phone::new(2));
    let (left, right) = join(&stage, alice.config(), bob.config());
    for round in 0..3 {
        alice.say(left, round);
        assert_eq!(bob.hear().0, rtp(1, round));
        bob.rtcp.send_to(&report(2, 1, 0), (LOCAL, right + 1)).unwrap();
        assert_eq!(alice.hear_report(false), report(2, 1, 0));
        alice.renew(50 + u8::try_from(round).unwrap());
        stage.configure(1, vec![alice.config()]);
        stage.settle();
    }
}

#[test]
fn keys_that_rest_while_the_stream_is_refused_count_on_when_they_come_back() {
    let stage = Stage::new(8);
    let (mut alice, bob) = (Secured::new(1, CryptoSuite::AesCm128HmacSha1_80, 10), Phone::new(2));
    let (left, right) = join(&stage, alice.config(), bob.config());
    for round in 0..3 {
        alice.say(left, round);
        assert_eq!(bob.hear().0, rtp(1, round));
        bob.rtcp.send_to(&report(2, 1, 0), (LOCAL, right + 1)).unwrap();
        assert_eq!(alice.hear_report(false), report(2, 1, 0));
        stage.configure(1, vec![StreamConfig::default()]);
        stage.configure(1, vec![alice.config()]);
        stage.settle();
    }
}
