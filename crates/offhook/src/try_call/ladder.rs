//! The messages of a trial as a ladder: phone A on the left, the node in the middle, phone B on the right, time
//! downwards.

use std::{fmt, time::Duration};

use bytes::Bytes;
use offhook_sdp::{Direction, SessionDescription};
use offhook_sip::message::Message;

use crate::output;

/// Messages that are kept. A trial has about forty; more means that something repeats itself without end.
const RUNGS_MAX: usize = 400;

/// Columns between two of the three lines. 7 for the time, 2 blanks, 3 lines and 2 spans are 78.
const SPAN: usize = 33;

/// Letters of a label: an arrow has a head, a blank and a line on either side.
const LABEL_MAX: usize = SPAN - 6;

/// One of the two phones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller.
    A,
    /// The called one.
    B,
}

impl Side {
    /// Its letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a phone to the node.
    ToNode,
    /// From the node to a phone.
    FromNode,
}

/// A message or a remark, and when.
#[derive(Debug)]
pub struct Rung {
    /// Since the trial began.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What stands on a rung.
#[derive(Debug)]
pub enum What {
    /// A message.
    Message {
        /// Whose.
        side: Side,
        /// Which way.
        way: Way,
        /// Method or status.
        label: String,
    },
    /// Something that is no message.
    Remark(String),
}

/// All rungs, in the order of time.
#[derive(Debug, Default)]
pub struct Ladder {
    rungs: Vec<Rung>,
    /// What went over the wire, to tell a repeat from a new message.
    seen: Vec<(Side, Bytes)>,
}

impl Ladder {
    /// Adds a message.
    pub fn message(&mut self, at: Duration, side: Side, way: Way, bytes: &Bytes) {
        if self.seen.len() == RUNGS_MAX {
            return;
        }
        let mut label = label(bytes.clone());
        let message = (side, bytes.clone());
        if self.seen.contains(&message) {
            label.push_str(" again");
        }
        self.seen.push(message);
        self.rungs.push(Rung { at, what: What::Message { side, way, label } });
    }

    /// Adds a remark.
    pub fn remark(&mut self, at: Duration, text: impl Into<String>) {
        self.rungs.push(Rung { at, what: What::Remark(text.into()) });
    }

    /// All of it.
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }
}

/// Draws the ladder, 78 columns wide, each line ended.
impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seconds  A{:^1$}B", "Offhook", 2 * SPAN + 1)?;
        for Rung { at, what } in &self.rungs {
            write!(f, "{:7.3}  ", at.as_secs_f64())?;
            match what {
                What::Message { side: Side::A, way, label } => {
                    writeln!(f, "|{}|{:SPAN$}|", arrow(label, *way == Way::ToNode), "")?;
                }
                What::Message { side: Side::B, way, label } => {
                    writeln!(f, "|{:SPAN$}|{}|", "", arrow(label, *way == Way::FromNode))?;
                }
                What::Remark(text) => writeln!(f, "|{text:^0$.0$}|", 2 * SPAN + 1)?,
            }
        }
        Ok(())
    }
}

/// A label within an arrow, [`SPAN`] wide.
fn arrow(label: &str, to_the_right: bool) -> String {
    let label: String = label.chars().take(LABEL_MAX).collect();
    let shaft = format!("{:-^1$}", format!(" {label} "), SPAN - 1);
    if to_the_right { format!("{shaft}>") } else { format!("<{shaft}") }
}

/// What a message is, in a few letters: `INVITE (SDP)`, `200 OK (INVITE, SDP)`.
fn label(bytes: Bytes) -> String {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => {
            let method = output::clean(request.method().as_str());
            sound_of(request.body()).map_or(method.clone(), |sound| format!("{method} ({sound})"))
        }
        Ok(Message::Response(response)) => {
            let status = response.status();
            let method = response.headers().cseq().map(|cseq| output::clean(cseq.method));
            let mut of = method.unwrap_or_default();
            if let Some(sound) = sound_of(response.body()) {
                of = format!("{of}, {sound}");
            }
            let label = format!("{status} {} ({of})", status.default_reason());
            // "407 Proxy Authentication Required" leaves no room for what it is about.
            if label.len() <= LABEL_MAX { label } else { format!("{status} ({of})") }
        }
        Err(_) => "not understood".into(),
    }
}

/// The direction that a description wants, or just that there is one.
fn sound_of(body: &[u8]) -> Option<&'static str> {
    if body.is_empty() {
        return None;
    }
    let description = SessionDescription::parse_slice(body).ok()?;
    Some(match description.media_at(0)?.effective_direction() {
        Direction::SendRecv => "SDP",
        other => other.as_str(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(messages: &[(u64, Side, Way, &'static str)]) -> String {
        let mut ladder = Ladder::default();
        for (millis, side, way, text) in messages {
            let bytes = Bytes::from_static(text.as_bytes());
            ladder.message(Duration::from_millis(*millis), *side, *way, &bytes);
        }
        ladder.remark(Duration::from_secs(1), "sound both ways");
        ladder.to_string()
    }

    const INVITE: &str = "INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\n\
        From: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:b@192.0.2.1>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
        Content-Type: application/sdp\r\nContent-Length: 99\r\n\r\n\
        v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n\
        m=audio 4000 RTP/AVP 8\r\na=sendonly\r\n";

    const CHALLENGE: &str = "SIP/2.0 407 Proxy Authentication Required\r\n\
        Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\n\
        To: <sip:b@192.0.2.1>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

    const RINGING: &str = "SIP/2.0 180 Ringing\r\n\
        Via: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK1\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\n\
        To: <sip:b@192.0.2.1>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";

    /// Goal: what a newcomer sees, to the letter.
    #[test]
    fn a_ladder_has_phones_at_its_sides_and_the_node_in_its_middle() {
        let text = drawn(&[
            (0, Side::A, Way::ToNode, INVITE),
            (1, Side::A, Way::FromNode, CHALLENGE),
            (500, Side::A, Way::ToNode, INVITE),
            (502, Side::B, Way::FromNode, INVITE),
            (503, Side::B, Way::ToNode, RINGING),
            (504, Side::B, Way::ToNode, "x"),
        ]);
        let wanted = "\
seconds  A                              Offhook                              B
  0.000  |------ INVITE (sendonly) ------->|                                 |
  0.001  |<--------- 407 (INVITE) ---------|                                 |
  0.500  |--- INVITE (sendonly) again ---->|                                 |
  0.502  |                                 |------ INVITE (sendonly) ------->|
  0.503  |                                 |<----- 180 Ringing (INVITE) -----|
  0.504  |                                 |<-------- not understood --------|
  1.000  |                          sound both ways                          |
";
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_ladder_keeps_to_78_columns_whatever_is_said() {
        let long = Box::leak(format!("{}  SIP/2.0\r\n\r\n", "X".repeat(200)).into_boxed_str());
        let text = drawn(&[(0, Side::A, Way::ToNode, long)]);
        assert!(text.lines().all(|line| line.chars().count() == 78), "{text}");
    }
}
