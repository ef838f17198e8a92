//! A slot: one sealed form and what stands before it in clear.
//!
//! ```text
//! 0   state      4   0: free; 1: holds a form
//! 4   length     4   octets of the form
//! 8   sequence   8   higher is newer
//! 16  call      26   the call's id, which says nothing of the parties
//! 42             6   zero
//! 48  nonce     12
//! 60  tag       16   of AES-256-GCM, over what stands from 4 to 48 and the form
//! 76             4   zero
//! 80  form
//! ```
//!
//! A form is written into a free slot and sealed there; only then its state says so, and only then the slot of the form
//! before it is freed. Whenever the process is killed, one of the two holds.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use offhook_switch::record::CallId;

/// Octets before the form.
pub const HEAD: usize = 80;

/// The state of a slot that holds a form.
pub const TAKEN: u32 = 1;

/// Where the clear part that the tag covers lies.
const CLEAR: std::ops::Range<usize> = 4..48;
const CALL: std::ops::Range<usize> = 16..42;
const NONCE: std::ops::Range<usize> = 48..60;
const TAG: std::ops::Range<usize> = 60..76;

/// Seals forms, each with another nonce.
pub struct Sealer {
    key: LessSafeKey,
    nonce: u128,
}

impl Sealer {
    /// `nonce` is random: two processes that seal under one key then never meet, since neither counts through 2^80 forms.
    pub fn new(key: &[u8; 32], nonce: [u8; NONCE_LEN]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of the cipher");
        let mut wide = [0; 16];
        wide[..NONCE_LEN].copy_from_slice(&nonce);
        Self { key: LessSafeKey::new(key), nonce: u128::from_le_bytes(wide) }
    }

    /// Writes and seals a form into `slot`, all but its state. False: the cipher refuses, which it does for no length of ours.
    pub fn seal(&mut self, slot: &mut [u8], call: CallId, sequence: u64, form: &[u8]) -> bool {
        self.nonce = self.nonce.wrapping_add(1);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&self.nonce.to_le_bytes()[..NONCE_LEN]);
        let length = u32::try_from(form.len()).unwrap_or(u32::MAX);
        slot[4..8].copy_from_slice(&length.to_le_bytes());
        slot[8..16].copy_from_slice(&sequence.to_le_bytes());
        slot[CALL].copy_from_slice(call.as_str().as_bytes());
        slot[CALL.end..CLEAR.end].fill(0);
        slot[NONCE].copy_from_slice(&nonce);
        let (head, body) = slot.split_at_mut(HEAD);
        let body = &mut body[..form.len()];
        body.copy_from_slice(form);
        let nonce = Nonce::assume_unique_for_key(nonce);
        match self.key.seal_in_place_separate_tag(nonce, Aad::from(&head[CLEAR]), body) {
            Ok(tag) => {
                head[TAG].copy_from_slice(tag.as_ref());
                true
            }
            Err(_) => {
                body.fill(0);
                false
            }
        }
    }

    /// Opens the form of a taken slot. `None`: it is damaged, or sealed under another key.
    pub fn open(&self, slot: &[u8]) -> Option<Opened> {
        let length = u32::from_le_bytes(slot[4..8].try_into().ok()?);
        let length = usize::try_from(length).ok()?;
        let body = slot.get(HEAD..HEAD.checked_add(length)?)?;
        let call = std::str::from_utf8(&slot[CALL]).ok()?.parse().ok()?;
        let sequence = u64::from_le_bytes(slot[8..16].try_into().ok()?);
        let nonce = Nonce::assume_unique_for_key(slot[NONCE].try_into().ok()?);
        let mut form = body.to_vec();
        form.extend_from_slice(&slot[TAG]);
        let length = self.key.open_in_place(nonce, Aad::from(&slot[CLEAR]), &mut form).ok()?.len();
        form.truncate(length);
        Some(Opened { call, sequence, form })
    }
}

/// What a slot held.
pub struct Opened {
    /// The call.
    pub call: CallId,
    /// Higher is newer.
    pub sequence: u64,
    /// The form.
    pub form: Vec<u8>,
}
