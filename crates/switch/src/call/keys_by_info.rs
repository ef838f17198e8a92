//! Keys by INFO, as phones without telephone events say them; no RFC has the bodies.
//!
//! Within a call they are the other side's business and cross as they are. A side that does not understand them is
//! pressed the key by the media engine, where that makes the sound anyway: where the call is transcoded.

use offhook_sip::message::{Method, Request, StatusCode};

use super::Call;
use crate::{
    exchange::{owners::LegIndex, services::Services},
    media::{Key, MediaCommand},
};

const DTMF_RELAY: &str = "application/dtmf-relay";
const DTMF: &str = "application/dtmf";
/// How long a key is pressed whose body does not say it, ms.
const KEY_MS: u32 = 160;

/// A key that an INFO says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// Which.
    pub key: Key,
    /// For how long, ms.
    pub ms: u32,
}

/// What the body of an INFO is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// None.
    Empty,
    /// It speaks of keys; `None`: of one that there is not.
    Key(Option<Said>),
    /// Something else.
    Other,
}

/// Reads the body of an INFO.
pub fn read(request: &Request) -> Body {
    let content_type = request.headers().content_type();
    let is = |name| content_type.as_ref().is_some_and(|known| known.is(name));
    match request.body() {
        [] => Body::Empty,
        body if is(DTMF_RELAY) => Body::Key(relay(body)),
        body if is(DTMF) => {
            Body::Key(std::str::from_utf8(body).ok().and_then(key_of).map(|key| Said { key, ms: KEY_MS }))
        }
        _ => Body::Other,
    }
}

/// A body of lines like `Signal=5` and `Duration=160`.
fn relay(body: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(body).ok()?;
    let value = |wanted: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
    };
    let ms = value("duration").and_then(|ms| ms.parse().ok()).unwrap_or(KEY_MS);
    Some(Said { key: key_of(value("signal")?)?, ms })
}

/// A key by its letter; some phones write `10` and `11` for the two beside the zero.
fn key_of(text: &str) -> Option<Key> {
    let mut letters = text.trim().chars();
    match (letters.next()?, letters.next(), letters.next()) {
        (letter, None, _) => Key::new(letter),
        ('1', Some('0'), None) => Key::new('*'),
        ('1', Some('1'), None) => Key::new('#'),
        _ => None,
    }
}

/// Whether a status says that INFO, or this body, is not understood, and not that something failed.
const fn is_not_understood(status: StatusCode) -> bool {
    // 469 and 489 come of phones that take packages only (RFC 6086 §4.2.2).
    matches!(status.as_u16(), 405 | 415 | 469 | 488 | 489 | 501)
}

impl Call {
    /// `leg` has answered an INFO of the other side with `status`. True: it did not understand, and is pressed the key instead.
    pub(super) fn press_instead(
        &self,
        services: &mut Services,
        leg: LegIndex,
        request: &Request,
        status: StatusCode,
    ) -> bool {
        let leg = &self.legs[usize::from(leg)];
        let is_info = *request.method() == Method::Info;
        if !is_info || !is_not_understood(status) || leg.recoded_to.is_none() {
            return false;
        }
        let (Some(endpoint), Body::Key(Some(Said { key, ms }))) = (leg.session.endpoint(), read(request))
        else {
            return false;
        };
        services.media(MediaCommand::Press { endpoint, key, ms });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_bodies_of_phones() {
        let said = |letter, ms| Key::new(letter).map(|key| Said { key, ms });
        assert_eq!(relay(b"Signal=5\r\nDuration=100\r\n"), said('5', 100));
        assert_eq!(relay(b"Duration= 250\r\nsignal= # \r\n"), said('#', 250));
        assert_eq!(relay(b"Signal=11\r\n"), said('#', KEY_MS));
        assert_eq!(key_of("d"), Key::new('D'));
        for bad in ["", "12", "x", "10 0"] {
            assert_eq!(key_of(bad), None, "{bad}");
        }
        assert_eq!(relay(b"\xff\xfe"), None);
    }
}
