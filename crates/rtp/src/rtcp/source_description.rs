//! Source descriptions: who a source says it is. RFC 3550 §6.5.

use crate::{read, rtp::Ssrc};

/// What an item says. RFC 3550 §6.5.1–§6.5.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceDescriptionItemKind {
    /// The canonical name that binds streams of one participant.
    CanonicalName,
    /// NAME 2, EMAIL 3, PHONE 4, LOC 5, TOOL 6, NOTE 7, PRIV 8, or one of later RFCs.
    Other(u8),
}

/// One item of one source. Its text may be a name, a number or an address: personal data, hence no `Debug`.
#[derive(Clone, Copy)]
pub struct SourceDescriptionItem<'a> {
    /// Whose.
    pub ssrc: Ssrc,
    /// What.
    pub kind: SourceDescriptionItemKind,
    /// 0–255 bytes, UTF-8 by the RFC, unchecked here.
    pub text: &'a [u8],
}

/// SDES: chunks of items, one chunk a source.
#[derive(Clone, Copy)]
pub struct SourceDescription<'a> {
    chunk_count: u8,
    chunks: &'a [u8],
}

impl std::fmt::Debug for SourceDescription<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceDescription").field("chunk_count", &self.chunk_count).finish_non_exhaustive()
    }
}

impl<'a> SourceDescription<'a> {
    pub(super) fn parse(chunk_count: u8, body: &'a [u8]) -> Option<Self> {
        let mut rest = body;
        for _ in 0..chunk_count {
            rest = Chunk::split(rest)?.1;
        }
        Some(Self { chunk_count, chunks: body })
    }

    /// Every item of every source, in order.
    pub fn items(&self) -> impl Iterator<Item = SourceDescriptionItem<'a>> + use<'a> {
        let mut rest = self.chunks;
        let chunks = (0..self.chunk_count).map_while(move |_| {
            let (chunk, after) = Chunk::split(rest)?;
            rest = after;
            Some(chunk)
        });
        chunks.flat_map(Chunk::items)
    }
}

/// One source's items, with the terminator and without.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    ssrc: Ssrc,
    items: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The chunk at the start of `bytes` and what follows it: it ends with one to four zero bytes, at a word.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let ssrc = Ssrc(u32::from_be_bytes(read(bytes, 0)?));
        let mut at = 4;
        while *bytes.get(at)? != 0 {
            at += 2 + usize::from(*bytes.get(at + 1)?);
        }
        let (chunk, rest) = bytes.split_at_checked((at + 1).next_multiple_of(4))?;
        Some((Self { ssrc, items: &chunk[4..at] }, rest))
    }

    fn items(self) -> impl Iterator<Item = SourceDescriptionItem<'a>> {
        let mut rest = self.items;
        std::iter::from_fn(move || {
            let [kind, len, after @ ..] = rest else { return None };
            let (text, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            let kind = match kind {
                1 => SourceDescriptionItemKind::CanonicalName,
                &other => SourceDescriptionItemKind::Other(other),
            };
            Some(SourceDescriptionItem { ssrc: self.ssrc, kind, text })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_several_sources_are_found() {
        let body = b"\0\0\0\x01\x01\x02ab\x06\x01t\0\0\0\0\x02\0\0\0\0";
        let description = SourceDescription::parse(2, body).unwrap();
        let items: Vec<_> = description.items().map(|item| (item.ssrc.0, item.kind, item.text)).collect();
        let expected: [(u32, _, &[u8]); 2] = [
            (1, SourceDescriptionItemKind::CanonicalName, b"ab"),
            (1, SourceDescriptionItemKind::Other(6), b"t"),
        ];
        assert_eq!(items, expected);
    }

    #[test]
    fn a_chunk_without_its_end_is_refused() {
        for len in 0..12 {
            assert!(SourceDescription::parse(1, &b"\0\0\0\x01\x01\x02ab\x06\x01t\0"[..len]).is_none());
        }
    }

    #[test]
    fn debug_output_shows_no_text() {
        let description = SourceDescription::parse(1, b"\0\0\0\x01\x01\x05alice\0\0\0\0\0").unwrap();
        assert!(!format!("{description:?}").contains("alice"));
    }
}
