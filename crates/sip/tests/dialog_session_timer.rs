//! Session timers between two sides: RFC 4028 §7 to §10.

use std::time::Duration;

use bytes::BytesMut;
use offhook_base::Instant;
use offhook_sip::{
    header::{Headers, Refresher, SessionExpires},
    message::{Message, Method},
    session_timer::{
        RequestOffer, SessionAgreement, SessionEvent, SessionTimer, SessionTimerPolicy, UasAnswer,
    },
    write::MessageWriter,
};

fn headers(lines: &str) -> Headers {
    let text = format!(
        "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\n{lines}\r\n"
    );
    Message::parse(text.into()).unwrap().headers().clone()
}

/// What a machine writes, read back.
fn written(write: impl FnOnce(&mut MessageWriter<'_>)) -> Headers {
    let mut buffer = BytesMut::new();
    let mut writer = MessageWriter::request(&mut buffer, &Method::Invite, "sip:a@b");
    write(&mut writer);
    Message::parse(writer.finish()).unwrap().headers().clone()
}

fn policy(interval_secs: u32, min_secs: u32) -> SessionTimerPolicy {
    SessionTimerPolicy { interval_secs, min_secs, refresh_alone: true }
}

fn accepted(answer: UasAnswer) -> (SessionExpires, bool, SessionAgreement) {
    match answer {
        UasAnswer::Accept { session_expires, require, agreement } => (session_expires, require, agreement),
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_sides_that_know_the_extension_agree_and_exactly_one_refreshes() {
    for refresher in [None, Some(Refresher::Uac), Some(Refresher::Uas)] {
        let caller = policy(1800, 90);
        let mut offer = caller.offer();
        offer.session_expires.refresher = refresher;
        let request = written(|writer| {
            offer.write(writer);
            writer.header_text("Supported", "timer");
        });
        let answer = policy(600, 90).uas_answer(&request).unwrap();
        let reply = written(|writer| answer.write(writer));
        let (_, require, callee) = accepted(answer);
        let caller = caller.uac_outcome(offer, &reply).unwrap().unwrap();
        assert_eq!((caller.interval_secs, callee.interval_secs), (600, 600), "the shorter wish holds");
        assert_ne!(caller.we_refresh, callee.we_refresh);
        assert_eq!(caller.we_refresh, refresher == Some(Refresher::Uac));
        assert_eq!(require, caller.we_refresh, "§9: Require: timer if the client refreshes");
    }
}

/// §7.3, §9: 422 with Min-SE, and the request again with it.
#[test]
fn an_interval_below_the_floor_is_refused_and_asked_for_again_higher() {
    let (caller, callee) = (policy(100, 90), policy(1800, 300));
    let offer = caller.offer();
    let request = |offer: RequestOffer| {
        written(|writer| {
            offer.write(writer);
            writer.header_text("Supported", "timer");
        })
    };
    let refusal = callee.uas_answer(&request(offer)).unwrap();
    assert_eq!(refusal.refusal().unwrap().as_u16(), 422);
    let retry = caller.retry(offer, &written(|writer| refusal.write(writer))).unwrap();
    assert_eq!((retry.session_expires.seconds, retry.min_se_secs), (300, 300));
    let (session_expires, ..) = accepted(callee.uas_answer(&request(retry)).unwrap());
    assert_eq!(session_expires.seconds, 300);
    // The same refusal again would go round in circles; one without Min-SE says nothing.
    assert_eq!(caller.retry(retry, &headers("Min-SE: 300\r\n")), None);
    assert_eq!(caller.retry(retry, &headers("")), None);
    assert_eq!(caller.retry(retry, &headers("Min-SE: 4000000000\r\n")), None);
}

#[test]
fn a_client_that_does_not_know_the_extension_is_refreshed_by_us_and_never_refused() {
    let (session_expires, require, agreement) =
        accepted(policy(1800, 300).uas_answer(&headers("Session-Expires: 100\r\n")).unwrap());
    assert_eq!((session_expires.seconds, session_expires.refresher), (100, Some(Refresher::Uas)));
    assert!(!require && agreement.we_refresh);
    let (session_expires, require, agreement) = accepted(policy(1800, 90).uas_answer(&headers("")).unwrap());
    assert_eq!((session_expires.seconds, require, agreement.we_refresh), (1800, false, true));
    let alone = SessionTimerPolicy { refresh_alone: false, ..policy(1800, 90) };
    assert_eq!(alone.uas_answer(&headers("")).unwrap(), UasAnswer::None);
}

#[test]
fn the_clients_min_se_is_respected() {
    let request = headers("Supported: timer\r\nSession-Expires: 4000;refresher=uac\r\nMin-SE: 3600\r\n");
    let (session_expires, ..) = accepted(policy(600, 90).uas_answer(&request).unwrap());
    assert_eq!(session_expires.seconds, 3600);
}

#[test]
fn a_server_that_does_not_know_the_extension_leaves_the_refreshes_to_us_or_off() {
    let ours = policy(1800, 90);
    let outcome = ours.uac_outcome(ours.offer(), &headers("")).unwrap();
    assert_eq!(outcome, Some(SessionAgreement { interval_secs: 1800, we_refresh: true }));
    let alone = SessionTimerPolicy { refresh_alone: false, ..ours };
    assert_eq!(alone.uac_outcome(alone.offer(), &headers("")).unwrap(), None);
    assert!(ours.uac_outcome(ours.offer(), &headers("Session-Expires: soon\r\n")).is_err());
    let absurd = ours.uac_outcome(ours.offer(), &headers("Session-Expires: 1;refresher=uac\r\n")).unwrap();
    assert_eq!(absurd.unwrap().interval_secs, 90, "no peer makes us refresh every second");
}

/// §7.4: a refresh keeps the roles, seen from whoever sends it.
#[test]
fn a_refresh_does_not_change_who_refreshes() {
    let ours = policy(1800, 90);
    for we_refresh in [true, false] {
        let agreement = SessionAgreement { interval_secs: 1800, we_refresh };
        let offer = ours.refresh_offer(agreement);
        let request = written(|writer| {
            offer.write(writer);
            writer.header_text("Supported", "timer");
        });
        let (_, _, theirs) = accepted(policy(1800, 90).uas_answer(&request).unwrap());
        assert_eq!(theirs.we_refresh, !we_refresh);
    }
}

fn run(mut timer: SessionTimer, start: Instant) -> Vec<(u64, SessionEvent)> {
    let mut events = Vec::new();
    while let Some(at) = timer.deadline() {
        if let Some(event) = timer.handle_timeout(at) {
            events.push(((at - start).as_secs(), event));
        }
    }
    events
}

/// §10: refresh at half; BYE before the end by the lesser of 32 s and a third.
#[test]
fn a_session_is_refreshed_at_half_time_and_ended_a_little_early() {
    use SessionEvent::{Expired, Refresh};
    let start = Instant::default();
    let timer =
        |interval_secs, we_refresh| SessionTimer::new(SessionAgreement { interval_secs, we_refresh }, start);
    assert_eq!(run(timer(1800, true), start), [(900, Refresh), (1768, Expired)]);
    assert_eq!(run(timer(1800, false), start), [(1768, Expired)]);
    assert_eq!(run(timer(90, true), start), [(45, Refresh), (60, Expired)]);
}

#[test]
fn a_refresh_begins_the_interval_anew_and_a_failed_one_is_tried_again() {
    let start = Instant::default();
    let agreement = SessionAgreement { interval_secs: 1800, we_refresh: true };
    let mut timer = SessionTimer::new(agreement, start);
    let half = start + Duration::from_secs(900);
    assert_eq!(timer.handle_timeout(half), Some(SessionEvent::Refresh));
    timer.refresh_failed(Duration::from_secs(2), half);
    assert_eq!(timer.deadline(), Some(half + Duration::from_secs(2)));
    assert_eq!(timer.handle_timeout(half + Duration::from_secs(2)), Some(SessionEvent::Refresh));
    timer.refreshed(agreement, half + Duration::from_secs(3));
    assert_eq!(timer.deadline(), Some(half + Duration::from_secs(903)));
}
