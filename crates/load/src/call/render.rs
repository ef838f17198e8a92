//! Writes a message of a call, straight into the buffer it is sent from.

use offhook_base::UtcMillis;

use super::{
    bind::{self, Bound, Piece},
    shard::{Context, Core},
    state::Call,
    view::{self, View},
};
use crate::{
    inject,
    scenario::keyword::{Field, Keyword, LastHeader},
};

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RenderError {
    /// `[authentication]`, and nothing has been challenged.
    NoChallenge,
    /// `[authentication]`, and the challenge wants what we cannot do.
    BadChallenge,
}

/// Deepest nesting of texts in keywords in texts.
const DEPTH_MAX: u8 = 4;

impl Core {
    /// Appends `text` to `into`. `index` is what `[msg_index]` and `[branch]` count from.
    pub(super) fn render(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        text: &Bound,
        index: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), RenderError> {
        self.render_within(context, call, text, index, into, 0)
    }

    pub(super) fn render_within(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        text: &Bound,
        index: usize,
        into: &mut Vec<u8>,
        depth: u8,
    ) -> Result<(), RenderError> {
        let start = into.len();
        let mut length: Option<(usize, i64)> = None;
        let mut authentication = None;
        // Nothing came of a keyword that stood alone on its line: the line goes.
        let mut drop_line_end = false;
        for piece in &text.pieces {
            match piece {
                Piece::Text(octets) => {
                    let skip = usize::from(drop_line_end && octets.starts_with(b"\r\n")) * 2;
                    into.extend_from_slice(&octets[skip..]);
                    drop_line_end = false;
                }
                Piece::Length(offset) => {
                    length = Some((into.len(), *offset));
                    into.extend_from_slice(b"     ");
                }
                Piece::Keyword(Keyword::Authentication(given)) => {
                    // It covers the body, so it is written when the rest is.
                    authentication = Some((into.len(), given));
                }
                Piece::Keyword(keyword) => {
                    let before = into.len();
                    let at_line_start = before == start || into.ends_with(b"\n");
                    self.keyword(context, call, keyword, index, into, depth)?;
                    drop_line_end = at_line_start && into.len() == before && may_vanish(keyword);
                }
            }
        }
        if let Some((at, offset)) = length {
            let body = view::body(&into[start..]).len() as i64;
            let digits = bind::length_digits(body + offset);
            into.splice(at..at + 5, digits);
        }
        if let Some((at, given)) = authentication {
            let header = self.authenticate(context, call, given, &into[start..], depth)?;
            // A length that was filled in before it keeps its place.
            into.splice(at..at, header);
        }
        Ok(())
    }

    fn keyword(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        keyword: &Keyword,
        index: usize,
        into: &mut Vec<u8>,
        depth: u8,
    ) -> Result<(), RenderError> {
        let settings = &context.plan.settings;
        match keyword {
            Keyword::CallNumber => decimal(into, call.number),
            Keyword::CallId => into.extend_from_slice(&call.id),
            Keyword::Branch(offset) => {
                into.extend_from_slice(b"z9hG4bK-");
                decimal(into, u64::from(settings.pid));
                into.push(b'-');
                decimal(into, call.number);
                into.push(b'-');
                signed(into, index as i64 + offset);
            }
            Keyword::Cseq(offset) => signed(into, i64::from(call.cseq) + offset),
            Keyword::PeerTagParam if call.peer_tag.is_empty() => {}
            Keyword::PeerTagParam => {
                into.extend_from_slice(b";tag=");
                into.extend_from_slice(&call.peer_tag);
            }
            Keyword::LastHeader(header) => last_header(call, header, into),
            Keyword::RemoteIp => {
                // The call came to us: it is from there. Before anything came there is nobody.
                let ip = call.remote.map(|remote| bind::in_brackets(remote.ip())).unwrap_or_default();
                into.extend_from_slice(ip.as_bytes());
            }
            Keyword::RemotePort(offset) => {
                let port = call.remote.map_or(SIP_PORT, |remote| remote.port());
                signed(into, i64::from(port) + offset);
            }
            Keyword::LocalPort(offset) => signed(into, i64::from(call.local_port) + offset),
            Keyword::MsgIndex => decimal(into, index as u64),
            Keyword::Routes => into.extend_from_slice(&call.routes),
            Keyword::NextUrl => into.extend_from_slice(&call.next_url),
            Keyword::LastMessage => into.extend_from_slice(&call.received),
            Keyword::LastRequestUri => {
                let to = View::parse(&call.received).and_then(|view| view.header(b"To"));
                into.extend_from_slice(to.map(view::uri_of).unwrap_or_default());
            }
            Keyword::LastCseqNumber(offset) => {
                let last = View::parse(&call.received).map_or(0, |view| view.cseq);
                signed(into, i64::from(last) + offset);
            }
            Keyword::Variable(id) => self.value(context.script, call, *id).write(into),
            Keyword::Field(field) => return self.field(context, call, field, index, into, depth),
            Keyword::Fill { text, variable } => {
                let length = self.value(context.script, call, *variable).number().unwrap_or(0.0);
                let length = length.clamp(0.0, FILL_BYTES_MAX) as usize;
                into.extend(text.iter().cycle().take(length));
            }
            Keyword::AutoMediaPort(offset) => {
                signed(into, i64::from(self.auto_port(context, call)) + offset);
            }
            Keyword::StreamAudioPort(offset) => {
                signed(into, i64::from(self.stream_port(context, call)) + offset);
            }
            Keyword::StreamVideoPort(offset) => {
                signed(into, i64::from(self.stream_port(context, call)) + 2 + offset);
            }
            Keyword::CryptoKey(slot) => {
                let keys = call.keys.get_or_insert_default();
                into.extend_from_slice(keys.own(*slot, &mut self.random).as_bytes());
            }
            Keyword::DynamicId => {
                decimal(into, self.dynamic);
                let (start, max, step) = settings.dynamic;
                self.dynamic += step;
                if self.dynamic > max {
                    self.dynamic = start;
                }
            }
            Keyword::ClockTick => decimal(into, context.now.millis()),
            Keyword::Users => signed(into, settings.users.map_or(-1, i64::from)),
            Keyword::UserId => decimal(into, u64::from(call.user.unwrap_or(0))),
            Keyword::Date => date(into, context.now.unix_micros),
            Keyword::Timestamp => super::trace::timestamp(into, context.now.unix_micros),
            // Bound to text before the first call.
            _ => {}
        }
        Ok(())
    }

