//! The kept form of a call: what outlives the process that made it.
//!
//! Every call that has not ended has one form. Call control writes it anew whenever something in it has changed and hands it
//! out as [`Output::Keep`](crate::exchange::Output::Keep); whoever keeps it gives it to another exchange, which goes on with
//! the call ([`Exchange::resume`](crate::exchange::Exchange::resume)). The form is no snapshot of our types: it has types of
//! its own, plain data in the words of the RFCs, so that the types of call control can change while forms are about.
//!
//! A form is personal data throughout, and holds keys: it is sealed wherever it leaves the process.
//!
//! `docs/reference/kept-call.md` states the form field by field; it is made from the declarations in `form`.

pub(crate) mod field;
mod form;
mod page;
pub(crate) mod shape;

use self::field::{Field, Reader};
pub(crate) use self::shape::part;
pub use self::{
    field::BadForm,
    form::{
        KeptAccepted, KeptAccount, KeptAck, KeptBranch, KeptCall, KeptDestination, KeptDialog, KeptEnd,
        KeptFacing, KeptInvite, KeptLeg, KeptLegAccount, KeptOrigin, KeptParty, KeptProtection, KeptQuality,
        KeptReinvite, KeptReliable, KeptSession, KeptSessionOffer, KeptStage, KeptTimer, KeptTold, KeptWay,
    },
    page::reference_page,
};

/// The version written. A reader knows the versions that its release notes name; fields are never given another meaning
/// under the same number.
pub const VERSION: u8 = 2;

/// The longest form, octets. A call that rings thirty devices takes some 50,000; a longer one is not kept.
pub const FORM_BYTES_MAX: usize = 65_536;

impl<'a> KeptCall<'a> {
    /// Appends the version and the form to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        self.write(out);
    }

    /// Reads a form. Texts and messages are borrowed from `form`.
    ///
    /// # Errors
    /// See [`BadForm`]; whatever the octets are, nothing more happens.
    pub fn decode(form: &'a [u8]) -> Result<Self, BadForm> {
        if form.len() > FORM_BYTES_MAX {
            return Err(BadForm::TooLong);
        }
        let mut reader = Reader::new(form);
        let version = reader.octet()?;
        if version != VERSION {
            return Err(BadForm::Version(version));
        }
        let call = Self::read(&mut reader)?;
        if reader.is_empty() { Ok(call) } else { Err(BadForm::Trailing) }
    }
}
