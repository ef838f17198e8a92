//! How a value is written into a form, and read from one: little-endian groups of seven bits for numbers, a length before
//! every text and list. No value's end depends on the next one, so a reader can say at every octet whether more may come.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use offhook_base::UtcMillis;

use crate::record::CallId;

/// Entries of one list. Legs of a call, hops of a route set (RFC 3261 has 70) and lines of a description's patch stay
/// below; whatever claims more is damaged.
pub const LIST_MAX: usize = 1024;

/// Why octets are no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// Longer than [`super::FORM_BYTES_MAX`].
    #[error("the form is too long")]
    TooLong,
    /// Of a version that this program does not know.
    #[error("the form has version {0}")]
    Version(u8),
    /// It ends in the middle of a value.
    #[error("the form ends early")]
    Truncated,
    /// A value that no form has.
    #[error("the form has no such {0}")]
    Value(&'static str),
    /// More octets follow than the form has.
    #[error("the form is followed by something")]
    Trailing,
}

/// What is left to read.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether all was read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next octet.
    pub fn octet(&mut self) -> Result<u8, BadForm> {
        let (&first, rest) = self.rest.split_first().ok_or(BadForm::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    /// The next `count` octets.
    pub fn octets(&mut self, count: usize) -> Result<&'a [u8], BadForm> {
        let (octets, rest) = self.rest.split_at_checked(count).ok_or(BadForm::Truncated)?;
        self.rest = rest;
        Ok(octets)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadForm> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(BadForm::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}

/// A value that a form may have. A form has some two hundred, most of them an octet long: the small ones are written in
/// place, since calling would cost more than writing.
pub trait Field<'a>: Sized {
    /// What it is called on the reference page.
    fn shape() -> String;

    /// Appends it.
    fn write(&self, out: &mut Vec<u8>);

    /// Reads it.
    ///
    /// # Errors
    /// See [`BadForm`].
    fn read(input: &mut Reader<'a>) -> Result<Self, BadForm>;
}

impl Field<'_> for bool {
    fn shape() -> String {
        "flag".into()
    }

    #[inline(always)]
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        match input.octet()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(BadForm::Value("flag")),
        }
    }
}

impl Field<'_> for u64 {
    fn shape() -> String {
        "number".into()
    }

    #[inline(always)]
    fn write(&self, out: &mut Vec<u8>) {
        let mut rest = *self;
        while rest >= 0x80 {
            out.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = input.octet()?;
            let part = u64::from(octet & 0x7f);
            if part << shift >> shift != part {
                return Err(BadForm::Value("number"));
            }
            number |= part << shift;
            if octet < 0x80 {
                return Ok(number);
            }
        }
        Err(BadForm::Value("number"))
    }
}

macro_rules! smaller_numbers {
    ($($kind:ty),*) => {$(
        impl Field<'_> for $kind {
            fn shape() -> String {
                "number".into()
            }

            #[inline(always)]
    fn write(&self, out: &mut Vec<u8>) {
                u64::from(*self).write(out);
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
                u64::read(input)?.try_into().map_err(|_| BadForm::Value("number"))
            }
        }
    )*};
}

smaller_numbers!(u8, u16, u32);

impl Field<'_> for f64 {
    fn shape() -> String {
        "fraction".into()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        input.array().map(Self::from_le_bytes)
    }
}

impl Field<'_> for UtcMillis {
    fn shape() -> String {
        "time".into()
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Times before 1970 exist in broken clocks only: they cost ten octets.
        self.0.cast_unsigned().write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        u64::read(input).map(|millis| Self(millis.cast_signed()))
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn shape() -> String {
        "octets".into()
    }

    #[inline(always)]
    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u64).write(out);
        out.extend_from_slice(self);
    }

    fn read(input: &mut Reader<'a>) -> Result<Self, BadForm> {
        let count = usize::try_from(u64::read(input)?).map_err(|_| BadForm::Truncated)?;
        input.octets(count)
    }
}

impl<'a> Field<'a> for &'a str {
    fn shape() -> String {
        "text".into()
    }

    #[inline(always)]
    fn write(&self, out: &mut Vec<u8>) {
        self.as_bytes().write(out);
    }

    fn read(input: &mut Reader<'a>) -> Result<Self, BadForm> {
        std::str::from_utf8(Field::read(input)?).map_err(|_| BadForm::Value("text"))
    }
}

