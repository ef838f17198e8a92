//! The node's counters and gauges as metric families. Names and help stand here and nowhere else.

use std::sync::{PoisonError, atomic::Ordering};

use offhook_api::control::{Metric, MetricKind, Sample};
use offhook_edge::Reason;
use offhook_media::{DropReason, Snapshot};
use offhook_switch::{
    exchange::{Gauges, OverloadGauges, PeerCounters, Resumed},
    fact::Refusal,
    routing::ProbeCounters,
};

use crate::{
    control::Control,
    facts::{FactCounters, REFUSALS},
    troubles::Trouble,
    wall::Wall,
};

/// All families.
pub fn all(control: &Control) -> Vec<Metric> {
    use MetricKind::{Counter, Gauge};
    let gauges = *control.gauges.lock().unwrap_or_else(PoisonError::into_inner);
    let facts = &control.fact_counters;
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let records = control.records.status();
    let mut families = vec![
        Metric::single("offhook_calls", "Calls in the table.", Gauge, gauges.calls as f64),
        Metric::single("offhook_bindings", "Contacts registered.", Gauge, gauges.bindings as f64),
        Metric::single("offhook_transactions", "SIP transactions alive.", Gauge, gauges.transactions as f64),
        Metric::single("offhook_calls_started", "Calls begun.", Counter, count(&facts.calls_started)),
        Metric::single("offhook_calls_answered", "Calls answered.", Counter, count(&facts.calls_answered)),
        Metric::single("offhook_calls_ended", "Calls ended.", Counter, count(&facts.calls_ended)),
        Metric::single(
            "offhook_records_waiting",
            "Call records not yet on disk.",
            Gauge,
            records.queued as f64,
        ),
        Metric::single(
            "offhook_calls_kept",
            "Calls whose form is kept for the case of a crash.",
            Gauge,
            count(&control.kept.file.kept),
        ),
        Metric::single(
            "offhook_calls_unkept",
            "Forms of calls that found no room in the file of calls.",
            Counter,
            count(&control.kept.file.unkept),
        ),
        Metric::single(
            "offhook_calls_file_octets",
            "Octets of the file of calls.",
            Gauge,
            count(&control.kept.file.octets),
        ),
        resumed(&control.kept.resumed),
        Metric::single("offhook_panics", "Calls given up because of a bug.", Counter, count(&facts.panics)),
        Metric::single(
            "offhook_events_delayed",
            "Answers and media events that found the worker's queue full.",
            Counter,
            count(&control.delayed),
        ),
        Metric::single(
            "offhook_records_lost",
            "Call records that found no room.",
            Counter,
            count(&facts.records_refused),
        ),
        Metric {
            name: "offhook_refused",
            help: "Messages and requests refused, by reason.",
            kind: Counter,
            samples: refused(facts, &gauges.edge),
        },
        Metric::single(
            "offhook_edge_passed",
            "Messages that the guard let in.",
            Counter,
            gauges.edge.passed as f64,
        ),
        Metric::single("offhook_edge_bans", "Bans begun.", Counter, gauges.edge.bans as f64),
        Metric::single(
            "offhook_edge_sources_forgotten",
            "Sources that were forgotten to make room for others.",
            Counter,
            gauges.edge.sources_forgotten as f64,
        ),
    ];
    families.extend(wall(control));
    families.push(Metric::single(
        "offhook_recordings_begun",
        "Recordings begun.",
        Counter,
        count(&control.recordings.begun),
    ));
    families.push(Metric::single(
        "offhook_recordings_failed",
        "Recordings that broke off because the disk did not take them.",
        Counter,
        count(&control.recordings.failed),
    ));
    let troubles = control.troubles.lock().unwrap_or_else(PoisonError::into_inner);
    let is_on = |trouble| f64::from(u8::from(troubles.on().any(|on| on == trouble)));
    families.push(Metric {
        name: "offhook_trouble",
        help: "Whether something is wrong around the node, 0 or 1, by what it is.",
        kind: Gauge,
        samples: Trouble::ALL
            .iter()
            .map(|&trouble| Sample { labels: vec![("what", trouble.name().into())], value: is_on(trouble) })
            .collect(),
    });
    drop(troubles);
    families.extend(peers(&gauges.peers));
    families.extend(probes(&gauges.probes));
    families.extend(overload(&gauges.overload));
    families.extend(media(&control.media.snapshot()));
    families.push(Metric {
        name: "offhook_net_events",
        help: "What the SIP sockets counted, by event; connections_open is a level.",
        kind: Counter,
        samples: control
            .net_counters
            .snapshot()
            .into_iter()
            .map(|(name, _, value)| Sample { labels: vec![("event", name.to_string())], value: value as f64 })
            .collect(),
    });
    families
}

