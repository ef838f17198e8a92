//! A worker: one thread, one shard, its sockets. A turn is: deadlines, new calls, sending, waiting, reading.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use offhook_net::{Bell, Clock, DatagramSocket};

use super::{
    files::LogFiles,
    pace::{Claim, Pace},
    sockets::{Input, Sockets},
    transport::{Reconnecting, TransportMode},
};
use crate::{
    call::{Now, Request, Shard, SocketId, Start, view::View},
    media::engine::Engine,
    stats::{Counter, Stats},
};

/// How often a worker shows what it counted.
const PUBLISH_EVERY_MS: u64 = 100;

/// From so many messages a second on a worker lets them gather.
const DENSE_MESSAGES: u64 = 4000;
/// How long it does: a turn for each message would spend most of its time on waking up. Response times are not touched, the
/// kernel notes when a message came.
const GATHER: Duration = Duration::from_micros(500);
/// A message cannot have waited longer than this; if it seems so, the wall clock was set.
const AGE_MAX: Duration = Duration::from_secs(1);

/// How long a turn waits at most: orders of the control thread ring a bell, so this only heals a lost ring.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// How far a run is to its end.
pub mod stage {
    /// Runs.
    pub const RUNNING: u8 = 0;
    /// Takes no calls any more; those that run end by themselves.
    pub const CLOSING: u8 = 1;
    /// Ends its calls.
    pub const ABORTING: u8 = 2;
    /// Over.
    pub const OVER: u8 = 3;
}

/// What a worker and the control thread share.
#[derive(Debug)]
pub struct Window {
    /// One of [`stage`].
    pub stage: AtomicU8,
    /// In the middle of a turn.
    pub busy: AtomicBool,
    /// Calls that are not over.
    pub live: AtomicU64,
    /// What was counted, a moment ago.
    pub stats: Mutex<Stats>,
    /// What only the control thread can do.
    pub requests: Mutex<Vec<Request>>,
    /// The last error, for the screen.
    pub last_error: Mutex<Option<String>>,
    /// What others put in.
    mail: Mutex<Mail>,
    /// Ends its wait.
    pub bell: Bell,
}

/// What one worker hands to another: messages of the other's calls, and calls to start.
#[derive(Debug, Default)]
struct Mail {
    bytes: Vec<u8>,
    messages: Vec<(SocketAddr, Now, std::ops::Range<usize>)>,
    starts: Vec<(u64, Option<u32>)>,
}

impl Window {
    /// Nothing yet.
    pub fn new(stats: Stats) -> std::io::Result<Self> {
        Ok(Self {
            stage: AtomicU8::new(stage::RUNNING),
            busy: AtomicBool::new(false),
            live: AtomicU64::new(0),
            stats: Mutex::new(stats),
            requests: Mutex::default(),
            last_error: Mutex::default(),
            mail: Mutex::default(),
            bell: Bell::new()?,
        })
    }
}

/// Locks, whatever became of another holder: the data is counts and queues, whole at any time.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A worker, ready to run.
pub struct Worker {
    /// Its number.
    pub index: usize,
    /// All windows, its own included.
    pub windows: Arc<[Window]>,
    /// Its calls.
    pub shard: Shard,
    /// Its sockets.
    pub sockets: Sockets,
    /// The socket of calls that have none of their own, and its port.
    pub main: Option<(SocketId, u16)>,
    /// How calls get their sockets.
    pub transport: TransportMode,
    /// What becomes of a broken connection.
    pub reconnecting: Reconnecting,
    /// Where sockets of calls are bound.
    pub local: SocketAddr,
    /// `-max_socket`.
    pub sockets_max: usize,
    /// When calls start.
    pub pace: Arc<Pace>,
    /// Numbers of calls.
    pub numbers: Arc<AtomicU64>,
    /// The log files.
    pub files: Arc<LogFiles>,
    /// The clock of the run.
    pub clock: Clock,
    /// Microseconds since 1970 at the clock's origin.
    pub origin_unix_micros: i64,
    /// Whether it starts calls at all.
    pub is_caller: bool,
    /// The media threads.
    pub media: Option<Arc<Engine>>,
}

