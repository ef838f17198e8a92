//! Phones that share no codec talk all the same, in every pairing; and the codecs are those of other programs.

use std::{fs, process::Command, time::Duration};

use offhook_codec::{G722Decoder, G722Encoder};
use offhook_e2e::{Node, NodeOptions, baresip::Baresip, sound};

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
