//! The patterns of RFC 6337 §2.1, glare, refusals and rollback, as the owner of a dialog drives them.

use offhook_sdp::offer_answer::{AnswerFault, Misuse, State};
use offhook_sdp::{Carrier, Direction, OfferAnswer, Received, Refusal, SessionDescription, negotiated};

use Carrier::{
    Ack, Invite, Prack, PrackSuccess, ReliableProvisional, Success, UnreliableProvisional, Update,
    UpdateSuccess,
};

/// A description of `version` with these media sections.
fn sdp(version: u32, media: &str) -> SessionDescription {
    let text = format!("v=0\no=- 7 {version} IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\n{media}");
    SessionDescription::parse(text).unwrap()
}

fn audio(version: u32) -> SessionDescription {
    sdp(version, "m=audio 4000 RTP/AVP 8 0\n")
}

/// A dialog of ours as caller with a session: `audio(1)` offered, `audio(10)` answered.
fn established() -> OfferAnswer {
    let mut dialog = OfferAnswer::new();
    dialog.offer_sent(audio(1), Invite).unwrap();
    assert_eq!(dialog.receive(Some(&audio(10)), Success), Ok(Received::Answer { changed: true }));
    dialog.invite_completed();
    dialog
}

fn versions(dialog: &OfferAnswer) -> (String, String) {
    let session = dialog.session().unwrap();
    (session.local.origin().version.to_string(), session.remote.origin().version.to_string())
}

#[test]
fn pattern_1_offer_in_invite_answer_in_2xx() {
    let dialog = established();
    assert_eq!(versions(&dialog), ("1".into(), "10".into()));
    assert!(dialog.session().unwrap().offered_by_us && !dialog.invite_pending());

    let mut callee = OfferAnswer::new();
    assert_eq!(callee.receive(Some(&audio(1)), Invite), Ok(Received::Offer { changed: true }));
    assert_eq!(callee.pending_remote_offer(), Some(&audio(1)));
    callee.answer_sent(audio(10), Success).unwrap();
    assert_eq!(callee.receive(None, Ack), Ok(Received::Nothing));
    callee.invite_completed();
    assert_eq!(versions(&callee), ("10".into(), "1".into()));
}

#[test]
fn pattern_2_late_offer_in_2xx_answer_in_ack() {
    let mut callee = OfferAnswer::new();
    assert_eq!(callee.receive(None, Invite), Ok(Received::OfferWanted));
    assert!(callee.may_offer(Success) && !callee.may_offer(Update));
    callee.offer_sent(audio(1), Success).unwrap();
    assert_eq!(callee.receive(None, Ack), Err(Refusal::MissingAnswer));
    assert_eq!(callee.receive(Some(&audio(10)), Ack), Ok(Received::Answer { changed: true }));

    let mut caller = OfferAnswer::new();
    caller.invite_sent_without_offer().unwrap();
    assert_eq!(caller.clone().receive(None, Success), Err(Refusal::MissingOffer));
    assert_eq!(caller.receive(Some(&audio(1)), Success), Ok(Received::Offer { changed: true }));
    caller.answer_sent(audio(10), Ack).unwrap();
    assert_eq!(caller.state(), &State::Stable);
}

#[test]
fn pattern_3_answer_in_a_reliable_provisional_and_the_2xx_repeats_it() {
    let mut caller = OfferAnswer::new();
    caller.offer_sent(audio(1), Invite).unwrap();
    assert_eq!(caller.receive(None, ReliableProvisional), Ok(Received::Nothing));
    assert_eq!(caller.receive(Some(&audio(10)), ReliableProvisional), Ok(Received::Answer { changed: true }));
    assert_eq!(caller.receive(Some(&audio(10)), Success), Ok(Received::Nothing));
    assert_eq!(caller.clone().receive(Some(&audio(11)), Success), Ok(Received::Nothing));
    assert_eq!(caller.receive(None, Success), Ok(Received::Nothing));
    assert_eq!(versions(&caller), ("1".into(), "10".into()));
}

#[test]
fn pattern_4_late_offer_in_a_reliable_provisional_answer_in_prack() {
    let mut caller = OfferAnswer::new();
    caller.invite_sent_without_offer().unwrap();
    assert_eq!(caller.receive(Some(&audio(1)), ReliableProvisional), Ok(Received::Offer { changed: true }));
    assert_eq!(caller.answer_sent(audio(10), Ack), Err(Misuse::NotHere));
    caller.answer_sent(audio(10), Prack).unwrap();
    assert_eq!(caller.receive(None, Success), Ok(Received::Nothing));

    let mut callee = OfferAnswer::new();
    callee.receive(None, Invite).unwrap();
    callee.offer_sent(audio(1), ReliableProvisional).unwrap();
    assert_eq!(callee.receive(None, Prack), Err(Refusal::MissingAnswer));
    assert_eq!(callee.receive(Some(&audio(10)), Prack), Ok(Received::Answer { changed: true }));
    assert!(!callee.may_offer(Success), "the INVITE has had its exchange");
}