    /// `[fieldN]`: what stands in the call's line of the file, or in the line asked for.
    fn field(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        field: &Field,
        index: usize,
        into: &mut Vec<u8>,
        depth: u8,
    ) -> Result<(), RenderError> {
        let line = match &field.line {
            None => call.lines.get(field.file).copied(),
            Some(template) => {
                let mut digits = Vec::new();
                if let Ok(bound) = bind::bind(template, &context.plan.settings) {
                    self.render_within(context, call, &bound, index, &mut digits, depth + 1)?;
                }
                // A variable holds a number as 3.000000.
                let number =
                    std::str::from_utf8(&digits).ok().and_then(|text| text.trim().parse::<f64>().ok());
                number.filter(|number| *number >= 0.0).map(|number| number as u32)
            }
        };
        let Some(cursor) = self.injections.get(field.file) else { return Ok(()) };
        let Some(line) = line.and_then(|line| cursor.line(line)) else { return Ok(()) };
        let text = inject::field(&line, field.number);
        if !text.contains(&b'[') || depth >= DEPTH_MAX {
            into.extend_from_slice(text);
            return Ok(());
        }
        match bind::of_field(text, &context.plan.settings) {
            Some(bound) => self.render_within(context, call, &bound, index, into, depth + 1),
            None => {
                into.extend_from_slice(text);
                Ok(())
            }
        }
    }

    /// Text that an action needs, keywords replaced.
    pub(super) fn text_of(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        template: &crate::scenario::template::Template,
    ) -> Vec<u8> {
        let mut text = Vec::new();
        if let Ok(bound) = bind::bind(template, &context.plan.settings) {
            let index = call.step;
            // Without a challenge there is no header; the text stays as far as it came.
            let _ = self.render(context, call, &bound, index, &mut text);
        }
        text
    }
}

/// `[remote_port]` of nobody, as in SIPp.
const SIP_PORT: u16 = 5060;

/// Most octets that `[fill]` writes: what fits a datagram.
const FILL_BYTES_MAX: f64 = 65_000.0;

/// Keywords whose line goes with them when there is nothing to write.
const fn may_vanish(keyword: &Keyword) -> bool {
    matches!(keyword, Keyword::LastHeader(_) | Keyword::Routes | Keyword::Field(_))
}

/// `[last_Via:]`: the header with its name; several of one name in one, with commas between them.
fn last_header(call: &Call, wanted: &LastHeader, into: &mut Vec<u8>) {
    let Some(view) = View::parse(&call.received) else { return };
    let mut first = true;
    for value in view.all(&wanted.name) {
        if !first {
            into.extend_from_slice(b", ");
        } else if !wanted.value_only {
            into.extend_from_slice(&wanted.name);
            into.extend_from_slice(b": ");
        }
        into.extend_from_slice(value);
        first = false;
    }
}

/// Writes `number` in decimal digits.
pub(super) fn decimal(into: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.extend_from_slice(&digits[at..]);
}

fn signed(into: &mut Vec<u8>, number: i64) {
    if number < 0 {
        into.push(b'-');
    }
    decimal(into, number.unsigned_abs());
}

/// `Mon, 25 Oct 2021 07:20:55 GMT`.
fn date(into: &mut Vec<u8>, unix_micros: i64) {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let utc = UtcMillis(unix_micros.div_euclid(1000));
    let (year, month, day, hour, minute, second) = utc.civil();
    let weekday = DAYS[utc.as_secs().div_euclid(86_400).rem_euclid(7) as usize];
    let month = MONTHS[usize::from(month.clamp(1, 12)) - 1];
    let text = format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    into.extend_from_slice(text.as_bytes());
}
