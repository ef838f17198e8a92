//! What calls want of the media threads.

use std::sync::Arc;

use offhook_base::MasterKey;
use offhook_rtp::telephone_event::EventCode;

use super::{audio::Audio, clip::Clip, description::Kind, mouth::Route};

/// What calls want.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Play a capture.
    Play(Kind, Arc<Clip>, Route),
    /// Stream sound, so many times; `None` for ever.
    Stream(Arc<Audio>, Option<u32>, Route),
    /// Hold the sound, or go on with it.
    Pause(bool),
    /// Send keys, as this payload type.
    Press(Vec<EventCode>, u8, Route),
    /// Judge, or echo, what comes to this port of the call's.
    Listen {
        /// The port.
        port: u16,
        /// Whether packets go back.
        echo: bool,
        /// The payload type that was described as Opus.
        opus: Option<u8>,
    },
    /// What leaves from this port of the call's and what comes to it is encrypted from now on.
    Secure {
        /// The port.
        port: u16,
        /// The keys.
        secrets: Secrets,
    },
    /// The call is over.
    End,
}

/// Keys of both directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secrets {
    /// Of what we send.
    pub outgoing: MasterKey,
    /// Of what we receive.
    pub incoming: MasterKey,
}