#[test]
fn pattern_5_second_offer_in_prack_answer_in_its_2xx() {
    let mut caller = OfferAnswer::new();
    caller.offer_sent(audio(1), Invite).unwrap();
    assert!(!caller.may_offer(Prack));
    caller.receive(Some(&audio(10)), ReliableProvisional).unwrap();
    caller.offer_sent(audio(2), Prack).unwrap();
    assert_eq!(caller.receive(Some(&audio(11)), PrackSuccess), Ok(Received::Answer { changed: true }));

    let mut callee = OfferAnswer::new();
    callee.receive(Some(&audio(1)), Invite).unwrap();
    assert_eq!(callee.receive(Some(&audio(2)), Prack), Err(Refusal::NotHere));
    callee.answer_sent(audio(10), ReliableProvisional).unwrap();
    assert_eq!(callee.receive(Some(&audio(2)), Prack), Ok(Received::Offer { changed: true }));
    callee.answer_sent(audio(11), PrackSuccess).unwrap();
    assert_eq!(versions(&callee), ("11".into(), "2".into()));
}

#[test]
fn pattern_6_update_in_an_early_and_a_confirmed_dialog() {
    let mut dialog = established();
    dialog.offer_sent(audio(2), Update).unwrap();
    assert_eq!(dialog.receive(Some(&audio(10)), UpdateSuccess), Ok(Received::Answer { changed: false }));
    assert_eq!(dialog.receive(Some(&audio(11)), Update), Ok(Received::Offer { changed: true }));
    dialog.answer_sent(audio(3), UpdateSuccess).unwrap();
    assert_eq!(versions(&dialog), ("3".into(), "11".into()));

    let mut early = OfferAnswer::new();
    early.offer_sent(audio(1), Invite).unwrap();
    assert_eq!(early.offer_sent(audio(2), Update), Err(Misuse::OfferPending));
    assert_eq!(OfferAnswer::new().receive(Some(&audio(1)), Update), Err(Refusal::NotHere));
}

#[test]
fn a_refresh_without_description_touches_nothing() {
    let mut dialog = established();
    assert_eq!(dialog.receive(None, Update), Ok(Received::Nothing));
    assert_eq!(dialog.state(), &State::Stable);
}

#[test]
fn early_answers_are_shown_and_decide_nothing() {
    let mut caller = OfferAnswer::new();
    caller.offer_sent(audio(1), Invite).unwrap();
    assert_eq!(caller.receive(Some(&audio(10)), UnreliableProvisional), Ok(Received::EarlyAnswer));
    assert_eq!(caller.receive(None, UnreliableProvisional), Ok(Received::Nothing));
    assert!(caller.session().is_none());
    assert_eq!(caller.receive(None, Success), Err(Refusal::MissingAnswer));
    assert_eq!(caller.receive(Some(&audio(10)), Success), Ok(Received::Answer { changed: true }));

    let mut callee = OfferAnswer::new();
    callee.receive(Some(&audio(1)), Invite).unwrap();
    callee.answer_sent(audio(10), UnreliableProvisional).unwrap();
    assert!(callee.pending_remote_offer().is_some());
    callee.answer_sent(audio(10), Success).unwrap();
}

#[test]
fn glare_of_invites_is_491_and_a_second_invite_is_500_with_retry_after() {
    let mut ours = established();
    ours.offer_sent(audio(2), Invite).unwrap();
    for sdp in [Some(&audio(11)), None] {
        let refusal = ours.receive(sdp, Invite).unwrap_err();
        assert_eq!((refusal.status(), refusal.wants_retry_after()), (491, false));
    }
    let mut theirs = established();
    theirs.receive(Some(&audio(11)), Invite).unwrap();
    let refusal = theirs.receive(Some(&audio(12)), Invite).unwrap_err();
    assert_eq!((refusal.status(), refusal.wants_retry_after()), (500, true));
    assert_eq!(theirs.offer_sent(audio(2), Invite), Err(Misuse::OfferPending));
}

