//! What the node does itself: phones call its services and hear what they should, and their keys are heard.

use std::time::{Duration, Instant};

use offhook_e2e::{
    Node, NodeOptions,
    baresip::Baresip,
    sound::{self, RtpEnd, heard},
    user_agent::{Dialog, Phone, UdpLink},
    wait,
};

const HZ: f64 = 440.0;
const ENOUGH: Duration = Duration::from_secs(1);

/// A phone with one codec calls the echo test and hears itself.
fn echo(codec: &str, parameters: &str) {
    let node = Node::start(&NodeOptions::default());
    let mut anna = Baresip::start_speaking(codec, "101", node.sip(), "udp", HZ, false, parameters);
    node.wait_for_bindings("101", 1);
    anna.command("dial", &format!("sip:*43@{}", node.sip()));
    anna.wait_for("CALL_ESTABLISHED");
    anna.wait_to_hear(HZ, ENOUGH);
    assert!((node.metric("offhook_media_served") - 1.0).abs() < 0.1);
    anna.command("hangup", "");
    anna.wait_for("CALL_CLOSED");
    let record = node.record();
    assert_eq!((&record["cause"], &record["ended_by"]), (&"hung_up".into(), &"caller".into()), "{record:#}");
    assert_eq!(record["legs"].as_array().map(Vec::len), Some(1), "{record:#}");
    assert!(record["answered"].is_string(), "{record:#}");
    let stream = &record["legs"][0]["streams"][0];
    assert!(stream["packets_sent"].as_u64() > Some(100), "{record:#}");
    node.wait_for_metric("offhook_media_served", 0.0);
}

#[test]
fn a_phone_hears_itself_in_the_echo_test_in_narrow_band() {
    echo("PCMA/8000/1", "");
    echo("PCMU/8000/1", ";mediaenc=srtp-mand");
}

#[test]
fn a_phone_hears_itself_in_the_echo_test_in_wide_band() {
    echo("G722/16000/1", "");
    echo("opus/48000/2", "");
}

#[test]
fn the_echo_test_outlives_the_node() {
    let mut node = Node::start(&NodeOptions::default());
    let mut anna = Baresip::start("101", node.sip(), "udp", HZ, false);
    node.wait_for_bindings("101", 1);
    anna.command("dial", &format!("sip:*43@{}", node.sip()));
    anna.wait_for("CALL_ESTABLISHED");
    anna.wait_to_hear(HZ, ENOUGH);
    node.crash_and_restart();
    let before = anna.heard(HZ);
    anna.wait_to_hear(HZ, before + ENOUGH);
    anna.command("hangup", "");
    anna.wait_for("CALL_CLOSED");
    let record = node.record();
    assert_eq!(record["cause"], "hung_up", "{record:#}");
}

/// A phone that is steered by the test, in a call with a service.
struct Caller {
    phone: Phone<UdpLink>,
    rtp: RtpEnd,
    dialog: Dialog,
    /// The node's description.
    node: String,
}

impl Caller {
    fn call(node: &Node, number: &str, has_events: bool) -> Self {
        let mut phone = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "101", node.sip());
        let rtp = RtpEnd::open("127.0.0.1", HZ);
        let description = if has_events { rtp.description_with_events() } else { rtp.description() };
        let (dialog, answer) = phone.invite(number, &description);
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        Self { phone, rtp, dialog, node: answer.body }
    }

    /// Forgets what it heard so far, and talks until it hears `hz` for a while.
    fn hears(&mut self, hz: f64) {
        self.rtp.received.clear();
        let give_up_at = Instant::now() + wait::PATIENCE;
        while heard(&self.rtp.received, hz) < Duration::from_millis(400) {
            assert!(Instant::now() < give_up_at, "{hz} Hz for {:?}", heard(&self.rtp.received, hz));
            self.rtp.talk(&self.node, Duration::from_millis(100));
        }
    }

    fn info(&mut self, content_type: &str, body: &str) -> Option<u16> {
        let headers = format!("Content-Type: {content_type}\r\n");
        self.phone.request_within(&self.dialog, "INFO", &headers, body).status()
    }

    fn waits_for_the_end(mut self) {
        let bye = self.phone.wait_for_request(&self.dialog, "BYE");
        self.phone.respond(&bye, 200, "OK", "");
    }
}

