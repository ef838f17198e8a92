//! Descriptions of real phones, what we read from them and what becomes of them on the other leg.
//!
//! `vectors/NAME.in.sdp` is a description, `NAME.facts` what the queries say about it, `NAME.PLAN.out.sdp` its anchored
//! form under one of the plans below. `OFFHOOK_BLESS=1 cargo test -p offhook-sdp` writes the expected files anew: read
//! the difference before committing it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use offhook_base::{CryptoSuite, Random};
use offhook_sdp::{
    AnchorPlan, Crypto, CryptoPlan, Host, MediaAddress, MediaPlan, OwnOrigin, RtcpMuxPlan,
    SessionDescription, anchor,
};

const PLANS: [&str; 5] = ["relay", "plain", "sdes", "mux", "ipv6"];

fn plan(name: &str, media_count: usize) -> AnchorPlan {
    let ip = if name == "ipv6" { "2001:db8:ffff::10" } else { "203.0.113.10" }.parse().unwrap();
    let mut random = Random::from_number(1);
    let media = (0..media_count).map(|index| {
        let mut plan = MediaPlan::relay(SocketAddr::new(ip, 30_000 + 2 * index as u16));
        match name {
            "plain" => plan.crypto = CryptoPlan::Plain,
            "sdes" => {
                let key = Crypto::generate(1, CryptoSuite::AesCm128HmacSha1_80, &mut random);
                plan.crypto = CryptoPlan::Sdes(vec![key]);
            }
            "mux" => {
                plan.rtcp_mux = RtcpMuxPlan::Keep;
                plan.rtcp = plan.rtp;
            }
            "ipv6" => plan.rtcp = Some("203.0.113.11:40001".parse().unwrap()),
            _ => {}
        }
        plan
    });
    let address = "203.0.113.10".parse().unwrap();
    AnchorPlan { origin: OwnOrigin { session_id: 77, version: 3, address }, media: media.collect() }
}

fn vectors() -> Vec<(String, SessionDescription)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.strip_suffix(".in.sdp")?.to_string();
            let sdp = SessionDescription::parse(std::fs::read(&path).unwrap());
            Some((name.clone(), sdp.unwrap_or_else(|error| panic!("{name}: {error}"))))
        })
        .collect()
}

fn compare(file: &str, actual: &[u8], failures: &mut Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(file);
    if std::env::var_os("OFFHOOK_BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
    }
    if std::fs::read(&path).unwrap_or_default() != actual {
        failures.push(format!("{file} differs, it is now:\n{}", String::from_utf8_lossy(actual)));
    }
}

