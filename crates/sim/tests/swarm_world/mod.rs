//! One world of the swarm: what is in it, what goes wrong, and what must hold all the same.

use std::{
    collections::BTreeSet,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    thread,
    time::Duration,
};

use offhook_base::{Instant, Purpose, Random};
use offhook_sim::{
    Faults, Habits, PhoneId, Reaction, Srtp, World, WorldConfig, address_of, peer,
    phone::{Phone, Side, State},
};
use offhook_switch::{
    directory::{CallPermission, Line},
    exchange::Input,
    record::CallRecord,
};

const LINES: [&str; 4] = ["101", "102", "103", "104"];

/// A number that every line may call; the carrier takes it.
const OUTSIDE: &str = "112";

/// How long the world is bad.
const STORM: Duration = Duration::from_secs(240);

/// Within this time after the storm everything has settled: users hang up after at most 60 s, a call that nobody
/// hears of ends by its session timer after 180 s, then come 64*T1 twice.
const CALM: Duration = Duration::from_secs(600);

/// How far the record of a call may be from what its caller knows: a 200 or a BYE is repeated for 64*T1 at most, and an outage
/// may lie between.
const UNCERTAIN: Duration = Duration::from_secs(45);

/// Runs the world of a seed and hands it back.
///
/// # Panics
/// If a rule was broken.
pub fn run(seed: u64) -> World {
    let mut place = None;
    run_in(&mut place, seed);
    place.expect("there was a world")
}

/// What happened in the world of a seed, message for message, and how it ended.
pub fn story(seed: u64) -> (String, thread::Result<()>) {
    let mut place = None;
    let ended = panic::catch_unwind(AssertUnwindSafe(|| run_in(&mut place, seed)));
    let Some(world) = place else { return (String::new(), ended) };
    let steps = world.phones().flat_map(|(id, phone)| {
        phone.ladder.iter().map(move |step| {
            let (call, number) = (step.header("Call-ID"), step.header("CSeq"));
            let media = media_of(&String::from_utf8_lossy(&step.bytes));
            let [call, number] = [call, number].map(Option::unwrap_or_default);
            (step.at, format!("phone {} {step}   {call} {number} {media}", id.0))
        })
    });
    let deaths = world.node_died_at.iter().map(|at| (*at, "the node dies".to_string()));
    let mut told: Vec<_> = steps.chain(deaths).collect();
    told.sort_by_key(|(at, _)| *at);
    let begin = Instant::default();
    let line =
        |(at, what): &(Instant, String)| format!("{:9.3} {what}\n", at.saturating_since(begin).as_secs_f64());
    (told.iter().map(line).collect(), ended)
}

