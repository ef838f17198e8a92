//! Arbitrary bytes: nothing panics, what is read writes back, and what is anchored reads again and reveals nothing.

use std::net::IpAddr;
use std::time::Duration;

use bytes::BytesMut;
use offhook_sdp::{
    AnchorPlan, CryptoPlan, MediaPlan, OwnOrigin, RtcpMuxPlan, SessionDescription, anchor, negotiated,
};

/// Descriptions of phones that the edits of [`fuzz_sdp_edited`] start from.
const SEEDS: [&[u8]; 6] = [
    include_bytes!("vectors/yealink.in.sdp"),
    include_bytes!("vectors/browser.in.sdp"),
    include_bytes!("vectors/leaky.in.sdp"),
    include_bytes!("vectors/liberal.in.sdp"),
    include_bytes!("vectors/srtp-sdes.in.sdp"),
    include_bytes!("vectors/hold-rfc2543.in.sdp"),
];

#[test]
fn fuzz_sdp() {
    bolero::check!().with_test_time(RUN).for_each(|bytes: &[u8]| check(bytes));
}

/// Random bytes seldom get past the first line: here a few bytes of a real description change instead.
#[test]
fn fuzz_sdp_edited() {
    bolero::check!().with_test_time(RUN).with_type::<(u8, Vec<(u16, u8)>)>().for_each(|(seed, edits)| {
        let mut bytes = SEEDS[usize::from(*seed) % SEEDS.len()].to_vec();
        for (at, byte) in edits.iter().take(16) {
            let at = usize::from(*at) % bytes.len();
            bytes[at] = *byte;
        }
        check(&bytes);
    });
}

/// Time for one target in an ordinary test run.
const RUN: Duration = Duration::from_secs(1);

fn check(bytes: &[u8]) {
    let Ok(sdp) = SessionDescription::parse_slice(bytes) else { return };
    let mut out = BytesMut::new();
    sdp.write(&mut out);
    assert_eq!(&out[..], bytes);
    ask_everything(&sdp);
    let address: IpAddr = "203.0.113.10".parse().unwrap();
    let media = MediaPlan {
        rtp: Some((address, 30_000).into()),
        rtcp: Some((address, 30_001).into()),
        rtcp_mux: RtcpMuxPlan::Keep,
        crypto: CryptoPlan::Plain,
        ..MediaPlan::default()
    };
    let plan = AnchorPlan {
        origin: OwnOrigin { session_id: 1, version: 1, address },
        media: vec![media; sdp.media_count()],
    };
    let anchored = SessionDescription::parse(anchor(&sdp, &plan)).expect("what we write reads back");
    assert_eq!(anchored.media_count(), sdp.media_count());
    ask_everything(&anchored);
    for (before, after) in sdp.media().zip(anchored.media()) {
        assert_eq!(before.is_rejected(), after.is_rejected());
        assert!(!after.has_ice() && !after.has_crypto());
    }
    // A second passage changes nothing any more.
    let again = anchor(&anchored, &plan);
    assert_eq!(&again, anchored.bytes());
}

fn ask_everything(sdp: &SessionDescription) {
    let _ = (sdp.origin(), sdp.connection(), sdp.direction(), sdp.is_hold(), sdp.needs_dtls());
    let _ = (sdp.offers_srtp_sdes(), sdp.streams(), negotiated(sdp, sdp));
    for media in sdp.media() {
        let _ =
            (media.telephone_event(), media.rtcp_address(), media.max_ptime(), media.setup(), media.mid());
        let _ = (media.bandwidths().count(), media.codecs().count(), media.cryptos().count());
        for format in media.formats() {
            let _ = media.fmtp(format).map(|fmtp| fmtp.has_event(1));
        }
    }
}
