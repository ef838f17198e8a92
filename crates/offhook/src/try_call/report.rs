//! What a trial has shown, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    desk::{Desk, Handset},
    ladder::{Ladder, Rung, Side, Way, What},
    voice,
};
use crate::{failure::Failure, output, pages::field};

/// The sound of one direction, where it arrived.
pub struct Direction {
    /// Who spoke.
    from: Side,
    /// The tone.
    hz: f64,
    /// Mean level of what was heard, dBm0.
    level: Option<f64>,
    /// Share of the time that it was heard, 0 to 1.
    share: f64,
    sent: u64,
    quality: Quality,
}

/// What one place saw of a stream.
struct Quality {
    packets: u64,
    lost: u64,
    jitter_ms: f64,
    mos: Option<f64>,
}

/// Everything that is known at the end.
pub struct Report {
    /// The messages.
    pub ladder: Ladder,
    /// The node's call record, once it came.
    pub record: Option<Value>,
    /// Both directions of sound, as the phones saw them.
    pub sound: Vec<Direction>,
}

impl Report {
    /// What the phones know; the record comes from the node.
    pub fn of(desk: Desk, tones: (f64, f64)) -> Self {
        let sound = vec![
            Direction::of(Side::A, tones.0, &desk.a, &desk.b),
            Direction::of(Side::B, tones.1, &desk.b, &desk.a),
        ];
        Self { ladder: desk.ladder, record: None, sound }
    }

    /// For people: ladder, record, quality; no line is longer than 80 columns.
    pub fn print(&self) -> Result<(), Failure> {
        output::print(&format!("\n{}", self.ladder))?;
        if let Some(record) = &self.record {
            output::print(&format!("\nRecord {}\n{}", field(record, "id"), record_text(record)))?;
        }
        if self.sound.iter().all(|direction| direction.quality.packets == 0) {
            return Ok(());
        }
        output::line("\nSound")?;
        let headings = ["WAY", "HEARD", "SEEN BY", "PACKETS", "LOST", "JITTER", "MOS"];
        output::print(&output::render_table(&headings, self.sound_rows(), 80))
    }

    /// Two rows for each direction: as the node relayed it, as it arrived.
    fn sound_rows(&self) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        for direction in &self.sound {
            let way = format!("{} to {}", direction.from.letter(), direction.from.other().letter());
            if let Some(quality) = self.record.as_ref().and_then(|record| at_node(record, direction.from)) {
                rows.push(quality.row(&way, "", "Offhook"));
            }
            rows.push(direction.quality.row(&way, &direction.heard(), direction.from.other().letter()));
        }
        rows
    }

    /// For programs.
    pub fn json(&self, failure: Option<&Failure>) -> Value {
        json!({
            "works": failure.is_none(),
            "failure": failure.map(ToString::to_string),
            "ladder": self.ladder.rungs().iter().map(rung_json).collect::<Vec<_>>(),
            "record": self.record,
            "sound": self.sound.iter().map(Direction::json).collect::<Vec<_>>(),
        })
    }
}

/// Whether the record says what happened: an answered call of at least `talk`, ended by the caller, in which sound
/// passed both ways.
///
/// # Errors
/// What it says instead.
pub fn check_record(record: &Value, talk: Duration) -> Result<(), Failure> {
    let wrong = |what: String| {
        Err(Failure::new(
            format!("the call went well, but its record is wrong: {what}"),
            "report this as a bug, with the record",
        ))
    };
    for (name, wanted) in [("cause", "hung_up"), ("ended_by", "caller")] {
        if record[name] != wanted {
            return wrong(format!("{name} is {}, not {wanted}", output::clean(&field(record, name))));
        }
    }
    let talk_ms = record["talk_ms"].as_i64().unwrap_or_default();
    if u128::try_from(talk_ms).unwrap_or_default() < talk.as_millis() {
        return wrong(format!("talk_ms is {talk_ms}, and {} ms were spoken", talk.as_millis()));
    }
    for side in [Side::A, Side::B] {
        if at_node(record, side).is_none_or(|quality| quality.packets == 0) {
            return wrong(format!("it has no packets from {}", side.letter()));
        }
    }
    Ok(())
}