/// What changes from turn to turn.
#[derive(Default)]
struct Turn {
    /// Messages read since the last look at [`DENSE_MESSAGES`].
    messages: u64,
    /// There are so many that gathering them pays.
    is_dense: bool,
    outgoing_over: u64,
    published_at: u64,
    failed: Vec<u32>,
    parcels: Vec<Mail>,
}

impl Worker {
    fn now(&self) -> Now {
        let instant = self.clock.instant();
        Now { instant, unix_micros: self.origin_unix_micros + (instant.as_nanos() / 1000) as i64 }
    }

    fn window(&self) -> &Window {
        &self.windows[self.index]
    }

    /// Runs until the control thread says that it is over.
    pub fn run(mut self) -> Stats {
        let mut turn = Turn::default();
        turn.parcels.resize_with(self.windows.len(), Mail::default);
        let mut ready = Vec::new();
        let mut aborted = false;
        loop {
            self.window().busy.store(true, Ordering::SeqCst);
            let now = self.now();
            let stage = self.window().stage.load(Ordering::SeqCst);
            if stage >= stage::CLOSING {
                self.shard.close(now, false);
            }
            if stage >= stage::ABORTING && !aborted {
                aborted = true;
                self.shard.close(now, true);
            }
            self.shard.handle_timeout(now);
            self.take_mail(now);
            if stage == stage::RUNNING && self.is_caller {
                self.start_due(now, &mut turn);
            }
            let mut more = false;
            for entry in &ready {
                more |= self.read(now, *entry, &mut turn);
            }
            let flushed = self.finish_turn(now, &mut turn);
            self.window().busy.store(false, Ordering::SeqCst);
            if stage == stage::OVER {
                self.publish();
                return self.shard.stats().clone();
            }
            let wait = if flushed { self.wait(now) } else { Duration::from_millis(1) };
            if turn.is_dense && flushed && !more {
                self.gather(now);
            }
            if self.sockets.wait(Some(wait), &mut ready).is_err() {
                // Nothing but a closed poll fails here, and that is ours.
                ready.clear();
            }
            self.window().bell.hear();
        }
    }

    /// Lets messages gather for the rest of [`GATHER`]: a wake-up for each costs more than the message itself.
    fn gather(&self, now: Now) {
        let spent = self.clock.instant().saturating_since(now.instant);
        if let Some(left) = GATHER.checked_sub(spent).filter(|left| !left.is_zero()) {
            std::thread::sleep(left);
        }
    }

    fn wait(&self, now: Now) -> Duration {
        let mut wait = WAIT_MAX;
        if let Some(at) = self.shard.next_deadline() {
            wait = wait.min(Duration::from_nanos((at * 1_000_000).saturating_sub(now.instant.as_nanos())));
        }
        if self.is_caller
            && let Some(due) = self.pace.next_due()
        {
            wait = wait.min(Duration::from_nanos(due.saturating_sub(now.instant.as_nanos())));
        }
        wait
    }

    /// Calls that others start but that are ours, and messages that came to others' sockets.
    fn take_mail(&mut self, now: Now) {
        let mail = std::mem::take(&mut *lock(&self.window().mail));
        let socket = self.main.map_or(SocketId(0), |(socket, _)| socket);
        for (from, arrived, range) in mail.messages {
            self.shard.handle_message(arrived, socket, from, &mail.bytes[range]);
        }
        for (number, user) in mail.starts {
            self.start(now, number, user);
        }
    }

    fn start_due(&mut self, now: Now, turn: &mut Turn) {
        let claim = self.pace.claim(now.instant.as_nanos());
        let (count, users) = match claim {
            Claim::None => return,
            Claim::Calls(count) => (count, Vec::new()),
            Claim::Users(users) => (users.len() as u64, users),
        };
        for at in 0..count {
            let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
            let user = users.get(at as usize).copied();
            let owner = self.owner_of_number(number);
            if owner == self.index {
                self.start(now, number, user);
            } else {
                turn.parcels[owner].starts.push((number, user));
            }
        }
    }

