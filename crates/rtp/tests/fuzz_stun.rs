//! Any bytes as a STUN message: no panic, and every answer is itself a sound message and no amplifier.

use std::time::Duration;

use offhook_rtp::stun::{Class, Message, answer_binding};

const TIME_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn fuzz_stun() {
    let source = "[2001:db8::1]:5004".parse().unwrap();
    bolero::check!().with_test_time(TIME_LIMIT).for_each(|bytes: &[u8]| {
        let answer = answer_binding(bytes, source);
        let Ok(message) = Message::parse(bytes) else {
            assert!(answer.is_none());
            return;
        };
        for attribute in message.attributes() {
            let _ = (attribute.address(), attribute.error_code(), attribute.unknown_attributes().count());
        }
        message.verify_integrity(b"password");
        let Some(answer) = answer else { return };
        assert_eq!(message.class(), Class::Request);
        let answered = Message::parse(answer.as_bytes()).unwrap();
        assert_eq!(answered.transaction_id(), message.transaction_id());
        assert!(answer.as_bytes().len() <= 128);
    });
}
