//! Session descriptions: what two ends of a call say to each other about media.
//!
//! - [`SessionDescription`] reads SDP (RFC 8866, and what RFC 4566 and RFC 2327 phones still write) into an index
//!   over the received bytes; values are typed on demand and unknown lines stay where they are.
//! - [`anchor()`] rewrites a description for the other leg of a call whose media we relay: our addresses in, every
//!   address of the first leg out, codecs and the rest untouched and in order.
//! - [`OfferAnswer`] is the offer/answer state of one dialog (RFC 3264, RFC 6337): which message may carry what,
//!   glare, late offers, rollback.
//! - [`streams`](SessionDescription::streams) and [`negotiated()`] answer the questions of call control.
//!
//! Everything here is pure: bytes and values in, bytes and values out.
//!
//! ```
//! use offhook_sdp::{Direction, SessionDescription};
//! let sdp = SessionDescription::parse(
//!     "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\na=sendonly\r\n",
//! )?;
//! let audio = sdp.media_at(0).unwrap();
//! assert_eq!(audio.direction(), Direction::SendOnly);
//! assert!(audio.is_hold());
//! # Ok::<(), offhook_sdp::SdpError>(())
//! ```
#![forbid(unsafe_code)]

mod address;
pub mod anchor;
mod attribute;
mod compose;
mod crypto;
mod direction;
mod error;
mod format;
mod media;
mod negotiated;
pub mod offer_answer;
mod recode;
mod rtcp;
mod security;
mod session;
mod stream;

pub use address::{Connection, Host, MediaAddress, Origin, OwnOrigin};
pub use anchor::{AnchorPlan, CryptoPlan, MediaPlan, RtcpMuxPlan, anchor, anchored};
pub use attribute::Attribute;
pub use compose::AudioDescription;
pub use crypto::{Crypto, CryptoError, Mki};
pub use direction::Direction;
pub use error::{Fault, SdpError};
pub use format::{Codec, Fmtp, PayloadType, RtpMap};
pub use media::{MediaDescription, MediaKind, Protocol};
pub use negotiated::{NegotiatedStream, negotiated};
pub use offer_answer::{Carrier, OfferAnswer, Received, Refusal, Session};
pub use recode::{Format, FormatsPlan};
pub use rtcp::RtcpAttribute;
pub use security::Setup;
pub use session::SessionDescription;
pub use stream::Stream;
