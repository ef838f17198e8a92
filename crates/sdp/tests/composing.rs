//! Descriptions of our own read back as what they were meant to be.

use offhook_base::{CryptoSuite, Random};
use offhook_sdp::{
    AudioDescription, Carrier, Codec, Crypto, Direction, OfferAnswer, OwnOrigin, PayloadType, Protocol,
    Received, RtpMap, negotiated,
};

fn map(number: u8, codec: &'static str) -> RtpMap<'static> {
    RtpMap { payload_type: PayloadType::new(number).unwrap(), codec: Codec::parse(codec).unwrap() }
}

#[test]
fn two_built_in_phones_agree_on_a_codec() {
    let mut random = Random::from_number(3);
    let offered = [map(8, "PCMA/8000"), map(0, "PCMU/8000"), map(101, "telephone-event/8000")];
    let address = "192.0.2.1".parse().unwrap();
    let offer = AudioDescription {
        origin: OwnOrigin::new(&mut random, address),
        rtp: (address, 4000).into(),
        codecs: &offered,
        direction: Direction::SendRecv,
        ptime_ms: Some(20),
        rtcp_mux: true,
        crypto: None,
    };
    let answered = [offered[1], offered[2]];
    let answer = AudioDescription { rtp: (address, 5000).into(), codecs: &answered, ..offer.clone() };
    let (offer, answer) = (offer.describe(), answer.describe());
    assert_eq!(offer.media_at(0).unwrap().codecs().collect::<Vec<_>>(), offered);

    let mut caller = OfferAnswer::new();
    caller.offer_sent(offer, Carrier::Invite).unwrap();
    assert_eq!(caller.receive(Some(&answer), Carrier::Success), Ok(Received::Answer { changed: true }));
    let session = caller.session().unwrap();
    let stream = &negotiated(session.offer(), session.answer())[0];
    assert_eq!(stream.codec.unwrap().to_string(), "PCMU/8000");
    assert_eq!(stream.telephone_event, Some(offered[2]));
    assert!(stream.rtcp_mux && stream.direction == Direction::SendRecv);
    assert!(answer.media_at(0).unwrap().fmtp("101").unwrap().has_event(16));
}

#[test]
fn a_key_makes_the_profile_secure_and_no_codec_refuses_the_stream() {
    let mut random = Random::from_number(3);
    let key = Crypto::generate(1, CryptoSuite::AeadAes256Gcm, &mut random);
    let address = "2001:db8::1".parse().unwrap();
    let description = AudioDescription {
        origin: OwnOrigin::new(&mut random, address).next_version(),
        rtp: (address, 4000).into(),
        codecs: &[map(96, "opus/48000/2")],
        direction: Direction::SendOnly,
        ptime_ms: None,
        rtcp_mux: false,
        crypto: Some(&key),
    };
    let sdp = description.describe();
    let media = sdp.media_at(0).unwrap();
    assert_eq!((media.protocol(), media.direction()), (Protocol::RtpSavp, Direction::SendOnly));
    assert_eq!(media.cryptos().collect::<Vec<_>>(), [Ok(key.clone())]);
    assert_eq!(media.rtp_address().unwrap().socket_addr(), Some((address, 4000).into()));
    assert_eq!(sdp.origin().version, "2");
    let refused = AudioDescription { codecs: &[], ..description }.describe();
    assert!(refused.media_at(0).unwrap().is_rejected());
}