impl Direction {
    fn of(from: Side, hz: f64, mouth: &Handset, ear: &Handset) -> Self {
        let (heard, reception) = (ear.voice.heard(), ear.voice.reception());
        let sent = mouth.voice.packets_sent();
        Self {
            from,
            hz,
            level: heard.level(),
            share: heard.share(),
            sent,
            quality: Quality {
                packets: reception.packets,
                lost: voice::lost(sent, &reception),
                jitter_ms: reception.jitter_ms,
                mos: ear.voice.mos(sent),
            },
        }
    }

    fn heard(&self) -> String {
        match self.level {
            Some(level) => format!("{} Hz, {level:.1} dBm0", self.hz),
            None => format!("no {} Hz", self.hz),
        }
    }

    fn json(&self) -> Value {
        json!({
            "from": self.from.letter(),
            "to": self.from.other().letter(),
            "tone_hz": self.hz,
            "sent_dbm0": voice::LEVEL.0,
            "heard_dbm0": self.level,
            "heard_share": self.share,
            "packets_sent": self.sent,
            "packets_received": self.quality.packets,
            "packets_lost": self.quality.lost,
            "jitter_ms": self.quality.jitter_ms,
            "mos": self.quality.mos,
        })
    }
}

impl Quality {
    fn row(&self, way: &str, heard: &str, seen_by: &str) -> Vec<String> {
        vec![
            way.into(),
            heard.into(),
            seen_by.into(),
            self.packets.to_string(),
            self.lost.to_string(),
            format!("{:.1} ms", self.jitter_ms),
            self.mos.map_or_else(|| "-".into(), |mos| format!("{mos:.2}")),
        ]
    }
}

/// What the node received from a phone, as the record has it.
fn at_node(record: &Value, from: Side) -> Option<Quality> {
    let role = if from == Side::A { "caller" } else { "callee" };
    let leg = record["legs"].as_array()?.iter().find(|leg| leg["role"] == role)?;
    let stream = leg["streams"].get(0)?;
    Some(Quality {
        packets: stream["packets_received"].as_u64()?,
        lost: stream["packets_lost"].as_u64()?,
        jitter_ms: stream["jitter_ms"].as_f64()?,
        mos: stream["mos"].as_f64(),
    })
}

fn record_text(record: &Value) -> String {
    let time = |name: &str| match record[name].as_str() {
        Some(time) => output::clean(&time.replace('T', " ").replace('Z', " UTC")),
        None => "-".into(),
    };
    let mut codecs = record["legs"].as_array().map_or_else(Vec::new, |legs| {
        legs.iter().filter_map(|leg| leg["streams"][0]["codec"].as_str()).map(output::clean).collect()
    });
    codecs.dedup();
    let talked = record["talk_ms"].as_f64().unwrap_or_default() / 1000.0;
    let cause = field(record, "cause").replace('_', " ");
    let rows = [
        ("From", output::short_uri(&field(record, "caller"))),
        ("To", output::short_uri(&field(record, "callee"))),
        ("Begun", time("started")),
        ("Rang", time("ringing")),
        ("Answered", time("answered")),
        ("Ended", time("ended")),
        ("Talked", format!("{talked:.3} s")),
        (
            "Cause",
            format!(
                "{cause}, by the {} (SIP {}, Q.850 {})",
                field(record, "ended_by"),
                field(record, "sip_status"),
                field(record, "q850")
            ),
        ),
        ("Codec", if codecs.is_empty() { "-".into() } else { codecs.join(" and ") }),
    ];
    rows.iter().map(|(name, value)| format!("  {name:10}{}\n", output::clean(value))).collect()
}

fn rung_json(Rung { at, what }: &Rung) -> Value {
    let at_ms = at.as_micros() as f64 / 1000.0;
    match what {
        What::Message { side, way, label } => json!({
            "at_ms": at_ms,
            "phone": side.letter(),
            "way": if *way == Way::ToNode { "to_node" } else { "from_node" },
            "message": label,
        }),
        What::Remark(text) => json!({ "at_ms": at_ms, "remark": text }),
    }
}
