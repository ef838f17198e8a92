//! Header extensions: the opaque block of RFC 3550 §5.3.1 and the elements of RFC 8285 within it.

/// A header extension as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderExtension<'a> {
    /// "Defined by profile": 0xBEDE and 0x1000–0x100F announce RFC 8285 elements.
    pub profile: u16,
    /// Whole 32-bit words, 0 to 65535 of them.
    pub data: &'a [u8],
}

/// One element of RFC 8285.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtensionElement<'a> {
    /// Bound to a meaning by `a=extmap`: 1–14 in the one-byte form, 1–255 in the two-byte form.
    pub id: u8,
    /// 1–16 bytes in the one-byte form, 0–255 in the two-byte form.
    pub data: &'a [u8],
}

impl<'a> HeaderExtension<'a> {
    /// The elements, none if the extension is of another kind. Stops at the first element that breaks RFC 8285, as its
    /// §4.2 asks: those before it count.
    pub fn elements(&self) -> ExtensionElements<'a> {
        let form = match self.profile {
            0xbede => Some(Form::OneByte),
            // The low four bits are for the application, §4.3.
            0x1000..=0x100f => Some(Form::TwoByte),
            _ => None,
        };
        ExtensionElements { form, rest: self.data }
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    OneByte,
    TwoByte,
}

/// Iterator over [`ExtensionElement`]s.
#[derive(Clone, Debug)]
pub struct ExtensionElements<'a> {
    form: Option<Form>,
    rest: &'a [u8],
}

impl<'a> Iterator for ExtensionElements<'a> {
    type Item = ExtensionElement<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let form = self.form?;
        // §4.2, §4.3: a zero byte between elements is padding.
        let start = self.rest.iter().position(|&byte| byte != 0)?;
        let element = match (form, &self.rest[start..]) {
            (Form::OneByte, &[first, ref rest @ ..]) => match (first >> 4, usize::from(first & 0x0f) + 1) {
                // §4.2: 15 is reserved, and 0 with a length is broken; both end the processing.
                (0 | 15, _) => None,
                (id, len) => rest.split_at_checked(len).map(|(data, rest)| (id, data, rest)),
            },
            (Form::TwoByte, &[id, len, ref rest @ ..]) => {
                rest.split_at_checked(usize::from(len)).map(|(data, rest)| (id, data, rest))
            }
            _ => None,
        };
        let Some((id, data, rest)) = element else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(ExtensionElement { id, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(profile: u16, data: &[u8]) -> Vec<(u8, Vec<u8>)> {
        HeaderExtension { profile, data }.elements().map(|e| (e.id, e.data.to_vec())).collect()
    }

    #[test]
    fn one_byte_elements_of_the_rfc_8285_example_are_found() {
        let data = [0x10, 0xaa, 0x21, 0xbb, 0xbc, 0, 0, 0x33, 1, 2, 3, 4];
        assert_eq!(elements(0xbede, &data), [(1, vec![0xaa]), (2, vec![0xbb, 0xbc]), (3, vec![1, 2, 3, 4])]);
    }

    #[test]
    fn two_byte_elements_may_be_empty() {
        let data = [1, 0, 0, 200, 1, 0xaa, 0, 0];
        assert_eq!(elements(0x1000, &data), [(1, vec![]), (200, vec![0xaa])]);
    }

    #[test]
    fn a_broken_element_ends_the_list_and_leaves_those_before_it() {
        assert_eq!(elements(0xbede, &[0x10, 0xaa, 0xf0, 1, 0x10, 2, 0, 0]), [(1, vec![0xaa])]);
        assert_eq!(elements(0xbede, &[0x10, 0xaa, 0x02, 1]), [(1, vec![0xaa])]);
        assert_eq!(elements(0xbede, &[0x10, 0xaa, 0x2f, 1]), [(1, vec![0xaa])]);
        assert_eq!(elements(0x100f, &[1, 1, 7, 2]), [(1, vec![7])]);
        assert_eq!(elements(0x1234, &[1, 1, 7, 2]), []);
    }
}
