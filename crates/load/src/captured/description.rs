//! A session description without anything that points to somebody.

/// Attributes that say how media is coded and which way it goes, and nothing of who sends it.
const ATTRIBUTES: [&str; 10] = [
    "rtpmap", "fmtp", "ptime", "maxptime", "sendrecv", "sendonly", "recvonly", "inactive", "rtcp-mux",
    "rtcp-fb",
];

/// The description in `body` as a scenario's text: codecs and directions stay; addresses and ports become keywords; names,
/// keys and candidates go. Media that was encrypted is described in clear: its keys are secrets.
pub(super) fn scenario_text(body: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut streams = 0;
    for line in String::from_utf8_lossy(body).lines().map(str::trim_end) {
        let Some((kind, value)) = line.split_once('=') else { continue };
        match kind {
            "v" => lines.push("v=0".into()),
            "o" => lines.push("o=- 1 1 IN IP[local_ip_type] [local_ip]".into()),
            "s" => lines.push("s=-".into()),
            "t" => lines.push("t=0 0".into()),
            // A hold of old: RFC 2543 B.5.
            "c" if value.ends_with(" 0.0.0.0") => lines.push("c=IN IP4 0.0.0.0".into()),
            "c" => lines.push("c=IN IP[media_ip_type] [media_ip]".into()),
            "b" => lines.push(format!("b={}", super::message::text(value))),
            "m" => {
                lines.push(media(value, streams));
                streams += 1;
            }
            "a" => {
                let name = value.split(':').next().unwrap_or_default();
                if ATTRIBUTES.contains(&name) {
                    lines.push(format!("a={}", super::message::text(value)));
                }
            }
            _ => {}
        }
    }
    lines
}

/// `m=audio 4000 RTP/AVP 0 8` with our port.
fn media(value: &str, stream: usize) -> String {
    let mut words = value.split_whitespace();
    let (kind, port, protocol) =
        (words.next().unwrap_or("audio"), words.next().unwrap_or("0"), words.next().unwrap_or("RTP/AVP"));
    let port = match (port, stream) {
        ("0", _) => "0".into(),
        (_, 0) => "[auto_media_port]".into(),
        (_, stream) => format!("[auto_media_port+{}]", 2 * stream),
    };
    let protocol = if protocol.contains("SAVP") { "RTP/AVP" } else { protocol };
    let formats: Vec<String> = words.map(super::message::text).collect();
    format!(
        "m={} {port} {} {}",
        super::message::text(kind),
        super::message::text(protocol),
        formats.join(" ")
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn codecs_stay_and_everybody_goes() {
        let body = b"v=0\r\no=alice 2890844526 2890844527 IN IP4 198.51.100.7\r\ns=Alice's phone\r\ni=x\r\n\
            c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\na=candidate:1 1 udp 1 198.51.100.7 4000 typ host\r\n\
            a=sendonly\r\nm=video 0 RTP/AVP 96\r\nm=text 4002 RTP/AVP 98\r\n";
        let text = super::scenario_text(body).join("\n");
        assert_eq!(
            text,
            "v=0\no=- 1 1 IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\nt=0 0\n\
             m=audio [auto_media_port] RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=sendonly\n\
             m=video 0 RTP/AVP 96\nm=text [auto_media_port+4] RTP/AVP 98"
        );
    }
}
