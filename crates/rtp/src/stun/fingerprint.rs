//! FINGERPRINT: CRC-32 of the message, marked so that it is not taken for another protocol's. RFC 8489 §14.7.

/// "STUN" in ASCII.
const MARK: u32 = 0x5354_554e;

/// The attribute's value for a message whose bytes up to the attribute are `covered`, its length field already
/// counting the attribute.
pub(super) fn of(covered: &[u8]) -> u32 {
    crc32(covered) ^ MARK
}

/// CRC-32 of ITU V.42: reflected polynomial 0x04C11DB7.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, &byte| sum >> 8 ^ TABLE[usize::from(sum as u8 ^ byte)])
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0xedb8_8320 } else { 0 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_crc_32_comes_out() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
