//! Phones that share no codec talk all the same, in every pairing; and the codecs are those of other programs.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use offhook_codec::{G722Decoder, G722Encoder};
use offhook_e2e::{
    Node, NodeOptions,
    baresip::Baresip,
    sound::{self, RtpEnd},
    user_agent::{Phone, UdpLink},
    wait,
};

const PCMA: &str = "PCMA/8000/1";
const PCMU: &str = "PCMU/8000/1";
const G722: &str = "G722/16000/1";
const OPUS: &str = "opus/48000/2";

/// What each phone says, Hz, and how much of it counts as a conversation.
const ANNA_HZ: f64 = 440.0;
const BERT_HZ: f64 = 1000.0;
const ENOUGH: Duration = Duration::from_secs(1);

fn phones(node: &Node, codecs: [&str; 2]) -> (Baresip, Baresip) {
    let anna = Baresip::start_speaking(codecs[0], "101", node.sip(), "udp", ANNA_HZ, false, "");
    let bert = Baresip::start_speaking(codecs[1], "102", node.sip(), "udp", BERT_HZ, true, "");
    node.wait_for_bindings("101", 1);
    node.wait_for_bindings("102", 1);
    (anna, bert)
}

/// Two phones, each with one codec, talk; the record says what was recoded to what.
fn talk(codecs: [&str; 2]) {
    let node = Node::start(&NodeOptions::default());
    let (mut anna, mut bert) = phones(&node, codecs);
    anna.command("dial", &format!("sip:102@{}", node.sip()));
    anna.wait_for("CALL_ESTABLISHED");
    bert.wait_for("CALL_ESTABLISHED");
    anna.wait_to_hear(BERT_HZ, ENOUGH);
    bert.wait_to_hear(ANNA_HZ, ENOUGH);
    anna.command("hangup", "");
    bert.wait_for("CALL_CLOSED");
    let told = node.log().matches("leg transcoded").count();
    assert_eq!(told, if codecs[0] == codecs[1] { 0 } else { 2 }, "{}", node.log());
    let record = node.record();
    let name = |codec: &str| codec.split('/').next().unwrap_or_default().to_owned();
    for (leg, other) in [(0, 1), (1, 0)] {
        let stream = &record["legs"][leg]["streams"][0];
        let codec = stream["codec"].as_str().unwrap_or_default();
        assert_eq!(name(codec), name(codecs[leg]), "{record:#}");
        let expected = (name(codecs[0]) != name(codecs[1])).then(|| name(codecs[other]));
        assert_eq!(stream["transcoded_to"].as_str().map(ToOwned::to_owned), expected, "{record:#}");
    }
}

#[test]
fn phones_with_different_codecs_of_narrow_band_hear_each_other() {
    talk([PCMU, PCMA]);
}

#[test]
fn a_phone_with_g722_and_one_with_g711_hear_each_other_whoever_calls() {
    talk([G722, PCMA]);
    talk([PCMU, G722]);
}

#[test]
fn a_phone_with_opus_and_one_with_g711_hear_each_other_whoever_calls() {
    talk([OPUS, PCMU]);
    talk([PCMA, OPUS]);
}

#[test]
fn a_phone_with_opus_and_one_with_g722_hear_each_other_whoever_calls() {
    talk([OPUS, G722]);
    talk([G722, OPUS]);
}

#[test]
fn phones_that_share_a_codec_are_left_alone() {
    talk([G722, G722]);
}

#[test]
fn a_node_that_may_not_transcode_refuses() {
    let node = Node::start(&NodeOptions { media: "transcode = \"never\"".into(), ..NodeOptions::default() });
    let (mut anna, _bert) = phones(&node, [G722, PCMA]);
    anna.command("dial", &format!("sip:102@{}", node.sip()));
    anna.wait_for("CALL_CLOSED");
    assert_eq!(node.record()["cause"], "incompatible");
}