#[test]
fn signals_are_chosen_by_keys_of_every_kind() {
    let options = NodeOptions { sections: "[services]\ncountry = \"gb\"\n".into(), ..NodeOptions::default() };
    let node = Node::start(&options);
    // Without events, keys are heard in the sound: 3 is busy, of 400 Hz.
    let mut caller = Caller::call(&node, "*61", false);
    caller.rtp.press(&caller.node.clone(), '3');
    caller.hears(400.0);
    assert_eq!(caller.info("application/dtmf-relay", "Signal=6\r\nDuration=100\r\n"), Some(200));
    caller.hears(1400.0);
    assert_eq!(caller.info("application/x-unknown", "1"), Some(415));
    caller.rtp.press(&caller.node.clone(), '#');
    caller.waits_for_the_end();
    // With events, keys are events.
    let mut caller = Caller::call(&node, "*61", true);
    caller.rtp.press_as_event(&caller.node.clone(), '6');
    caller.hears(950.0);
    caller.rtp.press_as_event(&caller.node.clone(), '#');
    caller.waits_for_the_end();
    for record in node.records(2) {
        assert_eq!(
            (&record["cause"], &record["ended_by"]),
            (&"hung_up".into(), &"callee".into()),
            "{record:#}"
        );
    }
    let log = node.log();
    assert!(!log.contains("Signal="), "what people type is nobody's business");
}

#[test]
fn the_menu_leads_to_the_echo_test_before_it_was_heard_out() {
    let node = Node::start(&NodeOptions::default());
    let mut caller = Caller::call(&node, "*65", true);
    caller.rtp.press_as_event(&caller.node.clone(), '1');
    caller.hears(HZ);
    caller.phone.hang_up(&caller.dialog);
    assert_eq!(node.record()["cause"], "hung_up");
}

/// Three softphones with three codecs in one room: each hears the other two, and not itself.
#[test]
fn phones_in_a_room_hear_each_other() {
    let node = Node::start(&NodeOptions::default());
    let lines =
        [("101", "PCMA/8000/1", 440.0), ("102", "G722/16000/1", 1000.0), ("103", "opus/48000/2", 1700.0)];
    let mut phones = lines.map(|(line, codec, hz)| {
        let mut phone = Baresip::start_speaking(codec, line, node.sip(), "udp", hz, false, "");
        node.wait_for_bindings(line, 1);
        phone.command("dial", &format!("sip:*70@{}", node.sip()));
        phone.wait_for("CALL_ESTABLISHED");
        phone
    });
    // A tone among others has as much beside it as it has itself: its level tells.
    for (at, phone) in phones.iter_mut().enumerate() {
        for (other, (_, _, hz)) in lines.iter().enumerate() {
            if at != other {
                phone.wait_to_hear_among_others(*hz, ENOUGH);
            }
        }
        let itself = phone.heard_among_others(lines[at].2);
        assert!(itself < Duration::from_millis(200), "{} hears itself for {itself:?}", lines[at].0);
    }
    assert!((node.metric("offhook_media_members") - 3.0).abs() < 0.1);
    phones.iter_mut().for_each(|phone| phone.command("hangup", ""));
    node.wait_for_metric("offhook_media_members", 0.0);
    assert!(node.records(3).iter().all(|record| record["cause"] == "hung_up"));
}

#[test]
fn a_room_opens_to_its_pin_and_to_nothing_else() {
    let options = NodeOptions {
        sections: "[services.rooms]\n700 = { pin = \"2468\" }\n".into(),
        ..NodeOptions::default()
    };
    let node = Node::start(&options);
    let mut anna = Caller::call(&node, "700", true);
    let mut bert = Caller::call(&node, "700", true);
    let press = |caller: &mut Caller, keys: &str| {
        let description = caller.node.clone();
        for key in keys.chars() {
            caller.rtp.press_as_event(&description, key);
            caller.rtp.talk(&description, Duration::from_millis(40));
        }
    };
    press(&mut anna, "2468#");
    node.wait_for_metric_while("offhook_media_members", 1.0, || {
        anna.rtp.talk(&anna.node.clone(), Duration::from_millis(100));
    });
    for _ in 0..3 {
        press(&mut bert, "1111#");
    }
    bert.waits_for_the_end();
    assert!((node.metric("offhook_media_members") - 1.0).abs() < 0.1);
    anna.phone.hang_up(&anna.dialog);
    let log = node.log();
    assert!(!log.contains("2468") && !log.contains("1111"), "what people type is nobody's business");
}

