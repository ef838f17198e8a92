//! RFC 5769: messages that implementations commonly get wrong.

use offhook_rtp::stun::{AttributeType, Class, Message, MessageWriter, StunError};

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

fn vector(name: &str) -> Vec<u8> {
    let file = include_str!("vectors/rfc5769.txt");
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap();
    (0..line.len()).step_by(2).map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_sample_request_is_read_and_its_sender_proved() {
    let bytes = vector("request");
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.class(), Class::Request);
    assert_eq!(message.attribute(AttributeType::USERNAME).unwrap().value, b"evtj:h6vY");
    assert_eq!(message.attribute(AttributeType::SOFTWARE).unwrap().value, b"STUN test client");
    assert!(message.verify_integrity(PASSWORD));
    assert!(!message.verify_integrity(b"another password"));
}

#[test]
fn the_sample_responses_show_the_mapped_address() {
    let mapped = [
        ("response-ipv4", "192.0.2.1:32853"),
        ("response-ipv6", "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
    ];
    for (name, address) in mapped {
        let bytes = vector(name);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.class(), Class::Success);
        let attribute = message.attribute(AttributeType::XOR_MAPPED_ADDRESS).unwrap();
        assert_eq!(attribute.address(), Some(address.parse().unwrap()));
        assert!(message.verify_integrity(PASSWORD));
    }
}

#[test]
fn a_response_with_the_samples_contents_has_the_samples_bytes_but_for_padding() {
    let sample = vector("response-ipv4");
    let message = Message::parse(&sample).unwrap();
    let mut buffer = [0; 128];
    let mut writer = MessageWriter::new(&mut buffer, 1, Class::Success, message.transaction_id()).unwrap();
    writer.attribute(AttributeType::SOFTWARE, b"test vector").unwrap();
    writer.xor_mapped_address("192.0.2.1:32853".parse().unwrap()).unwrap();
    writer.message_integrity(PASSWORD).unwrap();
    let len = writer.fingerprint().unwrap();
    // The RFC pads with a space and we with a zero: so the sums over it differ too.
    assert_eq!((len, &buffer[..35], &buffer[36..48]), (sample.len(), &sample[..35], &sample[36..48]));
    assert!(Message::parse(&buffer[..len]).unwrap().verify_integrity(PASSWORD));
}

#[test]
fn any_flipped_bit_that_a_sum_covers_shows() {
    let sample = vector("request");
    let fingerprint_at = sample.len() - 8;
    for bit in 0..8 * fingerprint_at {
        let mut bytes = sample.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // A flipped length may swallow the fingerprint, never the integrity as well.
        let proved = Message::parse(&bytes).is_ok_and(|message| message.verify_integrity(PASSWORD));
        assert!(!proved, "bit {bit}");
    }
    let mut bytes = sample;
    *bytes.last_mut().unwrap() ^= 1;
    assert_eq!(Message::parse(&bytes).unwrap_err(), StunError::Fingerprint);
}