impl Field<'_> for String {
    fn shape() -> String {
        <&str>::shape()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.as_str().write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        <&str>::read(input).map(Self::from)
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn shape() -> String {
        format!("{}, or none", T::shape())
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(input: &mut Reader<'a>) -> Result<Self, BadForm> {
        if bool::read(input)? { T::read(input).map(Some) } else { Ok(None) }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn shape() -> String {
        format!("list of {}", T::shape())
    }

    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u64).write(out);
        for value in self {
            value.write(out);
        }
    }

    fn read(input: &mut Reader<'a>) -> Result<Self, BadForm> {
        let count = usize::try_from(u64::read(input)?).unwrap_or(usize::MAX);
        // Each entry takes an octet at least: what cannot be there takes no memory.
        if count > LIST_MAX || count > input.rest.len() {
            return Err(BadForm::Value("list"));
        }
        (0..count).map(|_| T::read(input)).collect()
    }
}

impl Field<'_> for IpAddr {
    fn shape() -> String {
        "address".into()
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::V4(address) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Self::V6(address) => {
                out.push(6);
                out.extend_from_slice(&address.octets());
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        match input.octet()? {
            4 => Ok(Self::V4(Ipv4Addr::from(input.array::<4>()?))),
            6 => Ok(Self::V6(Ipv6Addr::from(input.array::<16>()?))),
            _ => Err(BadForm::Value("address")),
        }
    }
}

impl Field<'_> for SocketAddr {
    fn shape() -> String {
        "address and port".into()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.ip().write(out);
        self.port().write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        Ok(Self::new(IpAddr::read(input)?, u16::read(input)?))
    }
}

impl Field<'_> for CallId {
    fn shape() -> String {
        "26 letters".into()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_str().as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BadForm> {
        let letters = std::str::from_utf8(input.octets(26)?).map_err(|_| BadForm::Value("call id"))?;
        letters.parse().map_err(|_| BadForm::Value("call id"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again<'a, T: Field<'a>>(written: &'a [u8]) -> T {
        let mut reader = Reader::new(written);
        let value = T::read(&mut reader).expect("what was written can be read");
        assert!(reader.is_empty());
        value
    }

    fn written<'a>(value: &impl Field<'a>) -> Vec<u8> {
        let mut out = Vec::new();
        value.write(&mut out);
        out
    }

    proptest! {
        #[test]
        fn numbers_times_and_addresses_come_back(
            number: u64,
            millis: i64,
            fraction: f64,
            address: SocketAddr,
        ) {
            prop_assert_eq!(again::<u64>(&written(&number)), number);
            prop_assert_eq!(again::<UtcMillis>(&written(&UtcMillis(millis))), UtcMillis(millis));
            prop_assert_eq!(again::<f64>(&written(&fraction)).to_bits(), fraction.to_bits());
            let plain = SocketAddr::new(address.ip(), address.port());
            prop_assert_eq!(again::<SocketAddr>(&written(&plain)), plain);
        }

        #[test]
        fn texts_and_lists_come_back(texts: Vec<String>, last: Option<u16>) {
            prop_assert_eq!(again::<Vec<String>>(&written(&texts)), texts);
            prop_assert_eq!(again::<Option<u16>>(&written(&last)), last);
        }
    }

    #[test]
    fn what_is_too_large_or_too_long_is_refused() {
        assert_eq!(u64::read(&mut Reader::new(&[0xff; 10])), Err(BadForm::Value("number")));
        assert_eq!(u8::read(&mut Reader::new(&[0x80, 0x02])), Err(BadForm::Value("number")));
        assert_eq!(<&str>::read(&mut Reader::new(&[9, b'a'])), Err(BadForm::Truncated));
        assert_eq!(<&str>::read(&mut Reader::new(&[1, 0xff])), Err(BadForm::Value("text")));
        let many = [0xff, 0xff, 0x03, 0, 0, 0];
        assert_eq!(Vec::<bool>::read(&mut Reader::new(&many)), Err(BadForm::Value("list")));
        assert_eq!(bool::read(&mut Reader::new(&[2])), Err(BadForm::Value("flag")));
    }
}
