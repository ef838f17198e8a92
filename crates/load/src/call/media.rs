//! Media of a call: what its descriptions say, and what its actions ask the media threads for.

use offhook_rtp::telephone_event::EventCode;

use super::{
    outbox::Request,
    shard::{Context, Core},
    state::Call,
    view,
};
use crate::{
    media::{
        Command, Secrets,
        description::{self, Kind},
        mouth::Route,
        ports::{MediaPorts, Range},
    },
    reach,
    scenario::model::{MediaAction, Recv},
    stats::Counter,
};

/// The payload type of keys where no description names one: that of most phones.
const EVENT_TYPE: u8 = 101;

/// A port of `ports` for the call `number`. Without any nothing is sent from there: it is a number in a description.
fn port_of(ports: Option<&dyn MediaPorts>, range: Range, number: u64, requests: &mut Vec<Request>) -> u16 {
    let Some(ports) = ports else { return range.port_of_call(number) };
    ports.take(number).unwrap_or_else(|why| {
        requests.push(Request::Fatal(why));
        0
    })
}

impl Core {
    /// A message with a description was sent.
    pub(super) fn described_ours(&mut self, context: Context<'_>, call: &mut Call) {
        if !context.script.has_media {
            return;
        }
        let Some(described) = description::read(view::body(&call.sent)) else { return };
        call.media.get_or_insert_default().ours = described;
        if let Some(keys) = &mut call.keys {
            let secrets = keys.described(true, view::body(&call.sent));
            self.secure(context, call, secrets);
        }
        if context.plan.settings.judges_media {
            for address in described.at.into_iter().flatten() {
                let opus = described.opus_type;
                self.media(call, Command::Listen { port: address.port(), echo: false, opus });
            }
        }
    }

    /// One came in.
    pub(super) fn described_theirs(
        &mut self,
        context: Context<'_>,
        call: &mut Call,
        view: &view::View<'_>,
        recv: &Recv,
    ) {
        if context.script.has_media
            && !recv.ignore_sdp
            && let Some(described) = description::read(view.body())
        {
            call.media.get_or_insert_default().theirs = described;
            if call.keys.is_some() || memchr::memmem::find(view.body(), b"a=crypto:").is_some() {
                let secrets = call.keys.get_or_insert_default().described(false, view.body());
                self.secure(context, call, secrets);
            }
        }
    }

    /// Both sides have told their keys.
    fn secure(&mut self, context: Context<'_>, call: &mut Call, secrets: Option<Secrets>) {
        if let Some(secrets) = secrets {
            let port = self.port(context, call, Kind::Audio);
            self.media(call, Command::Secure { port, secrets });
        }
    }

    fn media(&mut self, call: &mut Call, command: Command) {
        call.media.get_or_insert_default().is_known = true;
        self.out.requests.push(Request::Media { call: call.number, command });
    }

    /// Does an action.
    pub(super) fn act_on_media(&mut self, context: Context<'_>, call: &mut Call, action: &MediaAction) {
        let command = match action {
            MediaAction::Play(kind, clip) => {
                self.route(context, call, *kind).map(|route| Command::Play(*kind, clip.clone(), route))
            }
            MediaAction::Stream(audio, rounds) => self
                .route(context, call, Kind::Audio)
                .map(|route| Command::Stream(audio.clone(), *rounds, route)),
            MediaAction::Pause(paused) => Some(Command::Pause(*paused)),
            MediaAction::Echo(echo) => {
                let port = self.port(context, call, Kind::Audio);
                let opus = call.media.as_ref().and_then(|media| media.ours.opus_type);
                Some(Command::Listen { port, echo: *echo, opus })
            }
            MediaAction::Keys(text) => {
                let text = self.text_of(context, call, text);
                let keys: Option<Vec<EventCode>> =
                    text.iter().map(|letter| EventCode::from_digit(char::from(*letter))).collect();
                match keys {
                    None => {
                        self.complain(context, "play_dtmf has keys that are none: 0 to 9, *, #, A to D are");
                        None
                    }
                    Some(keys) => {
                        let media = call.media.as_deref().copied().unwrap_or_default();
                        let event_type = media.theirs.event_type.or(media.ours.event_type);
                        self.route(context, call, Kind::Audio)
                            .map(|route| Command::Press(keys, event_type.unwrap_or(EVENT_TYPE), route))
                    }
                }
            }
        };
        if let Some(command) = command {
            self.media(call, command);
        }
    }

    /// The first of the ports that the call has for its streams.
    pub(super) fn stream_port(&mut self, context: Context<'_>, call: &mut Call) -> u16 {
        if let Some(port) = call.media.as_ref().and_then(|media| media.stream_port) {
            return port;
        }
        let range = Range::of_streams(context.plan.settings.rtp_ports);
        let port = port_of(self.ports.as_deref(), range, call.number, &mut self.out.requests);
        if self.ports.is_some() {
            let media = call.media.get_or_insert_default();
            (media.stream_port, media.is_known) = (Some(port), true);
        }
        port
    }

    /// What `[auto_media_port]` is for the call.
    pub(super) fn auto_port(&mut self, context: Context<'_>, call: &mut Call) -> u16 {
        if let Some(port) = call.media.as_ref().and_then(|media| media.auto_port) {
            return port;
        }
        let range = Range::of_calls(context.plan.settings.media_port);
        let port = port_of(self.auto_ports.as_deref(), range, call.number, &mut self.out.requests);
        if self.auto_ports.is_some() {
            let media = call.media.get_or_insert_default();
            (media.auto_port, media.is_known) = (Some(port), true);
        }
        port
    }

    /// The port of ours for a kind of media: the described one, else that of `-mp`.
    fn port(&self, context: Context<'_>, call: &Call, kind: Kind) -> u16 {
        let described = call.media.as_ref().and_then(|media| media.ours.at[kind as usize]);
        described.map_or(context.plan.settings.media_port, |address| address.port())
    }

    fn route(&mut self, context: Context<'_>, call: &Call, kind: Kind) -> Option<Route> {
        let theirs = call.media.as_ref().and_then(|media| media.theirs.at[kind as usize]);
        let Some(to) = theirs else {
            let what = format!("nobody has said where {} goes: it is not sent", kind.name());
            self.complain(context, &what);
            return None;
        };
        if !context.plan.settings.allow_public && !reach::is_ours(to.ip()) {
            self.complain(
                context,
                "media would go outside private ranges: it is not sent without --allow-public",
            );
            return None;
        }
        Some(Route { from: self.port(context, call, kind), to })
    }

    pub(super) fn complain(&mut self, context: Context<'_>, what: &str) {
        self.stats.add(Counter::Warnings, 1);
        self.traces.error(context.now, || what.into());
    }
}
