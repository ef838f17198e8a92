//! What happens in a trial, step by step: register, call, talk, hold, hang up.

use std::time::Duration;

use super::{
    desk::Desk,
    ladder::Side::{self, A, B},
    phone::Event::{self, Called, Changed, Connected, Ended, Registered, RingsThere, Unregistered},
};
use crate::{failure::Failure, output};

/// How long a step may take. RFC 3261 repeats a lost request for up to 32 s; on the way to a node that works, a few
/// repeats do.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long B rings, for the ladder to look like life.
const RING: Duration = Duration::from_millis(200);

/// Time for the streams to settle before they are judged.
const SETTLE: Duration = Duration::from_millis(200);

/// How long a hold is listened to.
const HOLD: Duration = Duration::from_millis(400);

/// How long what is left of a broken trial may take to be cleared.
const CLEAR: Duration = Duration::from_millis(1000);

/// What the trial shall do.
#[derive(Clone, Copy)]
pub struct Plan {
    /// How long both speak.
    pub talk: Duration,
    /// Whether A puts B on hold once.
    pub hold: bool,
}

/// Runs the whole trial, telling how far it is.
pub async fn run(desk: &mut Desk, plan: Plan) -> Result<(), Failure> {
    register(desk).await?;
    call(desk).await?;
    talk(desk, plan.talk).await?;
    if plan.hold {
        hold(desk).await?;
        talk(desk, plan.talk.min(Duration::from_secs(1))).await?;
    }
    let now = desk.now();
    desk.a.phone.hang_up(now);
    wait(desk, "the call did not end", &[(A, Ended), (B, Ended)]).await?;
    output::note("A hung up.");
    let now = desk.now();
    desk.a.phone.unregister(now);
    desk.b.phone.unregister(now);
    wait(desk, "the phones could not unregister", &[(A, Unregistered), (B, Unregistered)]).await
}

async fn register(desk: &mut Desk) -> Result<(), Failure> {
    let now = desk.now();
    desk.a.phone.register(now);
    desk.b.phone.register(now);
    wait(desk, "the phones could not register", &[(A, Registered), (B, Registered)]).await?;
    output::note("Both phones are registered.");
    Ok(())
}

async fn call(desk: &mut Desk) -> Result<(), Failure> {
    let now = desk.now();
    desk.a.phone.call(desk.b.phone.address(), now);
    wait(desk, "the call did not reach B", &[(B, Called)]).await?;
    let now = desk.now();
    desk.b.phone.ring(now);
    wait(desk, "A did not hear that B rings", &[(A, RingsThere)]).await?;
    output::note("A calls, B rings.");
    pass(desk, RING).await?;
    let now = desk.now();
    desk.b.phone.answer(now);
    wait(desk, "the call was not established", &[(A, Connected), (B, Connected)]).await?;
    output::note("B answered.");
    Ok(())
}

/// Both speak; each must hear the other.
async fn talk(desk: &mut Desk, talk: Duration) -> Result<(), Failure> {
    pass(desk, SETTLE).await?;
    desk.a.voice.listen(true);
    desk.b.voice.listen(true);
    pass(desk, talk).await?;
    desk.a.voice.listen(false);
    desk.b.voice.listen(false);
    desk.ladder.remark(desk.elapsed(), format!("{:.1} s of sound both ways", talk.as_secs_f64()));
    for side in [A, B] {
        if let Err(what) = desk.handset(side).voice.judge(talk) {
            return Err(Failure::new(
                format!("{} {what}", side.letter()),
                "does the node still run? does a firewall stop UDP on `media.ports`? is `media.advertise` right?",
            ));
        }
    }
    output::note("Both hear each other.");
    Ok(())
}

async fn hold(desk: &mut Desk) -> Result<(), Failure> {
    let now = desk.now();
    desk.a.phone.hold(now);
    wait(desk, "A could not put B on hold", &[(A, Changed)]).await?;
    pass(desk, SETTLE).await?;
    desk.a.voice.listen(true);
    pass(desk, HOLD).await?;
    desk.a.voice.listen(false);
    desk.ladder.remark(desk.elapsed(), "B is on hold");
    let b_may_speak = desk.b.sound.is_none_or(|sound| sound.direction.sends());
    if b_may_speak || desk.a.voice.heard().blocks > 0 {
        return Err(Failure::new("B was put on hold, but still speaks", "report this with the ladder"));
    }
    let now = desk.now();
    desk.a.phone.resume(now);
    wait(desk, "A could not take B back from hold", &[(A, Changed)]).await?;
    output::note("A put B on hold and took B back.");
    Ok(())
}

/// Hangs up and unregisters what a broken trial has left, as far as that goes within a second.
pub async fn clear(desk: &mut Desk) {
    let now = desk.now();
    for side in [A, B] {
        let phone = &mut desk.handset(side).phone;
        phone.abandon(now);
        phone.unregister(now);
    }
    let until = now + CLEAR;
    let mut registered = 2;
    while registered > 0 {
        match desk.next_event(until).await {
            Ok(Some((_, Unregistered))) => registered -= 1,
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
}

/// Waits for all of `events`, in any order.
async fn wait(desk: &mut Desk, or_else: &str, events: &[(Side, Event)]) -> Result<(), Failure> {
    let mut missing = events.to_vec();
    let until = desk.now() + PATIENCE;
    while !missing.is_empty() {
        let Some(event) = desk.next_event(until).await? else {
            let who = missing[0].0.letter();
            let what = format!("{or_else}: phone {who} waited {} s in vain", PATIENCE.as_secs());
            return Err(Failure::new(what, "see the ladder for who did not answer, and the node's log"));
        };
        match missing.iter().position(|wanted| *wanted == event) {
            Some(position) => drop(missing.swap_remove(position)),
            None => check(or_else, event)?,
        }
    }
    Ok(())
}

/// Lets time pass, in which nothing may go wrong.
async fn pass(desk: &mut Desk, time: Duration) -> Result<(), Failure> {
    let until = desk.now() + time;
    while let Some(event) = desk.next_event(until).await? {
        check("the call broke off", event)?;
    }
    Ok(())
}

/// An event that nobody waited for.
fn check(or_else: &str, (side, event): (Side, Event)) -> Result<(), Failure> {
    let letter = side.letter();
    match event {
        Event::Failed(trouble) => {
            let trouble = output::clean(&trouble.to_string());
            Err(Failure::new(
                format!("{or_else}: phone {letter}: {trouble}"),
                "see the ladder, and the node's log; `offhook trace` shows whole messages",
            ))
        }
        Ended => Err(Failure::new(
            format!("{or_else}: phone {letter} was hung up on"),
            "see the node's log for the cause",
        )),
        _ => Ok(()),
    }
}
