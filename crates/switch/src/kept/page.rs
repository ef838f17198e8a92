//! The reference page of the form, made from its declarations.

use std::fmt::Write;

use super::{
    VERSION,
    form::{
        KeptAccepted, KeptAccount, KeptAck, KeptBranch, KeptCall, KeptDestination, KeptDialog, KeptEnd,
        KeptFacing, KeptInvite, KeptLeg, KeptLegAccount, KeptOrigin, KeptParty, KeptProtection, KeptQuality,
        KeptReinvite, KeptReliable, KeptSession, KeptSessionOffer, KeptStage, KeptTimer, KeptTold, KeptWay,
    },
    shape::{Described, Part},
};
use crate::{
    call::LegState,
    directory::Srtp,
    media::{RolloverNote, StreamNote},
    record::{EndCause, EndedBy, LegRole},
};

const HEAD: &str = "# The kept form of a call

This page is made from the declarations in `crates/switch/src/kept/form.rs`. It states what is written of a call so that another
process can go on with it: after a crash, after an upgrade in place, on another node.

A form is one octet with its version, and then the fields of [KeptCall](#keptcall) in their order, without names and without
gaps. Whoever keeps a form seals it: it holds numbers, addresses and keys.

| shape | written as |
| --- | --- |
| number | seven bits an octet, the lowest first; the highest bit says that more follow (LEB128) |
| flag | one octet, 0 or 1 |
| time | a number: milliseconds since 1970 (UTC) |
| fraction | eight octets: IEEE 754, the lowest first |
| octets, text | a number, and so many octets; text is UTF-8 |
| address | one octet, 4 or 6, and four or sixteen octets |
| address and port | an address and a number |
| 26 letters | a call id |
| ..., or none | a flag, and the value if it is 1 |
| list of ... | a number, at most 1,024, and so many values |
";

/// The page `docs/reference/kept-call.md`.
pub fn reference_page() -> String {
    let parts = [
        KeptCall::part(),
        KeptStage::part(),
        KeptParty::part(),
        KeptInvite::part(),
        KeptReinvite::part(),
        KeptWay::part(),
        KeptDestination::part(),
        KeptAccount::part(),
        KeptEnd::part(),
        KeptLegAccount::part(),
        KeptQuality::part(),
        KeptLeg::part(),
        LegState::part(),
        KeptDialog::part(),
        KeptTimer::part(),
        KeptAck::part(),
        KeptAccepted::part(),
        KeptSession::part(),
        KeptOrigin::part(),
        KeptTold::part(),
        KeptProtection::part(),
        Srtp::part(),
        StreamNote::part(),
        RolloverNote::part(),
        KeptBranch::part(),
        KeptSessionOffer::part(),
        KeptFacing::part(),
        KeptReliable::part(),
        offhook_sip::transport::Transport::part(),
        LegRole::part(),
        EndedBy::part(),
        EndCause::part(),
    ];
    let mut page = format!("{HEAD}\nThis is version {VERSION}.\n");
    for Part { name, about, fields } in parts {
        let _ = write!(
            page,
            "\n## {name}\n\n{}\n\n| name | shape | meaning |\n| --- | --- | --- |\n",
            about.trim()
        );
        for (field, shape, meaning) in fields {
            let _ = writeln!(page, "| {field} | {shape} | {} |", meaning.trim());
        }
    }
    page
}