#[test]
fn an_invite_that_overtakes_the_ack_stands_for_it_unless_the_ack_must_answer() {
    let mut callee = OfferAnswer::new();
    callee.receive(Some(&audio(1)), Invite).unwrap();
    callee.answer_sent(audio(10), Success).unwrap();
    assert_eq!(callee.receive(Some(&audio(2)), Invite), Ok(Received::Offer { changed: true }));

    let mut late = OfferAnswer::new();
    late.receive(None, Invite).unwrap();
    late.offer_sent(audio(1), Success).unwrap();
    assert_eq!(late.receive(Some(&audio(2)), Invite), Err(Refusal::Glare));
}

#[test]
fn glare_of_updates_is_491_and_a_second_update_is_500_with_retry_after() {
    for ours in [Invite, Update] {
        let mut dialog = established();
        dialog.offer_sent(audio(2), ours).unwrap();
        assert_eq!(dialog.receive(Some(&audio(11)), Update), Err(Refusal::Glare));
        assert_eq!(dialog.receive(None, Update), Ok(Received::Nothing));
    }
    for theirs in [Invite, Update] {
        let mut dialog = established();
        dialog.receive(Some(&audio(11)), theirs).unwrap();
        assert_eq!(dialog.receive(Some(&audio(12)), Update), Err(Refusal::OfferPending));
    }
    let mut crossing = established();
    crossing.offer_sent(audio(2), Update).unwrap();
    assert_eq!(crossing.receive(Some(&audio(11)), Invite), Err(Refusal::Glare));
    crossing.offer_refused();
    assert_eq!(crossing.receive(Some(&audio(11)), Invite), Ok(Received::Offer { changed: true }));
}

#[test]
fn an_update_before_the_late_offer_is_refused() {
    let mut caller = established();
    caller.invite_sent_without_offer().unwrap();
    assert_eq!(caller.receive(Some(&audio(11)), Update), Err(Refusal::Glare));
    let mut callee = established();
    callee.receive(None, Invite).unwrap();
    assert_eq!(callee.receive(Some(&audio(11)), Update), Err(Refusal::OfferPending));
}

#[test]
fn a_failed_reinvite_goes_back_to_the_session_before_it() {
    let mut dialog = established();
    dialog.offer_sent(audio(2), Invite).unwrap();
    dialog.receive(Some(&audio(11)), ReliableProvisional).unwrap();
    assert_eq!(versions(&dialog), ("2".into(), "11".into()));
    dialog.invite_failed();
    assert_eq!(versions(&dialog), ("1".into(), "10".into()));
    assert!(!dialog.invite_pending() && dialog.may_offer(Invite));

    let mut refused = established();
    refused.receive(Some(&audio(11)), Invite).unwrap();
    refused.invite_failed();
    assert_eq!(refused, established());
}

#[test]
fn what_an_update_agreed_survives_the_failed_reinvite_around_it() {
    let mut dialog = established();
    dialog.offer_sent(audio(2), Invite).unwrap();
    dialog.receive(Some(&audio(11)), ReliableProvisional).unwrap();
    dialog.offer_sent(audio(3), Update).unwrap();
    dialog.receive(Some(&audio(12)), UpdateSuccess).unwrap();
    dialog.invite_failed();
    assert_eq!(versions(&dialog), ("3".into(), "12".into()));
}

#[test]
fn a_failed_first_invite_leaves_no_session() {
    let mut dialog = OfferAnswer::new();
    dialog.offer_sent(audio(1), Invite).unwrap();
    dialog.receive(Some(&audio(10)), ReliableProvisional).unwrap();
    dialog.invite_failed();
    assert_eq!(dialog, OfferAnswer::new());
}

#[test]
fn forks_are_clones_that_part() {
    let mut first = OfferAnswer::new();
    first.offer_sent(audio(1), Invite).unwrap();
    let mut second = first.clone();
    first.receive(Some(&audio(10)), ReliableProvisional).unwrap();
    second.receive(Some(&audio(20)), Success).unwrap();
    assert_eq!((versions(&first).1, versions(&second).1), ("10".into(), "20".into()));
}

#[test]
fn a_repeated_description_is_no_change_and_a_forgotten_version_is() {
    let mut dialog = established();
    assert_eq!(dialog.receive(Some(&audio(10)), Update), Ok(Received::Offer { changed: false }));
    dialog.answer_sent(audio(1), UpdateSuccess).unwrap();
    let forgotten = sdp(10, "m=audio 4000 RTP/AVP 8 0\na=sendonly\n");
    assert!(forgotten.has_same_origin(&audio(10)));
    assert_eq!(dialog.receive(Some(&forgotten), Update), Ok(Received::Offer { changed: true }));
}