fn wall(control: &Control) -> [Metric; 2] {
    let wall = control.doors.wall();
    [
        Metric::single(
            "offhook_edge_kernel",
            "Whether the kernel drops what comes from the denied and the banned: 1 or 0; the log says why not.",
            MetricKind::Gauge,
            f64::from(u8::from(wall.is_some_and(Wall::stands))),
        ),
        Metric::single(
            "offhook_edge_kernel_dropped",
            "Packets of the denied and the banned that the kernel dropped, as of the last ten seconds.",
            MetricKind::Counter,
            wall.map_or(0.0, |wall| wall.dropped() as f64),
        ),
    ]
}

/// What call control refused, and what the guard did before it.
fn refused(facts: &FactCounters, edge: &offhook_edge::Counters) -> Vec<Sample> {
    let by_guard = Reason::ALL.iter().map(|&reason| (reason.name().to_string(), edge.refused(reason) as f64));
    let by_calls = REFUSALS.iter().zip(&facts.refused);
    // The guard counts these itself, those that it drops included.
    let by_calls =
        by_calls.filter(|(reason, _)| !matches!(reason, Refusal::Rate | Refusal::AuthenticationRate));
    by_calls
        .map(|(reason, counter)| (snake(reason), counter.load(Ordering::Relaxed) as f64))
        .chain(by_guard)
        .map(|(reason, value)| Sample { labels: vec![("reason", reason)], value })
        .collect()
}

fn peers(peers: &PeerCounters) -> [Metric; 4] {
    let sample = |reason: &str, value: u64| Sample {
        labels: vec![("reason", reason.to_string())],
        value: value as f64,
    };
    [
        Metric {
            name: "offhook_peer_no_room",
            help: "Times a call found no room at a peer: all its calls taken (full), or too many a second (rate).",
            kind: MetricKind::Counter,
            samples: vec![sample("full", peers.full), sample("rate", peers.too_fast)],
        },
        Metric::single(
            "offhook_route_retries",
            "Calls that went on to the next peer of their route, as one refused or was silent.",
            MetricKind::Counter,
            peers.retried as f64,
        ),
        Metric::single(
            "offhook_peer_rules_applied",
            "INVITEs on which the rules of their peer worked.",
            MetricKind::Counter,
            peers.ruled as f64,
        ),
        Metric::single(
            "offhook_peer_rules_too_long",
            "INVITEs that were refused, as the rules of their peer made them too long.",
            MetricKind::Counter,
            peers.unwritable as f64,
        ),
    ]
}

fn probes(probes: &ProbeCounters) -> [Metric; 2] {
    let sample = |outcome: &str, value: u64| Sample {
        labels: vec![("outcome", outcome.to_string())],
        value: value as f64,
    };
    [
        Metric {
            name: "offhook_peer_probes",
            help: "Times a peer was asked by OPTIONS whether it is there, by outcome.",
            kind: MetricKind::Counter,
            samples: vec![sample("answered", probes.answered), sample("missed", probes.missed)],
        },
        Metric::single(
            "offhook_peers_down",
            "Peers that do not answer OPTIONS; the log names them.",
            MetricKind::Gauge,
            probes.down as f64,
        ),
    ]
}