/// What a description in a message wants: ports, codecs and directions.
fn media_of(message: &str) -> String {
    let tells = |line: &&str| {
        ["m=", "a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    message.lines().filter(tells).collect::<Vec<_>>().join(" ")
}

fn run_in(place: &mut Option<World>, seed: u64) {
    let mut random = Random::from_number(seed ^ 0x5eed);
    // The first phone is a carrier: known by its address, it registers nowhere and needs no credentials.
    let mut carrier = peer(1, address_of(0, 0).ip(), OUTSIDE);
    carrier.may_call = CallPermission::Inside;
    let mut config = WorldConfig::with_directory(seed, &LINES, vec![carrier]);
    config.settings.session_timers.interval_secs = 90 + below(&mut random, 100);
    config.settings.ring = Duration::from_secs(5 + u64::from(below(&mut random, 20)));
    config.settings.unanswered = Duration::from_secs(20 + u64::from(below(&mut random, 60)));
    config.settings.call_duration = Duration::from_secs(30 + u64::from(below(&mut random, 300)));
    config.registrar.push_providers = vec!["fcm".into()];
    config.settings.anchor_media = random.below(6) > 0;
    let world = place.insert(World::new(config));
    world.turn_max = Duration::from_micros(random.below(2) * random.below(5000));
    let phones: Vec<PhoneId> = (0..3 + random.below(6))
        .map(|number| {
            let line = LINES[index(&mut random, LINES.len())];
            let habits = draw_habits(&mut random);
            if number == 0 {
                return world.add_phone(OUTSIDE, Habits { registers: false, tcp: false, ..habits });
            }
            world.add_phone(line, habits)
        })
        .collect();
    world.run_secs(2);
    world.faults = Faults::draw(&mut random);
    let kind = [Kind::Mild, Kind::Wild, Kind::Deadly][index(&mut random, 3)];
    let mut storm = Storm { kind, hard_to_reach: BTreeSet::new() };
    let end = world.now() + STORM;
    while world.now() < end {
        world.run_for(Duration::from_millis(1 + random.below(4000)));
        storm.strike(world, &phones, &mut random);
    }
    world.faults = Faults::NONE;
    world.spare_node();
    if !world.is_node_up() {
        world.start_node();
    }
    world.refuse_ports(0);
    world.set_lines(LINES.iter().zip(1..).map(|(name, id)| offhook_sim::line(id, name)).collect());
    check_who_is_heard(world, &storm, seed);
    heal(world, &phones);
    check(world, &phones, &storm, seed);
}

/// What a world is like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nobody dies and nobody moves: only messages go astray, so that everybody must be told of everything.
    Mild,
    /// The same, but the node dies, again and again, at any step of its driver: nobody may notice who can be reached.
    Deadly,
    /// Everything.
    Wild,
}

/// What goes wrong, and what has.
struct Storm {
    kind: Kind,
    /// Phones that changed their address, died, or lost a stream: a BYE may not have found them.
    hard_to_reach: BTreeSet<PhoneId>,
}

impl Storm {
    fn strike(&mut self, world: &mut World, phones: &[PhoneId], random: &mut Random) {
        let phone = phones[index(random, phones.len())];
        let calls = world.phone(phone).calls.len();
        let generation = u8::try_from(1 + random.below(100)).unwrap_or(1);
        if self.kind == Kind::Deadly && random.below(10) == 0 {
            return self.kill_node(world, random);
        }
        match random.below(100) {
            0..35 => {
                let target = [&LINES[..], &[OUTSIDE]].concat()[index(random, LINES.len() + 1)];
                if world.phone(phone).is_alive() {
                    world.act(phone, |phone, now| phone.call(target, now));
                }
            }
            35..60 if calls > 0 => {
                let call = calls - 1;
                world.act(phone, |phone, now| phone.hang_up(call, now));
            }
            60..70 if calls > 0 => {
                let holding = random.below(2) == 0;
                world.act(phone, |phone, now| phone.hold(calls - 1, holding, now));
            }
            70..75 if calls > 0 => {
                let codecs: &[u8] = if random.below(2) == 0 { &[8] } else { &[0, 8] };
                world.act(phone, |phone, now| phone.change_codecs(calls - 1, codecs, now));
            }
            75..94 | 96 if self.kind != Kind::Wild => {}
            75..80 => {
                self.hard_to_reach.insert(phone);
                world.act(phone, |phone, _| phone.crash());
            }
            80..88 if !world.phone(phone).is_alive() => world.come_back(phone, generation),
            88..92 => {
                self.hard_to_reach.insert(phone);
                world.rebind(phone, generation);
            }
            92..94 if random.below(2) == 0 => self.kill_node(world, random),
            95 if calls > 0 => world.act(phone, |phone, now| phone.send_info(calls - 1, now)),
            96 => {
                if world.phone(phone).habits.tcp {
                    self.hard_to_reach.insert(phone);
                }
                world.break_stream(phone);
            }
            97 => {
                let running = world.exchange().map_or(Vec::new(), |exchange| exchange.calls());
                if let Some(call) = running.first() {
                    let id = call.id;
                    world.tell_node(Input::HangUp(id));
                }
            }
            99 if random.below(2) == 0 => switch_a_line(world, random),
            98 if calls > 0 => world.act(phone, |phone, now| phone.withdraw(calls - 1, now)),
            94 => world.refuse_ports(1 + index(random, 3)),
            _ => world.faults = Faults::draw(random),
        }
    }

    /// The node dies, most often amid a turn, and is back within ten seconds. Streams break with it.
    fn kill_node(&mut self, world: &mut World, random: &mut Random) {
        let streams = world.phones().filter(|(_, phone)| phone.habits.tcp).map(|(id, _)| id);
        self.hard_to_reach.extend(streams);
        let steps = [0, 1 + index(random, 8), index(random, 100)][index(random, 3)];
        world.crash_node_after(steps, Duration::from_millis(random.below(10_000)));
    }
}

/// The operator disables a line or enables all.
fn switch_a_line(world: &mut World, random: &mut Random) {
    let mut lines: Vec<Line> = LINES.iter().zip(1..).map(|(name, id)| offhook_sim::line(id, name)).collect();
    let chosen = index(random, 2 * lines.len());
    if let Some(line) = lines.get_mut(chosen) {
        line.enabled = false;
    }
    world.set_lines(lines);
}

/// Once the network is well, who talks is heard by the other side, wherever both are now.
fn check_who_is_heard(world: &mut World, storm: &Storm, seed: u64) {
    // Retransmissions and offers of the storm come to their end.
    world.run_secs(40);
    let talks = |world: &World| -> Vec<(PhoneId, usize, u64, u64)> {
        let calls = world.phones().flat_map(|(id, phone)| {
            phone.calls.iter().enumerate().map(move |(index, call)| (id, index, call))
        });
        let up = calls.filter(|(_, _, call)| {
            call.state == State::Up
                && call.reoffer_at.is_none()
                // Its 2xx is not acknowledged: the answer to its offer may be on its way, or never come.
                && call.accepted.is_none()
        });
        // Who is hard to reach may talk to nobody without knowing it.
        let up = up.filter(|(id, ..)| !storm.hard_to_reach.contains(id));
        up.map(|(id, index, call)| (id, index, call.conversation, call.heard)).collect()
    };
    let before = talks(world);
    world.run_secs(5);
    let after = talks(world);
    for &(id, index, conversation, heard) in &before {
        let other = before.iter().find(|(other, _, theirs, _)| *other != id && *theirs == conversation);
        let Some(&(other_id, other_index, ..)) = other else { continue };
        let other_call = &world.phone(other_id).calls[other_index];
        let speaks =
            other_call.media.speak_at.is_some() && other_call.media.heard && !other_call.media.holding;
        let still = |known: &(PhoneId, usize, u64, u64)| known.0 == id && known.1 == index;
        let Some(now) = after.iter().find(|known| still(known)) else { continue };
        let lasts = after.iter().any(|known| known.0 == other_id && known.1 == other_index);
        assert!(
            !speaks || !lasts || now.3 > heard,
            "seed {seed}: phone {} hears nothing of phone {} in conversation {conversation}",
            id.0,
            other_id.0
        );
    }
}

/// The network is well again, everybody is switched on, and the users hang up one by one.
fn heal(world: &mut World, phones: &[PhoneId]) {
    for (number, &phone) in phones.iter().enumerate() {
        if !world.phone(phone).is_alive() {
            world.come_back(phone, u8::try_from(110 + number).unwrap_or(110));
        }
        for call in 0..world.phone(phone).calls.len() {
            if number % 2 == 0 {
                world.act(phone, |phone, now| phone.hang_up(call, now));
            }
        }
        world.run_secs(5);
    }
    world.run_for(CALM);
}

fn check(world: &mut World, phones: &[PhoneId], storm: &Storm, seed: u64) {
    assert_eq!(world.gauges().calls, 0, "seed {seed}: calls of the node");
    // Whoever has not heard of the end, because its NAT or its stream is another, hangs up at last.
    for &phone in phones {
        let reached = !storm.hard_to_reach.contains(&phone);
        let open = world.phone(phone).calls.iter().filter(|call| !call.is_over()).count();
        assert!(!reached || open == 0, "seed {seed}: phone {} was not told of the end", phone.0);
        for call in 0..world.phone(phone).calls.len() {
            world.act(phone, |phone, now| phone.hang_up(call, now));
        }
    }
    world.run_secs(70);
    for &phone in phones {
        let calls = &world.phone(phone).calls;
        let open = calls.iter().filter(|call| !call.is_over()).count();
        assert_eq!(open, 0, "seed {seed}: phone {} has open calls", phone.0);
        // Registrations go on for ever and have transactions of their own.
        world.act(phone, |phone, _| phone.crash());
    }
    world.run_secs(70);
    assert_eq!(violations(world), [""; 0], "seed {seed}");
    assert_eq!(world.leftovers(), [""; 0], "seed {seed}");
    let state = world.state();
    assert_eq!(state.records.len(), state.started.len(), "seed {seed}: calls and records");
    check_records(world, storm, seed);
    // Two phones that have nothing to do with the storm can call each other at once.
    let before = world.state().records.len();
    let plain = Habits { reaction: Reaction::Answer(Duration::from_secs(1)), ..Habits::default() };
    let caller = world.add_phone("101", plain.clone());
    world.run_secs(5);
    let call = world.act(caller, |phone, now| phone.call("102", now));
    world.run_secs(10);
    world.act(caller, |phone, now| phone.hang_up(call, now));
    world.run_secs(5);
    // The call may have woken a sleeping phone.
    for &phone in phones.iter().chain([&caller]) {
        world.act(phone, |phone, _| phone.crash());
    }
    world.run_secs(100);
    assert_eq!(world.state().records.len(), before + 1, "seed {seed}: the call after the storm");
    assert_eq!(world.leftovers(), [""; 0], "seed {seed}: after the last call");
    assert_eq!(violations(world), [""; 0], "seed {seed}: after the last call");
}

/// What callers know of their calls stands in the records, whatever the node went through.
fn check_records(world: &World, storm: &Storm, seed: u64) {
    let records = &world.state().records;
    // Who never acknowledges is told of the end when the patience with it is over, which each start of the node begins anew.
    let knows = |phone: &Phone, id| !storm.hard_to_reach.contains(&id) && !phone.habits.never_acks;
    for (id, phone) in world.phones().filter(|(id, phone)| knows(phone, *id)) {
        for call in phone.calls.iter().filter(|call| call.side == Side::Caller) {
            let (Some(up_at), Some(gone_at)) = (call.up_at, call.gone_at) else { continue };
            let of_call = |record: &&Arc<CallRecord>| {
                *record.legs[0].sip_call_id.disclose(Purpose::Record) == call.call_id
            };
            let talked = records.iter().filter(of_call).map(|record| record.talk_millis()).max();
            let known = i64::try_from(gone_at.saturating_since(up_at).as_millis()).unwrap_or(i64::MAX);
            assert!(
                talked.is_some_and(|talked| talked.abs_diff(known) <= UNCERTAIN.as_millis() as u64),
                "seed {seed}: phone {} talked for {known} ms, its record says {talked:?}",
                id.0
            );
        }
    }
}

fn draw_habits(random: &mut Random) -> Habits {
    let millis = |random: &mut Random, bound| Duration::from_millis(random.below(bound));
    let reaction = match random.below(10) {
        0 => Reaction::Refuse([486, 603, 480, 404, 500, 503, 600][index(random, 7)], millis(random, 5000)),
        1 => Reaction::Redirect(
            format!("sip:{}@example.org", LINES[index(random, LINES.len())]),
            millis(random, 3000),
        ),
        2 => Reaction::Never,
        3 => Reaction::Mute,
        _ => Reaction::Answer(millis(random, 12_000)),
    };
    let yes = |random: &mut Random, percent| random.below(100) < percent;
    Habits {
        registers: true,
        expires: 60 + below(random, 200),
        q: [None, Some("1.0"), Some("0.5")][index(random, 3)],
        rings_after: yes(random, 85).then(|| millis(random, 1000)),
        early_media_after: yes(random, 30).then(|| millis(random, 3000)),
        reliable: yes(random, 40),
        requires_reliable: yes(random, 10),
        reaction,
        late_offer: yes(random, 15),
        updates: yes(random, 40),
        session_secs: yes(random, 50).then(|| 90 + below(random, 200)),
        leaves_refresh: yes(random, 30),
        never_acks: yes(random, 3),
        push: yes(random, 20).then_some("fcm"),
        padding: if yes(random, 15) { 1500 } else { 0 },
        tcp: yes(random, 30),
        speaks: yes(random, 90),
        instance: yes(random, 30)
            .then(|| format!("urn:uuid:00000000-0000-4000-8000-{:012}", below(random, 1000))),
        srtp: [Srtp::Never, Srtp::Never, Srtp::Never, Srtp::Offered, Srtp::Always][index(random, 5)],
    }
}

fn below(random: &mut Random, bound: u64) -> u32 {
    u32::try_from(random.below(bound)).unwrap_or(0)
}

fn index(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or(0)
}

/// The rules that were broken. A request that was lost and sent again looks old where a later one has overtaken it
/// (RFC 3261 §12.2.2): that is the network's doing.
fn violations(world: &World) -> Vec<String> {
    world.violations().into_iter().filter(|text| !text.ends_with("with an old CSeq")).collect()
}