#[test]
fn media_sections_are_added_but_never_dropped() {
    let two = |version| sdp(version, "m=audio 4000 RTP/AVP 8\nm=video 4002 RTP/AVP 34\n");
    let refused = |version| sdp(version, "m=audio 4000 RTP/AVP 8\nm=video 0 RTP/AVP 34\n");
    let mut dialog = established();
    dialog.receive(Some(&two(11)), Invite).unwrap();
    dialog.answer_sent(refused(2), Success).unwrap();
    dialog.invite_completed();
    let refusal = dialog.receive(Some(&audio(12)), Invite).unwrap_err();
    assert_eq!((refusal, refusal.status()), (Refusal::FewerMedia, 488));
    assert_eq!(dialog.offer_sent(audio(3), Invite), Err(Misuse::FewerMedia));
    assert_eq!(dialog.receive(Some(&refused(12)), Invite), Ok(Received::Offer { changed: true }));
}

#[test]
fn answers_that_do_not_fit_are_named() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n";
    let other_key = key.replace("crypto:1", "crypto:2");
    let srtp = format!("m=audio 4 RTP/SAVP 0\n{key}");
    for (offer, answer, fault) in [
        ("m=audio 4 RTP/AVP 0\n", "", Some(AnswerFault::MediaCount)),
        ("m=audio 4 RTP/AVP 0\n", "m=video 4 RTP/AVP 34\n", Some(AnswerFault::Kind(0))),
        ("m=audio 0 RTP/AVP 0\n", "m=audio 4 RTP/AVP 0\n", Some(AnswerFault::Revived(0))),
        ("m=audio 4 RTP/AVP 0\n", "m=audio 4 RTP/SAVP 0\n", Some(AnswerFault::Protocol(0))),
        ("m=image 4 udptl t38\n", "m=image 4 RTP/AVP 0\n", Some(AnswerFault::Protocol(0))),
        ("m=audio 4 RTP/AVP 0 8\n", "m=audio 4 RTP/AVP 18\n", Some(AnswerFault::Formats(0))),
        (&srtp, "m=audio 4 RTP/SAVP 0\n", Some(AnswerFault::Crypto(0))),
        (&srtp, &format!("m=audio 4 RTP/SAVP 0\n{other_key}"), Some(AnswerFault::Crypto(0))),
        (&srtp, &srtp, None),
        (&srtp, "m=audio 0 RTP/AVP 0\n", None),
        ("m=image 4 udptl t38\n", "m=image 6 UDPTL t38\n", None),
        ("m=audio 4 RTP/AVPF 0\n", "m=audio 4 RTP/AVP 0\n", None),
        (
            "m=audio 4 RTP/AVP 96\na=rtpmap:96 opus/48000/2\n",
            "m=audio 4 RTP/AVP 107\na=rtpmap:107 OPUS/48000/2\n",
            None,
        ),
        ("m=audio 4 RTP/AVP 0\na=sendonly\n", "m=audio 4 RTP/AVP 0\na=sendrecv\n", None),
    ] {
        let mut dialog = OfferAnswer::new();
        dialog.offer_sent(sdp(1, offer), Invite).unwrap();
        let outcome = dialog.receive(Some(&sdp(1, answer)), Success);
        match fault {
            Some(fault) => {
                assert_eq!(outcome, Err(Refusal::BadAnswer(fault)), "{offer}{answer}");
                assert!(outcome.unwrap_err().ends_dialog() && dialog.session().is_none());
            }
            None => assert_eq!(outcome, Ok(Received::Answer { changed: true }), "{offer}{answer}"),
        }
    }
}

#[test]
fn the_summary_names_the_codec_the_answerer_prefers() {
    let offer = sdp(
        1,
        "m=audio 4000 RTP/AVP 96 0 8 101\na=rtpmap:96 opus/48000/2\na=rtpmap:101 telephone-event/8000\na=rtcp-mux\n\
         m=video 4002 RTP/AVP 34\nm=image 4004 udptl t38\na=sendonly\n",
    );
    let answer = sdp(
        1,
        "m=audio 5000 RTP/AVP 97 8 0\na=rtpmap:97 telephone-event/8000\na=sendonly\n\
         m=video 0 RTP/AVP 34\nm=image 5004 udptl t38\n",
    );
    let streams = negotiated(&offer, &answer);
    let summary: Vec<String> = streams
        .iter()
        .map(|stream| {
            let codec = stream.codec.map_or("none".into(), |codec| codec.to_string());
            let events = stream.telephone_event.map(|map| map.payload_type.number());
            format!(
                "{} {codec} {events:?} {:?} mux={}",
                stream.kind.as_str(),
                stream.direction,
                stream.rtcp_mux
            )
        })
        .collect();
    assert_eq!(
        summary,
        ["audio PCMA/8000 Some(97) RecvOnly mux=false", "image none None SendOnly mux=false"]
    );
    assert_eq!(streams[1].direction, Direction::SendOnly);
}
