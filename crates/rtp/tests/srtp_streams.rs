//! A stream between two ends: order, loss, replay, forgery, and the limits of a key.

use offhook_base::{CryptoSuite, MasterKey, Random};
use offhook_rtp::{
    rtp::{FixedHeader, PacketWriter, PayloadType, SequenceNumber, Ssrc, Timestamp},
    srtp::{OVERHEAD_MAX, ProtectError, Protector, SOURCES_MAX, SrtcpMode, UnprotectError, Unprotector},
};

const RTCP: [u8; 16] = [0x81, 203, 0, 3, 0, 0, 0, 1, 7, b'a', b'w', b'a', b'y', b' ', b'n', b'w'];

fn ends(suite: CryptoSuite) -> (Protector, Unprotector) {
    let master = MasterKey::generate(suite, &mut Random::from_number(1));
    (Protector::new(&master, SrtcpMode::Encrypted), Unprotector::new(&master, SrtcpMode::Encrypted))
}

fn packet(ssrc: u32, sequence_number: u16) -> Vec<u8> {
    let header = FixedHeader {
        marker: false,
        payload_type: PayloadType::PCMA,
        sequence_number: SequenceNumber(sequence_number),
        timestamp: Timestamp(160 * u32::from(sequence_number)),
        ssrc: Ssrc(ssrc),
    };
    let mut buffer = vec![0; 172];
    PacketWriter::new(header, &[0xd5; 160]).write(&mut buffer).unwrap();
    buffer
}

fn protect(sender: &mut Protector, plain: &[u8]) -> Result<Vec<u8>, ProtectError> {
    let mut buffer = plain.to_vec();
    buffer.resize(plain.len() + OVERHEAD_MAX, 0);
    let len = sender.protect_rtp(&mut buffer, plain.len())?;
    buffer.truncate(len);
    Ok(buffer)
}

fn unprotect(receiver: &mut Unprotector, protected: &[u8]) -> Result<Vec<u8>, UnprotectError> {
    let mut buffer = protected.to_vec();
    let len = receiver.unprotect_rtp(&mut buffer)?;
    buffer.truncate(len);
    Ok(buffer)
}

#[test]
fn a_stream_with_loss_and_reordering_survives_the_turn_of_the_sequence_number() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let packets: Vec<_> = (0..200u16).map(|n| packet(1, n.wrapping_add(65_450))).collect();
        let mut protected: Vec<_> =
            packets.iter().map(|plain| protect(&mut sender, plain).unwrap()).collect();
        assert!(protected.iter().all(|packet| packet.len() == 172 + suite.rtp_overhead()));
        let mut expected = packets;
        for list in [&mut protected, &mut expected] {
            list.swap(80, 90);
            list.remove(86);
        }
        for (protected, plain) in protected.iter().zip(&expected) {
            assert_eq!(unprotect(&mut receiver, protected).unwrap(), *plain, "{suite:?}");
        }
    }
}

#[test]
fn nothing_is_accepted_twice_and_no_flipped_bit_at_all() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let protected = protect(&mut sender, &packet(1, 7)).unwrap();
        for bit in 0..8 * protected.len() {
            let mut forged = protected.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect(&mut receiver, &forged).is_err(), "{suite:?}, bit {bit}");
        }
        assert!(unprotect(&mut receiver, &protected).is_ok(), "forgeries leave no trace");
        assert_eq!(unprotect(&mut receiver, &protected), Err(UnprotectError::Replayed));
        for len in 0..protected.len() {
            assert!(unprotect(&mut receiver, &protected[..len]).is_err());
        }
    }
}

#[test]
fn a_sender_never_uses_a_sequence_number_twice_nor_forgets_a_source() {
    let (mut sender, _) = ends(CryptoSuite::AesCm128HmacSha1_80);
    for ssrc in 0..SOURCES_MAX as u32 {
        protect(&mut sender, &packet(ssrc, 1)).unwrap();
    }
    assert_eq!(protect(&mut sender, &packet(0, 1)), Err(ProtectError::Repeated));
    assert_eq!(protect(&mut sender, &packet(99, 1)), Err(ProtectError::TooManySources));
    let mut tight = packet(0, 2);
    let len = tight.len();
    assert!(matches!(sender.protect_rtp(&mut tight, len), Err(ProtectError::NoRoom { needed: 10, .. })));
    assert!(protect(&mut sender, &packet(0, 2)).is_ok(), "a refused packet has not used its number");
}

#[test]
fn a_receiver_takes_any_number_of_sources_one_after_the_other() {
    let (_, mut receiver) = ends(CryptoSuite::AeadAes128Gcm);
    for ssrc in 0..4 * SOURCES_MAX as u32 {
        let (mut sender, _) = ends(CryptoSuite::AeadAes128Gcm);
        assert!(unprotect(&mut receiver, &protect(&mut sender, &packet(ssrc, 9)).unwrap()).is_ok());
    }
}

#[test]
fn rtcp_is_encrypted_indexed_and_accepted_once() {
    for suite in CryptoSuite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for n in 0..300 {
            let mut buffer = [0; 64];
            buffer[..16].copy_from_slice(&RTCP);
            let len = sender.protect_rtcp(&mut buffer, 16).unwrap();
            assert_eq!(len, 16 + suite.rtcp_overhead());
            assert_ne!(buffer[8..16], RTCP[8..]);
            let protected = buffer;
            assert_eq!(receiver.unprotect_rtcp(&mut buffer[..len]), Ok(16), "{suite:?}, packet {n}");
            assert_eq!(buffer[..16], RTCP);
            buffer = protected;
            assert_eq!(receiver.unprotect_rtcp(&mut buffer[..len]), Err(UnprotectError::Replayed));
            buffer[9] ^= 1;
            assert!(receiver.unprotect_rtcp(&mut buffer[..len]).is_err());
        }
    }
}

#[test]
fn rtcp_in_clear_is_refused_unless_that_was_agreed() {
    for suite in CryptoSuite::ALL {
        let master = MasterKey::generate(suite, &mut Random::from_number(2));
        let mut sender = Protector::new(&master, SrtcpMode::Unencrypted);
        let mut buffer = [0; 64];
        buffer[..16].copy_from_slice(&RTCP);
        let len = sender.protect_rtcp(&mut buffer, 16).unwrap();
        assert_eq!(buffer[..16], RTCP, "in clear");
        let mut strict = Unprotector::new(&master, SrtcpMode::Encrypted);
        assert_eq!(strict.unprotect_rtcp(&mut buffer[..len]), Err(UnprotectError::NotEncrypted));
        let mut agreed = Unprotector::new(&master, SrtcpMode::Unencrypted);
        assert_eq!(agreed.unprotect_rtcp(&mut buffer[..len]), Ok(16), "{suite:?}");
        assert_eq!(buffer[..16], RTCP);
    }
}
