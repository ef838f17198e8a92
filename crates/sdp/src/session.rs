//! The description as a whole: an index of lines over the received bytes.

use std::fmt;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::media::MediaLine;
use crate::{Attribute, Connection, Direction, Fault, MediaDescription, Origin, SdpError};

/// A session description (RFC 8866): the received bytes and an index over them.
///
/// Immutable and cheap to clone in its bytes. What it does not understand it keeps; what it does, it types on
/// demand. Reading is liberal where phones are: bare LF, a missing `s=` or `t=`, blank lines at the end, lines out
/// of order. Two descriptions are equal if their bytes are.
///
/// Personal data throughout: `Debug` shows only how much there is.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionDescription {
    bytes: Bytes,
    lines: Vec<Line>,
    /// Lines before the first `m=`.
    session_lines: usize,
    origin_line: usize,
    media: Vec<MediaSection>,
}

/// Where one line stands: its letter and the bytes of its value.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Line {
    letter: u8,
    start: u32,
    end: u32,
}

#[derive(Clone, PartialEq, Eq)]
struct MediaSection {
    lines: Range<usize>,
    line: MediaLine,
}

impl SessionDescription {
    /// Longest body, bytes: a UDP datagram; real ones stay below 8 KiB.
    pub const MAX_BYTES: usize = 64 * 1024;
    /// Most media sections. A conference offer with one section per face has a few dozen.
    pub const MAX_MEDIA: usize = 64;
    /// Most lines in the session part or in one media section. Browsers write about 150 for video.
    pub const MAX_SECTION_LINES: usize = 512;
    /// Most formats of a stream: RTP has no more payload types.
    pub const MAX_FORMATS: usize = 128;

    /// Reads a description.
    ///
    /// # Errors
    /// The first fault, with its line. See [`Fault`].
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, SdpError> {
        let bytes = bytes.into();
        let lines = index_lines(&bytes)?;
        let mut reader = Reader { bytes: &bytes, lines: &lines };
        let session_lines = lines.iter().position(|line| line.letter == b'm').unwrap_or(lines.len());
        let (origin_line, has_connection) = reader.session_part(session_lines)?;
        let media = reader.media_part(session_lines, has_connection)?;
        Ok(Self { bytes, lines, session_lines, origin_line, media })
    }

    /// Reads a description out of borrowed bytes, which are copied.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_slice(bytes: &[u8]) -> Result<Self, SdpError> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(SdpError { line: 1, fault: Fault::BodyTooLong });
        }
        Self::parse(Bytes::copy_from_slice(bytes))
    }

    /// The bytes as they came or were written.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Appends the description to `out`, byte for byte as it was read.
    pub fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.bytes);
    }

    /// The `o=` line.
    pub fn origin(&self) -> Origin<'_> {
        let text = self.text(self.origin_line).unwrap_or_default();
        Origin::parse(text).expect("checked when the description was read")
    }

    /// The session's `c=` line, which holds for streams that have none of their own.
    pub fn connection(&self) -> Option<Connection<'_>> {
        self.first_of(0..self.session_lines, b'c').and_then(Connection::parse)
    }

    /// The session's direction; holds for streams that name none.
    pub fn direction(&self) -> Option<Direction> {
        self.attributes().find_map(|attribute| Direction::of(&attribute))
    }

    /// Attributes of the session part, in order. Lines that are not UTF-8 are left out.
    pub fn attributes(&self) -> impl Iterator<Item = Attribute<'_>> {
        self.attributes_in(0..self.session_lines)
    }

    /// First attribute `name` of the session part.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'_>> {
        self.attributes().find(|attribute| attribute.is(name))
    }

    /// Media sections, in order.
    pub fn media(&self) -> impl ExactSizeIterator<Item = MediaDescription<'_>> {
        (0..self.media.len()).map(|index| MediaDescription { session: self, index })
    }

    /// Media section `index`, from 0.
    pub fn media_at(&self, index: usize) -> Option<MediaDescription<'_>> {
        (index < self.media.len()).then_some(MediaDescription { session: self, index })
    }

    /// How many media sections there are, rejected ones included.
    pub const fn media_count(&self) -> usize {
        self.media.len()
    }

    /// Whether `later` is the same version of the same session: an equal `o=` line (RFC 3264 §8).
    pub fn has_same_origin(&self, later: &Self) -> bool {
        self.origin() == later.origin()
    }

    pub(crate) fn media_line(&self, index: usize) -> &MediaLine {
        &self.media[index].line
    }

    pub(crate) fn session_range(&self) -> Range<usize> {
        0..self.session_lines
    }

    /// Lines of media section `index`; the first is its `m=` line.
    pub(crate) fn media_range(&self, index: usize) -> Range<usize> {
        self.media[index].lines.clone()
    }

    /// Letter and raw value of line `index`.
    pub(crate) fn line(&self, index: usize) -> (u8, &[u8]) {
        let line = &self.lines[index];
        (line.letter, &self.bytes[line.start as usize..line.end as usize])
    }

    pub(crate) fn text(&self, index: usize) -> Option<&str> {
        std::str::from_utf8(self.line(index).1).ok()
    }

    pub(crate) fn first_of(&self, range: Range<usize>, letter: u8) -> Option<&str> {
        range.into_iter().find(|index| self.lines[*index].letter == letter).and_then(|index| self.text(index))
    }

    pub(crate) fn attributes_in(&self, range: Range<usize>) -> impl Iterator<Item = Attribute<'_>> {
        range
            .filter(|index| self.lines[*index].letter == b'a')
            .filter_map(|index| self.text(index))
            .map(Attribute::split)
    }
}

