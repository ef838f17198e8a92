//! The guard against overload in a queue of virtual time: one server, senders that do not care, some seeds.

use std::{collections::VecDeque, time::Duration};

use offhook_base::{Instant, Random};
use offhook_edge::{Episode, Overload, OverloadLimits, Worth};

const SEEDS: std::ops::Range<u64> = 1..11;

/// Nanoseconds of work. A call takes 1 ms in all, so that 1,000 in a second are the capacity.
const INVITE: u64 = 400_000;
const LATER_MESSAGE: u64 = 150_000;
const LATER_MESSAGES: u64 = 4;
const REGISTER: u64 = 100_000;
/// To read a message and to refuse it.
const REFUSAL: u64 = 50_000;
const CAPACITY: u64 = 1_000;

/// Messages the kernel holds for the server; more are lost.
const BUFFER: usize = 5_000;
/// Messages of one turn.
const TURN: usize = 256;
const SECOND: u64 = 1_000_000_000;

struct Message {
    worth: Worth,
    arrived: u64,
    number: u64,
    later: u64,
}

/// What came of the last part of a run, when everything has settled.
#[derive(Default)]
struct Outcome {
    calls_done: u64,
    seconds: u64,
    waited_max: u64,
    lost: u64,
    refused: [u64; 4],
    seen: [u64; 4],
    queue_max: usize,
}

/// A run of `seconds`, of which the first `settling` do not count. `rates`: new messages in a second, by their worth.
fn run(seed: u64, overload: &mut Overload, rates: &[(Worth, u64)], settling: u64, seconds: u64) -> Outcome {
    let mut random = Random::from_number(seed);
    let mut outcome = Outcome { seconds: seconds - settling, ..Outcome::default() };
    let (mut queue, mut now, mut number) = (VecDeque::new(), 0_u64, 0_u64);
    let mut next: Vec<u64> = rates.iter().map(|(_, rate)| pause(&mut random, *rate)).collect();
    let mut due: VecDeque<(u64, Message)> = VecDeque::new();
    while now < seconds * SECOND {
        let counts = now >= settling * SECOND;
        // What has arrived meanwhile.
        for (at, (worth, rate)) in next.iter_mut().zip(rates) {
            while *at <= now {
                number += 1;
                let later = if matches!(worth, Worth::New | Worth::Emergency) { LATER_MESSAGES } else { 0 };
                arrive(
                    &mut queue,
                    Message { worth: *worth, arrived: *at, number, later },
                    counts,
                    &mut outcome,
                );
                *at += pause(&mut random, *rate);
            }
        }
        while let Some((_, message)) = due.pop_front_if(|(at, _)| *at <= now) {
            arrive(&mut queue, message, counts, &mut outcome);
        }
        let waited = queue.front().map_or(0, |oldest: &Message| now - oldest.arrived);
        let waited = Duration::from_nanos(waited);
        overload.observe(waited, Instant::from_driver_nanos(now));
        let turn: Vec<Message> = queue.drain(..queue.len().min(TURN)).collect();
        if turn.is_empty() {
            // Asleep until the next message.
            let soonest = next.iter().copied().chain(due.front().map(|(at, _)| *at)).min().unwrap_or(now);
            now = soonest.max(now + 1);
        }
        let began = Instant::from_driver_nanos(now);
        for message in turn {
            let class = message.worth as usize;
            let wait = now - message.arrived;
            if counts {
                outcome.seen[class] += 1;
                outcome.waited_max = outcome.waited_max.max(wait);
            }
            if overload.gives_up(message.worth, &message.number.to_be_bytes(), began) {
                outcome.refused[class] += u64::from(counts);
                now += REFUSAL;
                continue;
            }
            now += match message.worth {
                Worth::New | Worth::Emergency => INVITE,
                Worth::Registration => REGISTER,
                Worth::Established => LATER_MESSAGE,
            };
            if message.later > 0 {
                let arrived = now + SECOND / 50;
                let later = message.later - 1;
                due.push_back((arrived, Message { worth: Worth::Established, arrived, later, ..message }));
            } else if message.worth == Worth::Established {
                outcome.calls_done += u64::from(counts);
            }
        }
    }
    outcome
}

/// Poisson arrivals, by the inverse of their distribution.
fn pause(random: &mut Random, rate: u64) -> u64 {
    let uniform = (random.below(1 << 30) + 1) as f64 / f64::from(1 << 30);
    (-uniform.ln() * SECOND as f64 / rate as f64) as u64
}

fn arrive(queue: &mut VecDeque<Message>, message: Message, counts: bool, outcome: &mut Outcome) {
    if queue.len() < BUFFER {
        queue.push_back(message);
    } else {
        outcome.lost += u64::from(counts);
    }
    outcome.queue_max = outcome.queue_max.max(queue.len());
}

fn guard(seed: u64) -> Overload {
    Overload::new(&OverloadLimits::default(), Random::from_number(seed).next_u64())
}

