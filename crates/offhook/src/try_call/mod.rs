//! `offhook try`: two built-in phones register with the running node, call, talk and hang up.
//!
//! The way of a trial: [`target`] finds the node, [`lines`] makes two lines that live as long as it does, [`script`]
//! tells the two phones on the [`desk`] what to do, [`report`] shows what came of it. The phones ([`phone`]) and
//! their voices ([`voice`]) are cores without sockets and clock; what they say is noted in the [`ladder`].

mod desk;
mod ladder;
mod lines;
mod phone;
mod report;
mod script;
mod target;
mod voice;

use std::{future::Future, time::Duration};

use clap::{Args, ValueEnum};
use offhook_base::Random;
use offhook_node::config::Config;
use offhook_sip::transport::Transport;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::{
    desk::{Desk, Handset},
    lines::{Line, TemporaryLines},
    phone::Account,
    report::Report,
    script::Plan,
    target::Target,
};
use crate::{client::Client, failure::Failure, output};

/// The tones of A and B, Hz: neither is a multiple of the other, so that distortion of one is never the other.
const TONES: (f64, f64) = (440.0, 620.0);

/// How long the record may take to appear. The node promises 100 ms.
const RECORD_PATIENCE: Duration = Duration::from_secs(3);

/// The same where something went wrong: perhaps there was no call.
const RECORD_PATIENCE_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// How often it is looked for.
const RECORD_LOOK: Duration = Duration::from_millis(20);

/// How to try.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  offhook try                          over UDP, with the node of this directory
  offhook try --transport tcp --hold
  offhook try --to 192.0.2.1:5060 --url https://node.example.org
  offhook try --json | jq .works

Two lines with fresh passwords are made for the call and removed after it, also
when it fails or is interrupted. The call's record stays.")]
pub struct TryArgs {
    /// What the phones speak SIP over
    #[arg(long, value_enum, default_value = "udp")]
    pub transport: TryTransport,
    /// The node's SIP address [default: sip.listen of the configuration]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub to: Option<String>,
    /// The tenant that the two lines belong to
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Seconds of sound, 1 to 60
    #[arg(long, value_name = "NUMBER", default_value = "2", value_parser = clap::value_parser!(u8).range(1..=60))]
    pub seconds: u8,
    /// Also put the call on hold and take it back
    #[arg(long)]
    pub hold: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What the phones can speak SIP over.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TryTransport {
    /// Datagrams
    Udp,
    /// One connection for each phone
    Tcp,
}

impl From<TryTransport> for Transport {
    fn from(transport: TryTransport) -> Self {
        match transport {
            TryTransport::Udp => Self::Udp,
            TryTransport::Tcp => Self::Tcp,
        }
    }
}

/// Tries the node, and shows what happened.
pub async fn run(config: &Config, url: Option<&str>, args: &TryArgs) -> Result<(), Failure> {
    let client = Client::new(config, url)?;
    check_ready(&client).await?;
    let target = Target::find(&client, config, url, args).await?;
    output::note(&format!("Trying the node at {} over {}.", target.address, target.transport));
    let mut random = random()?;
    let mut lines = TemporaryLines::new(&client, &args.tenant, &mut random);
    let tried = attempt(&client, &target, args, &mut lines, &mut random).await;
    lines.remove().await;
    let (report, failure) = tried?;
    if args.json {
        output::json(&report.json(failure.as_ref()))?;
    } else {
        report.print()?;
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    if !args.json {
        output::line("\nIt works: two phones registered, called, heard each other, and left a record.")?;
    }
    Ok(())
}

/// Everything between the lines being made and being removed. A trial that came far enough to have a ladder reports it,
/// beside the failure that ended it.
async fn attempt(
    client: &Client,
    target: &Target,
    args: &TryArgs,
    lines: &mut TemporaryLines<'_>,
    random: &mut Random,
) -> Result<(Report, Option<Failure>), Failure> {
    let mut signals = Interruption::watch()?;
    let mut desk = signals.or(set_up(target, lines, random)).await?;
    let caller = desk.a.phone.name().to_string();
    let plan = Plan { talk: Duration::from_secs(args.seconds.into()), hold: args.hold };
    let mut done = signals.or(script::run(&mut desk, plan)).await;
    if done.is_err() {
        script::clear(&mut desk).await;
    }
    let mut report = Report::of(desk, TONES);
    let patience = if done.is_ok() { RECORD_PATIENCE } else { RECORD_PATIENCE_AFTER_FAILURE };
    match signals.or(record(client, &caller, patience)).await {
        Ok(record) => {
            done = done.and_then(|()| report::check_record(&record, plan.talk));
            report.record = Some(record);
        }
        // A call that never began has none.
        Err(failure) => done = done.and(Err(failure)),
    }
    Ok((report, done.err()))
}

async fn check_ready(client: &Client) -> Result<(), Failure> {
    let status: Value = client.get("/status", &[]).await?;
    match status["readiness"].as_str() {
        Some("ready") => Ok(()),
        other => {
            let what = format!("the node takes no calls: it is {}", output::clean(other.unwrap_or("unwell")));
            Err(Failure::new(what, "wait until it is ready, or start it again: `offhook serve`"))
        }
    }
}

/// Two lines, and a phone for each.
async fn set_up(
    target: &Target,
    lines: &mut TemporaryLines<'_>,
    random: &mut Random,
) -> Result<Desk, Failure> {
    let a = lines.add("a", "Trial phone A").await?;
    let b = lines.add("b", "Trial phone B").await?;
    output::note(&format!("Two lines are made for it: {} and {}.", a.name, b.name));
    let account = |Line { name, password }| Account { name, password, domain: target.domain.clone() };
    let a = Handset::connect(target, account(a), TONES, random).await?;
    let b = Handset::connect(target, account(b), (TONES.1, TONES.0), random).await?;
    Ok(Desk::new(a, b))
}

/// Waits for the record of the one call that the line `caller` has made.
async fn record(client: &Client, caller: &str, patience: Duration) -> Result<Value, Failure> {
    let query = [("line", caller.to_string()), ("reason", "offhook try".into())];
    let began = std::time::Instant::now();
    while began.elapsed() < patience {
        let mut page: Value = client.get("/records", &query).await?;
        if let Some(record) = page["items"].get_mut(0).map(Value::take) {
            output::note("The call's record is there.");
            return Ok(record);
        }
        tokio::time::sleep(RECORD_LOOK).await;
    }
    let what = format!("the call has no record after {} s", patience.as_secs());
    Err(Failure::new(what, "see the node's log: is the disk full or slow?"))
}

/// Notices when the person or the system wants the program to end.
struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    fn watch() -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(format!("cannot watch for signals: {error}"), "raise the limit of open files")
            })
        };
        Ok(Self { interrupt: watch(SignalKind::interrupt())?, terminate: watch(SignalKind::terminate())? })
    }

    /// Does `work`, unless a signal comes first.
    async fn or<T>(&mut self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::select! {
            done = work => done,
            _ = self.interrupt.recv() => Err(interrupted()),
            _ = self.terminate.recv() => Err(interrupted()),
        }
    }
}

fn interrupted() -> Failure {
    Failure::new("interrupted", "what was made for the trial is removed; start it again")
}

fn random() -> Result<Random, Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| {
        Failure::new(format!("no randomness from the system: {error}"), "use a newer kernel")
    })?;
    Ok(Random::from_seed(seed))
}
