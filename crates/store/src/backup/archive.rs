//! The form of a backup: a POSIX tar archive (ustar), so that any system can look into it. Names are a few words of ours, so
//! neither long names nor links nor folders are needed, and none is taken on reading.

use std::io::{self, Read, Write};

/// Octets of a header, and what sizes are rounded up to.
const BLOCK: usize = 512;

/// Two blocks of zeros end an archive.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Where the parts of a header stand: name, mode, owner, group, size, time, sum, type, magic.
const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const OWNER: std::ops::Range<usize> = 108..116;
const GROUP: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const TIME: std::ops::Range<usize> = 136..148;
const SUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;

/// The largest file: what eleven octal digits hold, 8 GiB.
const SIZE_MAX: u64 = (1 << 33) - 1;

/// Writes one archive.
pub struct Writer<W>(W);

impl<W: Write> Writer<W> {
    pub const fn new(to: W) -> Self {
        Self(to)
    }

    /// Adds a file of `size` octets, read to its end from `content`, for its owner only.
    pub fn add(&mut self, name: &str, size: u64, at_secs: u64, mut content: impl Read) -> io::Result<()> {
        self.0.write_all(&header(name, size, at_secs)?)?;
        let copied = io::copy(&mut content, &mut self.0)?;
        if copied != size {
            return Err(io::Error::other("a file changed while it was read"));
        }
        self.0.write_all(&END[..padding(size)])
    }

    /// Ends the archive; gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&END)?;
        Ok(self.0)
    }
}

/// The name and size of the next file of an archive; its octets follow. `None`: it ends here.
pub fn next(from: &mut impl Read) -> io::Result<Option<(String, u64)>> {
    let mut block = [0; BLOCK];
    from.read_exact(&mut block)?;
    if block.iter().all(|octet| *octet == 0) {
        return Ok(None);
    }
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "this is no backup, or it is damaged");
    let number = |range: std::ops::Range<usize>| {
        let digits = std::str::from_utf8(&block[range]).ok()?.trim_end_matches(['\0', ' ']);
        u64::from_str_radix(digits, 8).ok()
    };
    let is_file = matches!(block[TYPE], b'0' | 0) && &block[MAGIC.start..MAGIC.start + 5] == b"ustar";
    if !is_file || number(SUM) != Some(sum(&block)) {
        return Err(damaged());
    }
    let name = std::str::from_utf8(&block[NAME]).map_err(|_| damaged())?.trim_end_matches('\0');
    Ok(Some((name.to_string(), number(SIZE).ok_or_else(damaged)?)))
}

/// Reads over the rest of a file's last block.
pub fn skip_padding(from: &mut impl Read, size: u64) -> io::Result<()> {
    from.read_exact(&mut [0; BLOCK][..padding(size)])
}

const fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

fn header(name: &str, size: u64, at_secs: u64) -> io::Result<[u8; BLOCK]> {
    if name.len() >= NAME.len() || size > SIZE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a file of a backup may have 8 GiB"));
    }
    let mut block = [0; BLOCK];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[MODE].copy_from_slice(b"0000600\0");
    block[OWNER].copy_from_slice(b"0000000\0");
    block[GROUP].copy_from_slice(b"0000000\0");
    block[SIZE].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[TIME].copy_from_slice(format!("{at_secs:011o}\0").as_bytes());
    block[TYPE] = b'0';
    block[MAGIC].copy_from_slice(b"ustar\x0000");
    let sum = sum(&block);
    block[SUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}

/// The sum of a header's octets, those of the sum itself taken as blanks.
fn sum(block: &[u8; BLOCK]) -> u64 {
    let octets = block.iter().enumerate();
    octets.map(|(at, octet)| u64::from(if SUM.contains(&at) { b' ' } else { *octet })).sum()
}