fn overload(overload: &OverloadGauges) -> [Metric; 3] {
    let by_class = |value: &dyn Fn(usize) -> f64| {
        let classes = Gauges::OVERLOAD_CLASSES.iter().enumerate();
        classes
            .map(|(class, name)| Sample { labels: vec![("class", (*name).into())], value: value(class) })
            .collect()
    };
    [
        Metric {
            name: "offhook_overload_let_in",
            help: "How much of what comes is let in, 0 to 1, by class: new calls, registrations, messages of calls.",
            kind: MetricKind::Gauge,
            samples: by_class(&|class| f64::from(overload.let_in[class]) / 1000.0),
        },
        Metric {
            name: "offhook_overload_given_up",
            help: "Messages refused or dropped because more came than could be done, by class.",
            kind: MetricKind::Counter,
            samples: by_class(&|class| overload.given_up[class] as f64),
        },
        Metric {
            name: "offhook_overload_withheld",
            help: "Calls that were not offered to a peer because it asked for that (RFC 7339).",
            kind: MetricKind::Counter,
            samples: vec![Sample { labels: Vec::new(), value: overload.withheld as f64 }],
        },
    ]
}

fn resumed(resumed: &Resumed) -> Metric {
    let Resumed { going_on, ended, unreadable } = resumed;
    let sample = |outcome: &str, calls: usize| Sample {
        labels: vec![("outcome", outcome.to_string())],
        value: calls as f64,
    };
    Metric {
        name: "offhook_calls_resumed",
        help: "Calls that this process found at its start, by outcome.",
        kind: MetricKind::Counter,
        samples: vec![
            sample("going_on", *going_on),
            sample("ended", *ended),
            sample("unreadable", unreadable.len()),
        ],
    }
}

fn media(media: &Snapshot) -> [Metric; 15] {
    use MetricKind::{Counter, Gauge};
    let dropped = DropReason::ALL.iter().map(|&reason| Sample {
        labels: vec![("reason", reason.name().to_string())],
        value: media.dropped(reason) as f64,
    });
    let kernel = media.kernel.unwrap_or_default();
    [
        Metric::single(
            "offhook_media_packets",
            "Media packets relayed by user space.",
            Counter,
            media.packets_forwarded as f64,
        ),
        Metric::single(
            "offhook_media_octets",
            "Octets of media relayed by user space.",
            Counter,
            media.octets_forwarded as f64,
        ),
        Metric::single("offhook_media_endpoints", "Media endpoints open.", Gauge, media.endpoints as f64),
        Metric::single("offhook_media_ports", "Media ports bound.", Gauge, media.ports_in_use as f64),
        Metric::single(
            "offhook_media_effort",
            "How hard Opus encoders try, 0 to 5; less under load.",
            Gauge,
            media.effort as f64,
        ),
        Metric::single(
            "offhook_media_served",
            "Legs that the node itself talks with: echo, announcements, menus.",
            Gauge,
            media.served as f64,
        ),
        Metric::single("offhook_media_members", "Legs in rooms.", Gauge, media.members as f64),
        Metric::single(
            "offhook_recorded_rooms",
            "Rooms that are recorded.",
            Gauge,
            media.recorded_rooms as f64,
        ),
        Metric::single(
            "offhook_recordings_lost",
            "Events of recordings, mostly seconds of sound, that found no room on the way to the disk.",
            Counter,
            media.recorded_lost as f64,
        ),
        Metric::single(
            "offhook_media_opens_failed",
            "Times no ports were free.",
            Counter,
            media.opens_failed as f64,
        ),
        Metric {
            name: "offhook_media_dropped",
            help: "Media packets that went no further, by reason.",
            kind: Counter,
            samples: dropped.collect(),
        },
        Metric::single(
            "offhook_media_kernel_plane",
            "Whether the in-kernel media plane is loaded: 1 or 0; the log says why not.",
            Gauge,
            f64::from(u8::from(media.kernel.is_some())),
        ),
        Metric::single(
            "offhook_media_kernel_streams",
            "Streams that the kernel carries now; both directions count as one.",
            Gauge,
            kernel.streams as f64,
        ),
        Metric::single(
            "offhook_media_kernel_packets",
            "Media packets that the kernel relayed, beside those of user space.",
            Counter,
            kernel.packets as f64,
        ),
        Metric::single(
            "offhook_media_kernel_octets",
            "Octets of media that the kernel relayed.",
            Counter,
            kernel.octets as f64,
        ),
    ]
}

/// The name a value has in JSON.
fn snake(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
}
