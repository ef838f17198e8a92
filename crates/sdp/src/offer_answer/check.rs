//! Does an answer fit its offer? RFC 3264 §6.

use thiserror::Error;

use crate::negotiated::first_common;
use offhook_base::CryptoSuite;

use crate::{Crypto, MediaDescription, SessionDescription};

/// The first thing about an answer that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AnswerFault {
    /// Another number of media sections.
    #[error("another number of media sections")]
    MediaCount,
    /// A stream of another kind in the place of the offered one.
    #[error("media section {0} is of another kind")]
    Kind(usize),
    /// A refused or removed stream comes back to life.
    #[error("media section {0} was offered with port 0")]
    Revived(usize),
    /// Another transport or another protection.
    #[error("media section {0} has another transport")]
    Protocol(usize),
    /// No format in common.
    #[error("media section {0} has no format in common")]
    Formats(usize),
    /// A key for a tag or suite that was not offered, or none where one must be. RFC 4568 §5.1.2.
    #[error("media section {0} has no key that fits the offer")]
    Crypto(usize),
}

/// Checks `answer` against `offer`.
///
/// DEVIATION RFC 3264 §6: a wrong direction (`sendrecv` to `sendonly`) and a feedback profile beside the plain one pass;
/// both are common and harmless, [`Direction::answered_by`](crate::Direction::answered_by) settles the first.
pub(super) fn check_answer(
    offer: &SessionDescription,
    answer: &SessionDescription,
) -> Result<(), AnswerFault> {
    if offer.media_count() != answer.media_count() {
        return Err(AnswerFault::MediaCount);
    }
    offer.media().zip(answer.media()).try_for_each(|(offered, answered)| check_stream(&offered, &answered))
}

fn check_stream(offered: &MediaDescription<'_>, answered: &MediaDescription<'_>) -> Result<(), AnswerFault> {
    let index = offered.index();
    if !offered.kind_text().eq_ignore_ascii_case(answered.kind_text()) {
        return Err(AnswerFault::Kind(index));
    }
    if answered.is_rejected() {
        return Ok(()); // the rest of a refused stream means nothing
    }
    if offered.is_rejected() {
        return Err(AnswerFault::Revived(index));
    }
    let same_protection = offered.protocol().plain() == offered.protocol()
        && answered.protocol().plain() == answered.protocol()
        || offered.protocol().is_secure() && answered.protocol().is_secure();
    let same_transport = if offered.protocol().is_rtp() {
        answered.protocol().is_rtp()
            && same_protection
            && offered.protocol().is_dtls() == answered.protocol().is_dtls()
    } else {
        offered.protocol_text().eq_ignore_ascii_case(answered.protocol_text())
    };
    if !same_transport {
        return Err(AnswerFault::Protocol(index));
    }
    if offered.protocol().is_rtp() && !have_common_format(offered, answered) {
        return Err(AnswerFault::Formats(index));
    }
    if offered.protocol().is_secure() && !offered.protocol().is_dtls() && !crypto_fits(offered, answered) {
        return Err(AnswerFault::Crypto(index));
    }
    Ok(())
}

/// By codec; by number too, for dynamic types whose `rtpmap` one side left out.
fn have_common_format(offered: &MediaDescription<'_>, answered: &MediaDescription<'_>) -> bool {
    first_common(offered, answered).is_some()
        || answered.formats().any(|format| offered.formats().any(|offer| offer == format))
}

/// Only where the offer has keys we can read: others pass between the ends, who will judge themselves.
fn crypto_fits(offered: &MediaDescription<'_>, answered: &MediaDescription<'_>) -> bool {
    let offers: Vec<Crypto> = offered.cryptos().filter_map(Result::ok).collect();
    let tag_and_suite = |crypto: &Crypto| -> (u32, CryptoSuite) { (crypto.tag, crypto.key.suite()) };
    match answered.cryptos().next() {
        None => !offered.has_crypto(),
        Some(Err(_)) => offered.cryptos().any(|crypto| crypto.is_err()),
        Some(Ok(answer)) => offers.iter().any(|offer| tag_and_suite(offer) == tag_and_suite(&answer)),
    }
}
