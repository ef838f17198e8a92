//! What every message carries and everybody asks for: the topmost Via, From, To, Call-ID, CSeq. They are taken apart
//! once, when the message is read; the accessors hand out the parts.

use super::{
    CSeq, HeaderError, HeaderName, NameAddr, Slot, Via,
    scan::{is_call_id, top_level},
};

/// Where a part lies in the head of the message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Of `part`, which is a piece of `head`.
    pub(crate) fn of(part: &str, head: &str) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(head.as_ptr() as usize);
        // A part from elsewhere would give a span beyond the head, and that no text: a bug costs a header, not the process.
        let end = start.wrapping_add(part.len());
        Self { start: u32::try_from(start).unwrap_or(u32::MAX), end: u32::try_from(end).unwrap_or(u32::MAX) }
    }

    /// The part.
    pub(crate) fn text(self, head: &str) -> &str {
        head.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// The parts of the five headers, or what is wrong with each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Essentials {
    pub(super) via: Result<ViaSpans, HeaderError>,
    /// There is no other Via value.
    pub(super) via_alone: bool,
    pub(super) from: Result<AddressSpans, HeaderError>,
    pub(super) to: Result<AddressSpans, HeaderError>,
    pub(super) call_id: Result<Span, HeaderError>,
    pub(super) cseq: Result<(u32, Span), HeaderError>,
}

/// A [`Via`] as places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ViaSpans {
    pub(super) name: Span,
    pub(super) version: Span,
    pub(super) transport: Span,
    pub(super) host: Span,
    pub(super) port: Option<u16>,
    pub(super) params: Span,
    pub(super) branch: Option<Span>,
    pub(super) rport: Option<Option<u16>>,
}

/// A [`NameAddr`] as places.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AddressSpans {
    pub(super) display: Option<Span>,
    pub(super) uri: Span,
    pub(super) params: Span,
    pub(super) tag: Option<Span>,
}

impl Essentials {
    /// Takes the first line of each apart.
    pub(super) fn read(head: &str, slots: &[Slot]) -> Self {
        const NAMES: [u8; 5] = [
            HeaderName::Via as u8,
            HeaderName::From as u8,
            HeaderName::To as u8,
            HeaderName::CallId as u8,
            HeaderName::CSeq as u8,
        ];
        let [via, from, to, call_id, cseq] = NAMES.map(|name| {
            let slot = slots.iter().find(|slot| slot.kind == name)?;
            head.get(slot.value_start as usize..slot.value_end as usize)
        });
        let address = |value: Option<&str>, name| {
            let address = required(value, name, NameAddr::parse)?;
            Ok(address.spans(head))
        };
        let comma = via.and_then(|line| top_level(line, b','));
        let lines = slots.iter().filter(|slot| slot.kind == HeaderName::Via as u8).count();
        Self {
            via: required(via, HeaderName::Via, |line| Via::parse(&line[..comma.unwrap_or(line.len())]))
                .map(|via| via.spans(head)),
            via_alone: comma.is_none() && lines == 1,
            from: address(from, HeaderName::From),
            to: address(to, HeaderName::To),
            call_id: required(call_id, HeaderName::CallId, |text| {
                is_call_id(text).then(|| Span::of(text, head))
            }),
            cseq: required(cseq, HeaderName::CSeq, CSeq::parse)
                .map(|cseq| (cseq.number, Span::of(cseq.method, head))),
        }
    }
}

fn required<'a, T>(
    value: Option<&'a str>,
    name: HeaderName,
    parse: impl FnOnce(&'a str) -> Option<T>,
) -> Result<T, HeaderError> {
    parse(value.ok_or(HeaderError::Missing(name))?).ok_or(HeaderError::Malformed(name))
}
