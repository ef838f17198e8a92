//! The media threads of a run: whether there are any, and on which ports.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
};

use offhook_net::Clock;

use super::{Refusal, options::Options, verdict};
use crate::{
    call::Settings,
    media::{
        Command,
        engine::{Engine, Ports},
        ports::{Pool, Range},
    },
    scenario::{Scenario, keyword::Keyword},
};

/// Ports that are tried from the default on when `-mp` is not given.
const PORTS_TRIED: u16 = 10_000;
/// From the port for audio to the one for video.
const VIDEO_OFFSET: u16 = 2;
/// The call that has what belongs to the whole run.
const NO_CALL: u64 = 0;

/// Completes the settings, if media is sent, echoed or judged. Returns whether it is.
pub fn settle(options: &Options, scenarios: &[&Scenario], settings: &mut Settings) -> Result<bool, Refusal> {
    settings.judges_media = options.require.iter().any(|text| verdict::is_about_media(text));
    settings.rtp_ports = options.rtp_ports;
    settings.allow_public = options.allow_public;
    let any =
        settings.judges_media || options.rtp_echo || scenarios.iter().any(|scenario| scenario.uses_media());
    if !any {
        return Ok(false);
    }
    let ip = bind_ip(settings.media_ip);
    let first = settings.media_port;
    if options.media.1.is_none() {
        let found = (first..first + PORTS_TRIED).step_by(4).find(|port| ask(ip, *port).is_ok());
        settings.media_port = found
            .ok_or_else(|| Refusal::bind("no free port for media was found\nhint: give one with -mp"))?;
    } else if options.rtp_echo || !scenarios.iter().all(|scenario| has_ports_of_calls(scenario)) {
        // Nothing is begun that would end at the first packet, as in SIPp.
        ask(ip, first).map_err(|(port, error)| {
            Refusal::bind(format!(
                "cannot bind media port {port} at {ip}: {error}\nhint: choose another with -mp, or leave it out"
            ))
        })?;
    }
    Ok(true)
}

/// Whether the port for audio and the one for video are free, or which one is not and why.
fn ask(ip: IpAddr, port: u16) -> Result<(), (u16, std::io::Error)> {
    [port, port.saturating_add(VIDEO_OFFSET)].into_iter().try_for_each(|port| {
        UdpSocket::bind(SocketAddr::new(ip, port)).map(|_| ()).map_err(|error| (port, error))
    })
}

/// Whether each call describes a port of its own, so that the one of `-mp` is not bound for all.
fn has_ports_of_calls(scenario: &Scenario) -> bool {
    let is_it = |keyword: &Keyword| {
        matches!(
            keyword,
            Keyword::AutoMediaPort(_) | Keyword::StreamAudioPort(_) | Keyword::StreamVideoPort(_)
        )
    };
    scenario.mentions(&is_it)
}

/// Loopback is bound as it is; for others packets are taken at all addresses, as SIPp does.
fn bind_ip(ip: IpAddr) -> IpAddr {
    match ip {
        ip if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Starts the threads.
pub fn start(options: &Options, settings: &Settings, clock: Clock) -> Result<Engine, Refusal> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| Refusal::fatal(format!("no randomness: {error}")))?;
    let count = options.workers.unwrap_or(cores);
    let ip = bind_ip(settings.media_ip);
    let echo = options.rtp_echo.then_some(settings.media_port);
    let ports = Ports {
        streams: Arc::new(Pool::in_turn(ip, Range::of_streams(settings.rtp_ports))),
        auto: Arc::new(Pool::by_number(ip, Range::of_calls(settings.media_port), echo)),
    };
    let engine = Engine::start(count, ip, ports, clock, seed)
        .map_err(|error| Refusal::fatal(format!("cannot start the media threads: {error}")))?;
    if options.rtp_echo {
        for port in [settings.media_port, settings.media_port.saturating_add(VIDEO_OFFSET)] {
            engine.command(NO_CALL, Command::Listen { port, echo: true, opus: None });
        }
    }
    Ok(engine)
}