/// Two agree to be recorded, a third does not and is let go. What they said can be listed, heard and deleted, by whoever says
/// why; on the disk it is encrypted.
#[test]
fn a_conference_is_recorded_of_those_who_agree() {
    let options = NodeOptions {
        sections: "[services.rooms]\n703 = { record = true }\n".into(),
        ..NodeOptions::default()
    };
    let node = Node::start(&options);
    let mut callers = [(); 3].map(|()| Caller::call(&node, "703", true));
    for (caller, key) in callers.iter_mut().zip(['1', '1', '#']) {
        caller.rtp.press_as_event(&caller.node.clone(), key);
    }
    let [mut anna, mut bert, carl] = callers;
    carl.waits_for_the_end();
    node.wait_for_metric_while("offhook_media_members", 2.0, || {
        anna.rtp.talk(&anna.node.clone(), Duration::from_millis(50));
        bert.rtp.talk(&bert.node.clone(), Duration::from_millis(50));
    });
    assert!((node.metric("offhook_recorded_rooms") - 1.0).abs() < 0.1);
    anna.rtp.talk(&anna.node.clone(), Duration::from_secs(3));
    anna.phone.hang_up(&anna.dialog);
    bert.phone.hang_up(&bert.dialog);
    node.wait_for_metric("offhook_recorded_rooms", 0.0);
    let recordings = || {
        let (good, said) = node.try_command(&["recordings", "list", "--json", "--reason", "a test"]);
        assert!(good, "{said}");
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON")
    };
    let complete = wait::within(wait::PATIENCE, || {
        let all = recordings();
        (all[0]["complete"] == true).then_some(all)
    });
    let all = complete.unwrap_or_else(|| panic!("{:#}", recordings()));
    assert_eq!((all.as_array().map(Vec::len), &all[0]["room"]), (Some(1), &"703".into()), "{all:#}");
    assert_eq!(all[0]["consents"].as_array().map(Vec::len), Some(2), "{all:#}");
    let id = all[0]["id"].as_str().expect("an id");
    let (good, said) = node.try_command(&["recordings", "export", id, "out.wav"]);
    assert!(!good && said.contains("--reason"), "{said}");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("out.wav");
    let path = file.to_str().expect("a path");
    let (good, said) = node.try_command(&["recordings", "export", id, path, "--reason", "a test"]);
    assert!(good, "{said}");
    // Levels are steered, and so the tone is softer there.
    let heard = sound::heard_among_others_in(&file, HZ);
    assert!(heard > Duration::from_secs(2), "{heard:?}");
    let sealed = std::fs::read(node.directory().join(format!("data/recordings/{id}.rec"))).expect("the file");
    let clear = std::fs::read(&file).expect("the file");
    let piece = &clear[clear.len() / 2..clear.len() / 2 + 64];
    assert!(!sealed.windows(64).any(|window| window == piece), "it is on the disk in clear");
    let (good, said) = node.try_command(&["recordings", "delete", id, "--reason", "withdrawn"]);
    assert!(good, "{said}");
    assert_eq!(recordings().as_array().map(Vec::len), Some(0));
    assert_eq!(node.records(3).len(), 3);
}

#[test]
fn a_caller_that_leaves_the_offer_to_the_node_is_offered_all_codecs() {
    let node = Node::start(&NodeOptions::default());
    let mut phone = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "101", node.sip());
    let (dialog, answer) = phone.invite("*60", "");
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    for codec in ["opus/48000/2", "G722/8000", "PCMA/8000", "PCMU/8000", "telephone-event/8000"] {
        assert!(answer.body.contains(codec), "{}", answer.body);
    }
    // The ACK had no answer: the call cannot go on.
    let bye = phone.wait_for_request(&dialog, "BYE");
    phone.respond(&bye, 200, "OK", "");
    assert_eq!(node.record()["cause"], "incompatible");
}

#[test]
fn what_the_node_does_not_speak_is_refused_and_a_hold_is_answered() {
    let node = Node::start(&NodeOptions::default());
    let mut phone = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "101", node.sip());
    let rtp = RtpEnd::open("127.0.0.1", HZ);
    let foreign = rtp.description().replace("RTP/AVP 0", "RTP/AVP 18").replace("0 PCMU/8000", "18 G729/8000");
    assert_eq!(phone.invite("*43", &foreign).1.status(), Some(488));
    let (dialog, answer) = phone.invite("*43", &rtp.description());
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    let held = rtp.description().replace("1 1 IN", "1 2 IN") + "a=sendonly\r\n";
    let headers = format!("Contact: <sip:101@{}>\r\nContent-Type: application/sdp\r\n", phone.link_address());
    let answer = phone.request_within(&dialog, "INVITE", &headers, &held);
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert!(answer.body.contains("a=recvonly"), "{}", answer.body);
    node.wait_for_phase("held");
    phone.hang_up(&dialog);
    assert_eq!(node.records(2).len(), 2);
}