impl fmt::Debug for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionDescription({} bytes, {} media)", self.bytes.len(), self.media.len())
    }
}

/// Splits the body into lines. Bare LF is accepted; blank lines only at the end.
fn index_lines(bytes: &[u8]) -> Result<Vec<Line>, SdpError> {
    if bytes.len() > SessionDescription::MAX_BYTES {
        return Err(SdpError { line: 1, fault: Fault::BodyTooLong });
    }
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    let body = &bytes[..end];
    if body.is_empty() {
        return Err(SdpError { line: 1, fault: Fault::Empty });
    }
    let mut lines = Vec::with_capacity(32);
    let (mut start, mut in_section) = (0, 0);
    for (index, raw) in body.split(|byte| *byte == b'\n').enumerate() {
        let fail = |fault| SdpError { line: index as u32 + 1, fault };
        let text = raw.strip_suffix(b"\r").unwrap_or(raw);
        let letter = match text {
            [letter, b'=', ..] if letter.is_ascii_lowercase() => *letter,
            _ => return Err(fail(Fault::NotALine)),
        };
        if text.iter().any(|byte| matches!(byte, 0 | b'\r')) {
            return Err(fail(Fault::ControlByte));
        }
        in_section = if letter == b'm' { 1 } else { in_section + 1 };
        if in_section > SessionDescription::MAX_SECTION_LINES {
            return Err(fail(Fault::TooManyLines));
        }
        // Positions fit: the body is at most 64 KiB.
        lines.push(Line { letter, start: (start + 2) as u32, end: (start + text.len()) as u32 });
        start += raw.len() + 1;
    }
    Ok(lines)
}

/// Checks the lines whose meaning everything else leans on.
struct Reader<'a> {
    bytes: &'a [u8],
    lines: &'a [Line],
}

impl<'a> Reader<'a> {
    /// Returns the line of `o=` and whether there is a `c=`.
    fn session_part(&mut self, end: usize) -> Result<(usize, bool), SdpError> {
        if self.lines.first().is_none_or(|line| line.letter != b'v') || self.text(0)?.trim() != "0" {
            return Err(fail(0, Fault::BadVersion));
        }
        let (mut origin, mut connection) = (None, false);
        for index in 1..end {
            match self.lines[index].letter {
                b'v' => return Err(fail(index, Fault::Misplaced)),
                b'o' if origin.is_some() => return Err(fail(index, Fault::Misplaced)),
                b'o' => {
                    Origin::parse(self.text(index)?).ok_or(fail(index, Fault::BadOrigin))?;
                    origin = Some(index);
                }
                b'c' => {
                    self.connection(index)?;
                    connection = true;
                }
                _ => {}
            }
        }
        let origin = origin.ok_or(fail(end.saturating_sub(1), Fault::NoOrigin))?;
        Ok((origin, connection))
    }

    fn media_part(&mut self, start: usize, has_connection: bool) -> Result<Vec<MediaSection>, SdpError> {
        let mut media = Vec::new();
        let mut index = start;
        while index < self.lines.len() {
            if media.len() == SessionDescription::MAX_MEDIA {
                return Err(fail(index, Fault::TooManyMedia));
            }
            let line = MediaLine::parse(self.text(index)?).map_err(|fault| fail(index, fault))?;
            let first = index;
            let mut connection = has_connection;
            index += 1;
            while index < self.lines.len() && self.lines[index].letter != b'm' {
                match self.lines[index].letter {
                    b'v' | b'o' => return Err(fail(index, Fault::Misplaced)),
                    b'c' => {
                        self.connection(index)?;
                        connection = true;
                    }
                    _ => {}
                }
                index += 1;
            }
            if !connection && line.port != 0 {
                return Err(fail(first, Fault::NoConnection));
            }
            media.push(MediaSection { lines: first..index, line });
        }
        Ok(media)
    }

    fn connection(&self, index: usize) -> Result<(), SdpError> {
        Connection::parse(self.text(index)?).ok_or(fail(index, Fault::BadConnection)).map(|_| ())
    }

    fn text(&self, index: usize) -> Result<&'a str, SdpError> {
        let line = &self.lines[index];
        let value = &self.bytes[line.start as usize..line.end as usize];
        std::str::from_utf8(value).map_err(|_| fail(index, Fault::NotUtf8))
    }
}

fn fail(index: usize, fault: Fault) -> SdpError {
    SdpError { line: index as u32 + 1, fault }
}
