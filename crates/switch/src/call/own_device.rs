//! The device that calls: a line that calls its own number rings its other devices, not that one.

use offhook_sip::uri::Uri;

use super::{CALLER, Call};
use crate::{directory::Line, registrar::Target};

impl Call {
    /// Whether `target` is the device of `line` that places this call. Its name as a device decides where both are known
    /// (RFC 5626 §4.1), otherwise where it is: devices behind one proxy share an address, devices behind two NATs a contact.
    pub(super) fn is_calling_device(&self, line: &Line, target: &Target) -> bool {
        if self.who.line().is_none_or(|own| own.id != line.id) {
            return false;
        }
        let Some(Ok(contacts)) = self.request.as_ref().map(|request| request.headers().contacts()) else {
            return false;
        };
        let Some(contact) = contacts.as_slice().first() else { return false };
        if let (Some(own), Some(theirs)) = (contact.instance(), &target.instance) {
            return own.eq_ignore_ascii_case(theirs);
        }
        let same_contact = match (contact.name_addr.parsed_uri(), Uri::parse(&target.request_uri)) {
            (Ok(own), Ok(theirs)) => own == theirs,
            _ => false,
        };
        let Some(destination) = target.destination.filter(|_| target.path.is_empty()) else {
            return same_contact;
        };
        let (own, theirs) = (self.legs[usize::from(CALLER)].destination.remote(), destination.remote());
        own == theirs || (same_contact && own.ip() == theirs.ip())
    }
}
