//! What an end of a conversation has sent and received, as a ladder diagram shows it.

use bytes::Bytes;
use offhook_base::Instant;
use offhook_sip::message::Message;

/// One message as one end saw it.
#[derive(Clone, Debug)]
pub struct Step {
    /// When.
    pub at: Instant,
    /// Sent by this end, or received.
    pub sent: bool,
    /// What it is: `INVITE`, `200 INVITE`.
    pub label: String,
    /// The message.
    pub bytes: Bytes,
}

impl Step {
    /// Takes note of a message.
    pub fn new(at: Instant, sent: bool, bytes: &Bytes) -> Self {
        Self { at, sent, label: label(bytes), bytes: bytes.clone() }
    }

    /// The message, read again.
    ///
    /// # Panics
    /// If it is none: phones and node send well-formed messages only.
    pub fn message(&self) -> Message {
        Message::parse(self.bytes.clone()).expect("a well-formed message")
    }

    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        self.message().headers().get(name).map(str::to_string)
    }
}

/// `> INVITE` was sent, `< 200 INVITE` was received.
impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", if self.sent { '>' } else { '<' }, self.label)
    }
}

/// The method of a request; status and method of a response.
pub fn label(bytes: &Bytes) -> String {
    match Message::parse(bytes.clone()) {
        Ok(Message::Request(request)) => request.method().as_str().to_string(),
        Ok(Message::Response(response)) => {
            let method = response.headers().cseq().map_or(String::from("?"), |cseq| cseq.method.to_string());
            format!("{} {method}", response.status())
        }
        Err(_) => String::from("?"),
    }
}
