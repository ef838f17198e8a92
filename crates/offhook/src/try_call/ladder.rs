//! The messages of a trial as a ladder: phone A on the left, the node in the middle, phone B on the right, time
//! downwards.

use std::{fmt, time::Duration};

use bytes::Bytes;
use offhook_sdp::{Direction, SessionDescription};
use offhook_sip::message::{Message, StatusCode};

/// Messages that are kept. A trial has about forty; more means that something repeats itself without end.
const RUNGS_MAX: usize = 400;

/// Columns between two of the three lines. 7 for the time, 2 blanks, 3 lines and 2 spans are 78.
const SPAN: usize = 33;

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
        let middle = SPAN + 1 + 4;
        writeln!(f, "{:>7}  A{:^middle$}{:>2$}", "seconds", "Offhook", SPAN - 3, middle = 2 * SPAN + 1 - (SPAN - 2))?;
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
        let _ = middle;
        Ok(())
    }
}

/// A label within an arrow, [`SPAN`] wide.
fn arrow(label: &str, to_the_right: bool) -> String {
    let label: String = label.chars().take(SPAN - 6).collect();
    let shaft = format!("{:-^1$}", format!(" {label} "), SPAN - 1);
    if to_the_right { format!("{shaft}>") } else { format!("<{shaft}") }
}

/// What a message is, in a few letters.
fn label(bytes: Bytes) -> String {
    match Message::parse(bytes) {
        Ok(Message::Request(request)) => {
            let method = crate::output::clean(request.method().as_str());
            match sound_of(request.body()) {
                Some(sound) => format!("{method} ({sound})"),
                None => method,
            }
        }
        Ok(Message::Response(response)) => {
            let status = response.status();
            let method = response.headers().cseq().map(|cseq| cseq.method.as_str().to_string());
            let method = crate::output::clean(&method.unwrap_or_default());
            let what = sound_of(response.body()).map_or(method.clone(), |sound| format!("{method}, {sound}"));
            format!("{} ({what})", phrase(status))
        }
        Err(_) => "not understood".into(),
    }
}

/// A status with its reason, where that leaves room for the method.
fn phrase(status: StatusCode) -> String {
    match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => "407 Prove yourself".into(),
        other => format!("{other} {}", other.default_reason()),
    }
}

fn sound_of(body: &[u8]) -> Option<&'static str> {
    if body.is_empty() {
        return None;
    }
    let description = SessionDescription::parse_slice(body).ok()?;
    Some(match description.media_at(0).map(|media| media.effective_direction()) {
        Some(Direction::SendRecv) | None => "SDP",
        Some(direction) => direction.as_str(),
    })
}