    /// Which worker a call of ours belongs to. Those with a socket of their own stay where the socket is.
    fn owner_of_number(&self, number: u64) -> usize {
        if self.windows.len() == 1 || self.transport.per_call {
            return self.index;
        }
        let key = crate::call::call_key(self.shard.plan(), number);
        (key % self.windows.len() as u64) as usize
    }

    fn start(&mut self, now: Now, number: u64, user: Option<u32>) {
        let opened = if self.transport.per_call && self.sockets.len() < self.sockets_max {
            self.open()
        } else {
            self.main.map(|(socket, port)| (socket, port, false))
        };
        let Some((socket, local_port, owns_socket)) = opened else {
            self.shard.count(Counter::OutgoingCalls, 1);
            self.shard.count(Counter::FailedCalls, 1);
            self.shard.count(Counter::FailedTcpConnect, 1);
            self.pace.ended(1, now.instant.as_nanos());
            return;
        };
        self.shard.start_call(now, Start { number, socket, owns_socket, local_port, user });
    }

    /// A socket for one call.
    fn open(&mut self) -> Option<(SocketId, u16, bool)> {
        if self.transport.tcp {
            let remote = self.shard.plan().settings.remote?;
            let (socket, port) = self.sockets.connect(self.local, remote).ok()?;
            return Some((socket, port, true));
        }
        let address = SocketAddr::new(self.local.ip(), 0);
        let socket = DatagramSocket::bind(address, false, CALL_BUFFER_BYTES).ok()?;
        let port = socket.bound().port();
        Some((self.sockets.add_udp(socket).ok()?, port, true))
    }

    /// Reads what came. Returns whether more may wait.
    fn read(&mut self, now: Now, ready: offhook_net::Readiness, turn: &mut Turn) -> bool {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (shard, index, workers) = (&mut self.shard, self.index, self.windows.len());
        let shares = workers > 1 && !self.transport.per_call;
        let main = self.main.filter(|_| self.transport.tcp && self.reconnecting.max > 0);
        let (fails_calls, mut lost) = (self.reconnecting.fails_calls, None);
        let more = self.sockets.receive(ready, &mut |input| match input {
            Input::Message(socket, from, bytes, arrived) => {
                turn.messages += 1;
                // What waited for us here was no slowness of the other side.
                let now =
                    arrived.map_or(now, |arrived| now.before(wall.saturating_sub(arrived).min(AGE_MAX)));
                let owner = if shares { owner_of_message(shard, bytes, workers) } else { None };
                match owner {
                    Some(owner) if owner != index => {
                        let parcel = &mut turn.parcels[owner];
                        let start = parcel.bytes.len();
                        parcel.bytes.extend_from_slice(bytes);
                        parcel.messages.push((from, now, start..parcel.bytes.len()));
                    }
                    _ => shard.handle_message(now, socket, from, bytes),
                }
            }
            Input::Command(text) => shard.handle_command(now, text),
            Input::Fault(error) => shard.note(now, error.to_string()),
            Input::Gone(socket, never_was) => {
                if main.is_some_and(|(main, _)| main == socket) {
                    lost = Some(socket);
                    if fails_calls {
                        shard.connection_closed(now, socket);
                    }
                } else if never_was {
                    shard.connection_failed(now, socket);
                } else {
                    shard.connection_closed(now, socket);
                }
            }
        });
        if let Some(lost) = lost {
            self.reconnect(now, lost);
        }
        more
    }

    /// Opens the connection of all calls again. As with SIPp nothing goes on meanwhile: there is nothing to send over.
    fn reconnect(&mut self, now: Now, lost: SocketId) {
        let (Some(remote), Some((_, port))) = (self.shard.plan().settings.remote, self.main.take()) else {
            return;
        };
        while self.reconnecting.max > 0 && self.window().stage.load(Ordering::SeqCst) < stage::ABORTING {
            self.reconnecting.max -= 1;
            std::thread::sleep(self.reconnecting.sleep);
            // The port that texts name, if the kernel gives it again.
            let opened = [port, 0].into_iter().find_map(|port| {
                self.sockets.connect_now(SocketAddr::new(self.local.ip(), port), remote).ok()
            });
            if let Some((socket, _)) = opened {
                self.main = Some((socket, port));
                self.shard.note(now, format!("the connection to {remote} broke and was opened again"));
                return self.shard.move_calls(lost, socket);
            }
        }
        self.shard.note(now, format!("the connection to {remote} broke and cannot be opened again"));
        self.shard.connection_closed(now, lost);
    }