/// The node is killed in the middle and starts again: the phones go on hearing each other.
#[test]
fn a_transcoded_call_outlives_the_node() {
    let mut node = Node::start(&NodeOptions::default());
    let (mut anna, mut bert) = phones(&node, [OPUS, PCMA]);
    anna.command("dial", &format!("sip:102@{}", node.sip()));
    anna.wait_for("CALL_ESTABLISHED");
    bert.wait_for("CALL_ESTABLISHED");
    anna.wait_to_hear(BERT_HZ, ENOUGH);
    bert.wait_to_hear(ANNA_HZ, ENOUGH);
    node.wait_for_phase("established");
    node.crash_and_restart();
    let heard = [anna.heard(BERT_HZ), bert.heard(ANNA_HZ)];
    anna.wait_to_hear(BERT_HZ, heard[0] + ENOUGH);
    bert.wait_to_hear(ANNA_HZ, heard[1] + ENOUGH);
    anna.command("hangup", "");
    bert.wait_for("CALL_CLOSED");
    let record = node.record();
    assert_eq!(record["legs"][0]["streams"][0]["transcoded_to"], "PCMA", "{record:#}");
}

/// A phone of µ-law without telephone events, and a softphone of A-law that has them: each hears the other's keys in its way.
#[test]
fn keys_are_converted_between_tones_and_events() {
    let node = Node::start(&NodeOptions::default());
    let mut bert = Baresip::start_speaking(PCMA, "102", node.sip(), "udp", BERT_HZ, true, "");
    node.wait_for_bindings("102", 1);
    let mut anna = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "101", node.sip());
    let mut rtp = RtpEnd::open("127.0.0.1", ANNA_HZ);
    let (dialog, answer) = anna.invite("102", &rtp.description());
    assert_eq!(answer.status(), Some(200), "{answer:?}");
    assert!(!answer.body.contains("telephone-event"), "{}", answer.body);
    bert.wait_for("CALL_ESTABLISHED");
    rtp.talk(&answer.body, Duration::from_millis(300));
    for key in ['5', '#'] {
        rtp.press(&answer.body, key);
        let heard = bert.wait_for("CALL_DTMF_START");
        assert_eq!(heard["param"], key.to_string(), "{heard}");
        bert.wait_for("CALL_DTMF_END");
    }
    rtp.received.clear();
    bert.command("sndcode", "7");
    let give_up_at = Instant::now() + wait::PATIENCE;
    while rtp.keys() != "7" {
        assert!(Instant::now() < give_up_at, "heard {:?}", rtp.keys());
        rtp.talk(&answer.body, Duration::from_millis(100));
    }
    anna.hang_up(&dialog);
    assert_eq!(node.record()["cause"], "hung_up");
}