/// Goal: past capacity, nearly as many calls are served as the cost of the refusals leaves room for, and soon. Method: a
/// rate far above what can be done, at once.
#[test]
fn calls_that_are_let_in_stay_good_at_any_rate() {
    for seed in SEEDS {
        for factor in [1, 2, 5, 10] {
            let done = run(seed, &mut guard(seed), &[(Worth::New, factor * CAPACITY)], 4, 14);
            // r refused and s served a second fill it: s*1 ms + r*50 us = 1 s, s + r = rate.
            let rate = factor as f64 * CAPACITY as f64;
            let best = ((1.0 - rate * 50e-6) / (1e-3 - 50e-6)).min(rate);
            let goodput = done.calls_done as f64 / done.seconds as f64;
            assert!(goodput > 0.8 * best, "seed {seed}, {factor} times: {goodput} of {best}");
            assert!(done.waited_max < SECOND / 4, "seed {seed}, {factor} times: {} ns", done.waited_max);
            assert_eq!((done.lost, done.refused[Worth::Established as usize]), (0, 0), "seed {seed}");
        }
    }
}

/// Goal: below capacity nothing is ever refused, however uneven the arrivals.
#[test]
fn nothing_is_given_up_below_capacity() {
    for seed in SEEDS {
        let mut guard = guard(seed);
        let done = run(seed, &mut guard, &[(Worth::New, 700), (Worth::Registration, 1000)], 0, 20);
        assert_eq!((guard.given_up(), done.lost), ([0; 3], 0), "seed {seed}");
    }
}

/// Goal: the order. Method: registrations alone are more than can be done, beside calls and a few emergency calls.
#[test]
fn new_calls_go_first_then_registrations_and_emergency_calls_never() {
    for seed in SEEDS {
        let (calls, registrations, emergencies) =
            ((Worth::New, CAPACITY), (Worth::Registration, 12 * CAPACITY), (Worth::Emergency, 20));
        let done = run(seed, &mut guard(seed), &[calls, registrations, emergencies], 5, 15);
        let share =
            |worth: Worth| done.refused[worth as usize] as f64 / done.seen[worth as usize].max(1) as f64;
        assert!(share(Worth::New) > 0.95, "seed {seed}: {}", share(Worth::New));
        let registered = share(Worth::Registration);
        assert!((0.2..0.8).contains(&registered), "seed {seed}: {registered}");
        assert_eq!(done.refused[Worth::Emergency as usize], 0);
        assert!(done.waited_max < SECOND / 4, "seed {seed}: {} ns", done.waited_max);

        let done = run(
            seed,
            &mut guard(seed),
            &[(Worth::New, 3 * CAPACITY), (Worth::Registration, CAPACITY)],
            4,
            10,
        );
        assert_eq!(done.refused[Worth::Registration as usize], 0, "seed {seed}: calls are enough to give up");
    }
}

/// Goal: one beginning and one end are told of a rush, with what was given up; and soon after it nothing is refused any more.
#[test]
fn an_episode_is_told_once() {
    let mut guard = guard(1);
    let mut told = Vec::new();
    let mut millis = 0;
    let mut now = || {
        millis += 10;
        Instant::from_driver_nanos(millis * 1_000_000)
    };
    let mut refused = 0;
    for turn in 0..4_000_u64 {
        let at = now();
        let waited = if turn < 200 { Duration::from_millis(80) } else { Duration::ZERO };
        told.extend(guard.observe(waited, at));
        for call in 0..10 {
            refused += u64::from(guard.gives_up(Worth::New, &(turn * 10 + call).to_be_bytes(), at));
        }
    }
    assert!(!guard.is_on() && guard.new_calls_given_up_percent() == 0);
    let [Episode::Began, Episode::Ended { lasted, given_up }] = told[..] else { panic!("{told:?}") };
    assert!((Duration::from_secs(2)..Duration::from_secs(12)).contains(&lasted), "{lasted:?}");
    assert_eq!((given_up, guard.given_up()), ([refused, 0, 0], [refused, 0, 0]));
}

#[test]
fn a_repeated_request_is_judged_as_before_and_none_can_choose_to_pass() {
    let (mut one, mut other) = (guard(1), guard(2));
    let late = Duration::from_millis(150);
    for interval in 0..4 {
        for guard in [&mut one, &mut other] {
            guard.observe(late, Instant::from_driver_nanos(interval * 100_000_000));
        }
    }
    assert_eq!(one.new_calls_given_up_percent(), 69, "a quarter less four times");
    let now = Instant::from_driver_nanos(SECOND);
    let verdicts = |guard: &mut Overload| {
        (0..1000_u32).map(|call| guard.gives_up(Worth::New, &call.to_be_bytes(), now)).collect()
    };
    let first: Vec<bool> = verdicts(&mut one);
    assert_eq!(first, verdicts(&mut one));
    assert_ne!(first, verdicts(&mut other));
    let given_up = first.iter().filter(|up| **up).count();
    assert!((640..740).contains(&given_up), "{given_up}");
    let waits: Vec<u32> = (0..1000_u32).map(|call| one.retry_after_secs(&call.to_be_bytes())).collect();
    assert!(waits.iter().all(|secs| (2..=15).contains(secs)) && waits.contains(&2) && waits.contains(&14));
}

#[test]
fn a_target_of_zero_turns_it_off() {
    let mut guard = Overload::new(&OverloadLimits { wait_target: Duration::ZERO }, 1);
    for interval in 0..100 {
        guard.observe(Duration::from_secs(9), Instant::from_driver_nanos(interval * 100_000_000));
    }
    assert!(!guard.is_on());
}