    /// Sends, hands over, tells. Returns whether all is sent.
    fn finish_turn(&mut self, now: Now, turn: &mut Turn) -> bool {
        let mut flushed;
        loop {
            flushed = self.sockets.flush(self.shard.out(), &mut turn.failed);
            if turn.failed.is_empty() {
                break;
            }
            for slot in std::mem::take(&mut turn.failed) {
                self.shard.send_failed(now, slot);
            }
        }
        self.do_requests(now);
        for (owner, parcel) in turn.parcels.iter_mut().enumerate() {
            if parcel.messages.is_empty() && parcel.starts.is_empty() {
                continue;
            }
            let mut mail = lock(&self.windows[owner].mail);
            let shift = mail.bytes.len();
            if shift < MAIL_BYTES_MAX {
                mail.bytes.append(&mut parcel.bytes);
                let shifted = |(from, arrived, range): (SocketAddr, Now, std::ops::Range<usize>)| {
                    (from, arrived, range.start + shift..range.end + shift)
                };
                mail.messages.extend(parcel.messages.drain(..).map(shifted));
            } else {
                // The other is that far behind: as a full socket buffer would, this loses messages.
                parcel.bytes.clear();
                parcel.messages.clear();
            }
            mail.starts.append(&mut parcel.starts);
            drop(mail);
            self.windows[owner].bell.ring();
        }
        let over = self.shard.outgoing_over();
        if over != turn.outgoing_over {
            let had_no_room = self.pace.ended(over - turn.outgoing_over, now.instant.as_nanos());
            turn.outgoing_over = over;
            if had_no_room {
                self.windows.iter().for_each(|window| window.bell.ring());
            }
        }
        let window = &self.windows[self.index];
        window.live.store(self.shard.calls() as u64, Ordering::SeqCst);
        if !self.shard.traces().is_empty() {
            self.files.write(self.shard.traces());
        }
        if now.millis() >= turn.published_at + PUBLISH_EVERY_MS {
            let elapsed = now.millis() - turn.published_at;
            turn.is_dense = std::mem::take(&mut turn.messages) * 1000 > DENSE_MESSAGES * elapsed;
            turn.published_at = now.millis();
            self.publish();
        }
        flushed
    }

    fn publish(&mut self) {
        let window = &self.windows[self.index];
        lock(&window.stats).clone_from(self.shard.stats());
        if let Some(error) = self.shard.traces().last_error.take() {
            *lock(&window.last_error) = Some(error);
        }
    }

    /// What can be done here is done; the rest goes to the control thread.
    fn do_requests(&mut self, now: Now) {
        if self.shard.out().requests.is_empty() {
            return;
        }
        let requests = std::mem::take(&mut self.shard.out().requests);
        for request in requests {
            match request {
                Request::Close(socket) => self.sockets.close(socket),
                Request::UserFree(user) => self.pace.user_free(user, now.instant.as_nanos()),
                Request::Command { dest, text } => {
                    if !self.sockets.send_command(dest.as_deref(), &text) {
                        self.shard.count(Counter::Warnings, 1);
                    }
                }
                Request::Media { call, command } => {
                    if let Some(media) = &self.media {
                        media.command(call, command);
                    }
                }
                other => lock(&self.window().requests).push(other),
            }
        }
    }
}

/// Buffers of a socket that has one call.
const CALL_BUFFER_BYTES: usize = 64 << 10;

/// Octets that may wait for another worker: a few thousand messages.
const MAIL_BYTES_MAX: usize = 8 << 20;

/// Which worker the message's call belongs to; `None`: it is no message.
fn owner_of_message(shard: &Shard, bytes: &[u8], workers: usize) -> Option<usize> {
    let view = View::parse(bytes)?;
    let (key, _) = crate::call::key_of(shard.plan(), view.call_id);
    Some((key % workers as u64) as usize)
}