/// A phone says keys by INFO, to one that knows only telephone events: the node presses them.
#[test]
fn keys_by_info_are_pressed_for_a_side_that_does_not_understand_them() {
    let node = Node::start(&NodeOptions::default());
    let mut anna = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "101", node.sip());
    let mut bert = Phone::new(UdpLink::new("127.0.0.1", node.sip()), "102", node.sip());
    bert.register();
    let (mut rtp, mut bert_rtp) = (RtpEnd::open("127.0.0.1", ANNA_HZ), RtpEnd::open("127.0.0.1", BERT_HZ));
    let described = bert_rtp.description_with_events().replace("AVP 0", "AVP 8").replace("0 PCMU", "8 PCMA");
    let headers = "Content-Type: application/dtmf-relay\r\n";
    std::thread::scope(|scope| {
        let bert = scope.spawn(|| {
            // It refuses what has no A-law: plain, and with keys for SRTP.
            let invite = loop {
                let invite = bert.wait_for("INVITE", |message| message.method() == Some("INVITE"));
                if invite.body.contains("PCMA") {
                    break invite;
                }
                bert.respond(&invite, 488, "Not Acceptable Here", "");
            };
            assert!(invite.body.contains("telephone-event/8000"), "{}", invite.body);
            let dialog = bert.respond(&invite, 200, "OK", &described);
            let info = bert.wait_for_request(&dialog, "INFO");
            bert.respond(&info, 415, "Unsupported Media Type", "");
            let other = bert.wait_for_request(&dialog, "INFO");
            bert.respond(&other, 415, "Unsupported Media Type", "");
            let bye = bert.wait_for_request(&dialog, "BYE");
            bert.respond(&bye, 200, "OK", "");
        });
        let (dialog, answer) = anna.invite("102", &rtp.description());
        assert_eq!(answer.status(), Some(200), "{answer:?}");
        let pressed = anna.request_within(&dialog, "INFO", headers, "Signal=9\r\nDuration=120\r\n");
        assert_eq!(pressed.status(), Some(200), "{pressed:?}");
        let give_up_at = Instant::now() + wait::PATIENCE;
        while bert_rtp.events.iter().filter(|event| event.end).count() < 3 {
            assert!(Instant::now() < give_up_at, "{:?}", bert_rtp.events);
            rtp.talk(&answer.body, Duration::from_millis(60));
            bert_rtp.take();
        }
        assert!(bert_rtp.events.iter().all(|event| event.code.digit() == Some('9')));
        assert_eq!(bert_rtp.events.last().map(|event| event.duration), Some(960));
        // What says no key is the other side's business alone.
        let other = anna.request_within(&dialog, "INFO", "Content-Type: text/plain\r\n", "hello");
        assert_eq!(other.status(), Some(415), "{other:?}");
        anna.hang_up(&dialog);
        bert.join().expect("a callee");
    });
    assert!(!node.log().contains("Signal="), "what people type is nobody's business");
}

/// ffmpeg's G.722 and ours give the same octets, and the same samples of them.
#[test]
fn g722_agrees_with_ffmpeg_sample_by_sample() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    // Tones that sweep both bands, louder and louder, up to clipping, then noise.
    let mut noise = 1_u32;
    let samples: Vec<i16> = (0..16_000 * 4)
        .map(|at| {
            let t = f64::from(at) / 16_000.0;
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let sweep = (std::f64::consts::TAU * (100.0 * t + 1200.0 * t * t)).sin() * 12_000.0 * t;
            if t < 3.0 { sweep as i16 } else { (noise >> 16) as i16 / 2 }
        })
        .collect();
    sound::write_wav_as(&path("in.wav"), &samples, 16_000, 1).expect("a file");
    let ffmpeg = |arguments: &[&str]| {
        let mut command = Command::new("ffmpeg");
        command.current_dir(directory.path()).args(["-v", "error", "-y"]).args(arguments);
        assert!(command.status().expect("ffmpeg is installed").success());
    };
    ffmpeg(&["-i", "in.wav", "-c:a", "g722", "-f", "g722", "coded.g722"]);
    ffmpeg(&["-f", "g722", "-i", "coded.g722", "-c:a", "pcm_s16le", "-f", "s16le", "decoded.raw"]);
    let coded = fs::read(path("coded.g722")).expect("ffmpeg's octets");
    let mut ours = vec![0; samples.len() / 2];
    G722Encoder::default().encode(&samples, &mut ours);
    let differs = ours.iter().zip(&coded).position(|(ours, theirs)| ours != theirs);
    assert_eq!((differs, ours.len()), (None, coded.len()), "the encoders");
    let decoded: Vec<i16> = fs::read(path("decoded.raw"))
        .expect("ffmpeg's samples")
        .chunks_exact(2)
        .map(|two| i16::from_le_bytes([two[0], two[1]]))
        .collect();
    let mut ours = vec![0; coded.len() * 2];
    G722Decoder::default().decode(&coded, &mut ours);
    let differs = ours.iter().zip(&decoded).position(|(ours, theirs)| ours != theirs);
    assert_eq!((differs, ours.len()), (None, decoded.len()), "the decoders");
}
