//! Media over IPv6, and between the two families.

mod common;

use std::net::{IpAddr, Ipv6Addr};

use common::{LOCAL, Phone, Stage, rtp};
use offhook_media::DropReason;

const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// An empty receiver report.
const RR: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];

/// A call between a phone at each address; the phones and their ports at the engine.
fn call(stage: &Stage, left: IpAddr, right: IpAddr) -> ((Phone, u16), (Phone, u16)) {
    let (alice, bob) = (Phone::at(left, 1), Phone::at(right, 2));
    let ports = (stage.open_at(left, 1, 1)[0], stage.open_at(right, 2, 1)[0]);
    stage.configure(1, vec![alice.config()]);
    stage.configure(2, vec![bob.config()]);
    stage.bridge(1, 2);
    stage.settle();
    ((alice, ports.0), (bob, ports.1))
}

#[test]
fn sound_and_reports_pass_within_ipv6_and_between_the_families() {
    for (left_ip, right_ip) in [(V6, V6), (V6, LOCAL), (LOCAL, V6)] {
        let stage = Stage::new(8);
        let ((alice, left), (bob, right)) = call(&stage, left_ip, right_ip);
        for sequence_number in 0..20 {
            alice.say(left, sequence_number);
            assert_eq!(bob.hear(), (rtp(1, sequence_number), (right_ip, right).into()));
            bob.say(right, sequence_number);
            assert_eq!(alice.hear(), (rtp(2, sequence_number), (left_ip, left).into()));
        }
        alice.rtcp.send_to(&RR, (left_ip, left + 1)).unwrap();
        assert_eq!(bob.hear_control(), (RR.to_vec(), (right_ip, right + 1).into()));
        bob.rtcp.send_to(&RR, (right_ip, right + 1)).unwrap();
        assert_eq!(alice.hear_control(), (RR.to_vec(), (left_ip, left + 1).into()));
        let quality = stage.close(1).remove(0);
        assert_eq!((quality.packets_received, quality.packets_sent), (20, 20));
    }
}

#[test]
fn a_leg_on_ipv6_is_answered_where_it_sends_from_and_strangers_are_not() {
    for other in [V6, LOCAL] {
        let stage = Stage::new(8);
        let ((_, left), (bob, right)) = call(&stage, V6, other);
        let (nat, stranger) = (Phone::at(V6, 1), Phone::at(V6, 66));
        nat.say(left, 7);
        assert_eq!(bob.hear().0, rtp(1, 7));
        stranger.say(left, 8);
        bob.say(right, 1);
        assert_eq!(nat.hear().0, rtp(2, 1));
        assert_eq!(stage.close(1)[0].packets_refused, 1);
        assert_eq!(stage.handle.snapshot().dropped(DropReason::Stranger), 1);
    }
}