/// Goal: the outcome of every plan on every phone is known to the byte. A few plans are left out where they add
/// nothing: each vector has the files that a reviewer read.
#[test]
fn anchored_descriptions_are_as_recorded() {
    let mut failures = Vec::new();
    for (name, sdp) in vectors() {
        for plan_name in PLANS {
            let secure = sdp.offers_srtp_sdes() || sdp.needs_dtls();
            let telling = match plan_name {
                "plain" => secure,
                "sdes" => secure || name == "asterisk" || name == "linphone",
                "mux" => sdp.media().any(|media| media.rtcp_mux()),
                "ipv6" => name == "yealink" || name == "ipv6",
                _ => true,
            };
            if telling {
                let out = anchor(&sdp, &plan(plan_name, sdp.media_count()));
                compare(&format!("{name}.{plan_name}.out.sdp"), &out, &mut failures);
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Goal: whatever the plan, nothing that tells who or where the writer is reaches the other side.
#[test]
fn no_address_of_one_side_reaches_the_other() {
    for (name, sdp) in vectors() {
        let input = String::from_utf8_lossy(sdp.bytes()).into_owned();
        let telling: Vec<&str> = input
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '@')))
            .flat_map(|word| {
                [word, word.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(':')]
            })
            .filter(|word| {
                word.parse::<std::net::IpAddr>().is_ok_and(|ip| !ip.is_unspecified())
                    || word.ends_with(".com")
                    || word.ends_with(".local")
                    || word.contains('@')
            })
            .chain(["alice", "carol", "Carol", "Jane", "bob ", "555", "30 1234567"])
            .collect();
        for plan_name in PLANS {
            let out = anchor(&sdp, &plan(plan_name, sdp.media_count()));
            let out = std::str::from_utf8(&out).unwrap().to_string();
            for word in &telling {
                assert!(!out.contains(word), "{name} under {plan_name} reveals {word}:\n{out}");
            }
        }
    }
}

#[test]
fn anchored_descriptions_read_back_with_the_planned_addresses() {
    for (name, sdp) in vectors() {
        for plan_name in PLANS {
            let plan = plan(plan_name, sdp.media_count());
            let out = SessionDescription::parse(anchor(&sdp, &plan)).unwrap();
            assert_eq!(out.media_count(), sdp.media_count(), "{name}");
            for ((before, after), planned) in sdp.media().zip(out.media()).zip(&plan.media) {
                assert_eq!(before.is_rejected(), after.is_rejected(), "{name}");
                assert_eq!(before.kind_text(), after.kind_text(), "{name}");
                assert!(before.formats().eq(after.formats()), "{name}");
                assert_eq!(before.codecs().collect::<Vec<_>>(), after.codecs().collect::<Vec<_>>(), "{name}");
                assert_eq!(before.effective_direction(), after.direction(), "{name} {plan_name}");
                assert_eq!(before.ptime(), after.ptime(), "{name}");
                if !after.is_rejected() {
                    let socket = |address: MediaAddress<'_>| address.socket_addr();
                    assert_eq!(after.rtp_address().and_then(socket), planned.rtp, "{name}");
                    if planned.rtcp.is_some() && after.protocol().is_rtp() {
                        assert_eq!(after.rtcp_address().and_then(socket), planned.rtcp, "{name}");
                    }
                }
            }
        }
    }
}

#[test]
fn streams_without_a_plan_are_refused() {
    for (name, sdp) in vectors() {
        let out = SessionDescription::parse(anchor(&sdp, &plan("relay", 0))).unwrap();
        assert_eq!(out.media_count(), sdp.media_count(), "{name}");
        assert!(out.media().all(|media| media.is_rejected()), "{name}");
    }
}

#[test]
fn the_queries_say_of_each_phone_what_is_recorded() {
    let mut failures = Vec::new();
    for (name, sdp) in vectors() {
        compare(&format!("{name}.facts"), facts(&sdp).as_bytes(), &mut failures);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn facts(sdp: &SessionDescription) -> String {
    let mut out = format!(
        "session: hold={} dtls={} sdes={}\n",
        sdp.is_hold(),
        sdp.needs_dtls(),
        sdp.offers_srtp_sdes()
    );
    for (stream, media) in sdp.streams().iter().zip(sdp.media()) {
        let address = |address: Option<MediaAddress<'_>>| match address {
            None => "none".to_string(),
            Some(MediaAddress { host: Host::Ip(ip), port }) => SocketAddr::new(ip, port).to_string(),
            Some(MediaAddress { host: Host::Name(name), port }) => format!("{name}:{port}"),
        };
        let list = |items: Vec<String>| items.join(" ");
        writeln!(out, "stream {}: {} {}", stream.index, stream.kind.as_str(), media.protocol_text()).unwrap();
        writeln!(out, "  rtp {} rtcp {} mux={}", address(stream.rtp), address(stream.rtcp), stream.rtcp_mux)
            .unwrap();
        writeln!(
            out,
            "  {} hold={} ptime={:?} maxptime={:?} mid={:?} ice={}",
            stream.direction.as_str(),
            media.is_hold(),
            stream.ptime_ms,
            media.max_ptime(),
            media.mid(),
            media.has_ice()
        )
        .unwrap();
        writeln!(out, "  formats {}", list(media.formats().map(str::to_string).collect())).unwrap();
        let codecs = media.codecs().map(|map| format!("{}={}", map.payload_type, map.codec));
        writeln!(out, "  codecs {}", list(codecs.collect())).unwrap();
        if let Some(map) = media.telephone_event() {
            writeln!(out, "  events {} {}", map.payload_type, map.codec).unwrap();
        }
        for crypto in media.cryptos() {
            match crypto {
                Ok(crypto) => writeln!(out, "  crypto {} {}", crypto.tag, crypto.key.suite().name()).unwrap(),
                Err(error) => writeln!(out, "  crypto not served: {error}").unwrap(),
            }
        }
        if let Some(setup) = media.setup() {
            writeln!(out, "  dtls {setup:?}").unwrap();
        }
        for bandwidth in media.bandwidths() {
            writeln!(out, "  bandwidth {bandwidth}").unwrap();
        }
    }
    out
}
