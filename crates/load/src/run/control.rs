//! The control thread: starts the workers, reports, hears keys and signals, knows when it is over.

use std::{
    fs::File,
    io::Write as _,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{
    Refusal, exit, files,
    history::History,
    html::Page,
    options::Options,
    prepare::{self, Run},
    signals::Signals,
    terminal::{self, Key, Terminal},
    verdict::{self, Judged, Threshold},
    worker::{lock, stage},
};
use crate::{
    call::Request,
    stats::{Counter, Stats, names, report, report::Moment, screen, screen::Situation},
};

/// How often it looks whether something is to do.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Most shells of `<exec command>` at once; more wait their turn by failing.
const COMMANDS_MAX: usize = 1024;

/// After an interrupt: how long answers to what ended the calls are waited for.
const FAREWELL: Duration = Duration::from_millis(200);

/// Runs what was asked for and returns the exit code.
pub fn run(options: &Options) -> Result<u8, Refusal> {
    for idle in &options.idle {
        terminal::note(&format!("note: {idle}"));
    }
    thread::sleep(options.sleep);
    let mut run = prepare::prepare(options)?;
    let scenario = &run.plan.main.scenario;
    let thresholds: Vec<Threshold> = options
        .require
        .iter()
        .map(|text| Threshold::parse(text, scenario).map_err(Refusal::fatal))
        .collect::<Result<_, _>>()?;
    let signals = Signals::listen();
    let mut threads = Vec::new();
    for worker in std::mem::take(&mut run.workers) {
        let name = format!("load-{}", worker.index);
        let thread = thread::Builder::new().name(name).spawn(move || worker.run());
        threads.push(thread.map_err(|error| Refusal::fatal(format!("cannot start a thread: {error}")))?);
    }
    let mut control = Control::new(options, run)?;
    control.watch(&signals);
    control.set_stage(stage::OVER);
    let mut total = Stats::of(&control.run.plan.main.scenario);
    for thread in threads {
        match thread.join() {
            Ok(stats) => total.merge(&stats),
            Err(_) => return Err(Refusal::fatal("a worker has failed; this is a fault of offhook load")),
        }
    }
    if let Some(media) = &control.run.media {
        total.media = media.finish();
        control.fatal = control.fatal.take().or(media.fault());
    }
    control.finish(total, &thresholds)
}

struct Control<'a> {
    options: &'a Options,
    run: Run,
    terminal: Terminal,
    started: Instant,
    screen: u8,
    /// Asked to end: once gracefully, twice at once.
    quits: u32,
    /// When it must be over.
    abort_at: Option<Instant>,
    /// `-timeout` has passed.
    timed_out: bool,
    code: Option<u8>,
    fatal: Option<String>,
    statistics: Option<File>,
    counts: Option<File>,
    reset_unix_micros: i64,
    before: Stats,
    dumped: Duration,
    shown: Duration,
    raised: Duration,
    commands: Vec<Child>,
    history: History,
}

impl<'a> Control<'a> {
    fn new(options: &'a Options, run: Run) -> Result<Self, Refusal> {
        let scenario = &run.plan.main.scenario;
        let delimiter = options.traces.delimiter.as_deref().unwrap_or(";");
        let open = |wanted: bool, option: &str, suffix: &str, header: String| {
            if !wanted {
                return Ok(None);
            }
            let path = files::name(&options.traces, option, &run.label, suffix);
            let create = || {
                let mut file = File::create(&path)?;
                file.write_all(header.as_bytes())?;
                Ok::<_, std::io::Error>(file)
            };
            create().map(Some).map_err(|error| Refusal::fatal(format!("cannot write {path}: {error}")))
        };
        let traces = &options.traces;
        let header = names::statistics_header(scenario, delimiter);
        let statistics = open(traces.statistics, "-stf", ".csv", header)?;
        let counts = open(traces.counts, "", "counts.csv", names::counts_header(scenario, delimiter))?;
        let (before, nothing) = (Stats::of(scenario), Stats::of(scenario));
        let terminal = Terminal::open(!options.no_keys);
        let reset_unix_micros = run.origin_unix_micros;
        let mut control = Self {
            options,
            run,
            terminal,
            started: Instant::now(),
            screen: 1,
            quits: 0,
            abort_at: None,
            timed_out: false,
            code: None,
            fatal: None,
            statistics,
            counts,
            reset_unix_micros,
            before,
            dumped: Duration::ZERO,
            shown: Duration::ZERO,
            raised: Duration::ZERO,
            commands: Vec::new(),
            history: History::new(nothing),
        };
        let stats = control.stats();
        control.dump(&stats);
        Ok(control)
    }

    fn nanos(&self) -> u64 {
        self.run.clock.instant().as_nanos()
    }

    fn set_stage(&self, stage: u8) {
        for window in self.run.windows.iter() {
            window.stage.fetch_max(stage, Ordering::SeqCst);
            window.bell.ring();
        }
    }

    /// What all workers counted, a moment ago.
    fn stats(&self) -> Stats {
        let mut total = Stats::of(&self.run.plan.main.scenario);
        for window in self.run.windows.iter() {
            total.merge(&lock(&window.stats));
        }
        if let Some(media) = &self.run.media {
            total.media = media.totals();
        }
        total
    }

    /// Until the run is over.
    fn watch(&mut self, signals: &Signals) {
        while !self.is_over() {
            match self.terminal.key(LOOK_EVERY) {
                Some(Key::Quit) => self.quit(),
                Some(Key::Interrupt) => self.abort(),
                Some(Key::Screens) if self.options.traces.screens => self.write_screens(),
                Some(Key::Screens) => {}
                Some(Key::Pause) => {
                    self.run.pace.toggle_pause(self.nanos());
                    self.set_stage(stage::RUNNING);
                }
                Some(Key::Faster(steps)) => self.change_rate(steps * self.options.rate_scale),
                Some(Key::Screen(screen)) => self.screen = screen,
                None => {}
            }
            (0..signals.graceful()).for_each(|_| self.quit());
            if signals.interrupt() > 0 {
                self.abort();
            }
            if signals.dump() > 0 {
                self.write_screens();
            }
            self.do_requests();
            self.fatal = self.fatal.take().or_else(|| self.run.media.as_ref()?.fault());
            self.keep_time();
        }
    }

    fn is_over(&self) -> bool {
        if self.abort_at.is_some_and(|at| Instant::now() >= at) || self.fatal.is_some() {
            return true;
        }
        // Numbers first: a call that is counted there shows in the windows after its turn.
        let numbers = self.run.numbers.load(Ordering::SeqCst);
        let is_closing = self.quits > 0 || self.abort_at.is_some();
        let enough = self.options.calls.is_some_and(|calls| numbers >= calls);
        let no_more = if self.run.is_caller { self.run.pace.is_over() } else { is_closing || enough };
        no_more
            && (!self.run.is_caller || self.run.pace.active() == 0)
            && self
                .run
                .windows
                .iter()
                .all(|window| !window.busy.load(Ordering::SeqCst) && window.live.load(Ordering::SeqCst) == 0)
    }

    /// `q`: no new calls; once more: the end.
    fn quit(&mut self) {
        self.quits += 1;
        self.run.pace.close();
        if self.quits == 1 {
            self.set_stage(stage::CLOSING);
        } else {
            self.abort();
        }
    }

    /// Ends all calls properly, then the run.
    fn abort(&mut self) {
        self.run.pace.close();
        self.set_stage(stage::ABORTING);
        self.abort_at.get_or_insert(Instant::now() + FAREWELL);
    }

    fn change_rate(&self, by: f64) {
        let period = self.options.period.as_secs_f64();
        let rate = (self.run.pace.rate() * period + by).max(0.0);
        self.set_rate(rate);
    }

    /// Calls per period.
    fn set_rate(&self, rate: f64) {
        let per_second = rate / self.options.period.as_secs_f64();
        self.run.pace.set_rate(per_second, self.nanos());
        if self.options.limit.is_none() && self.options.users.is_none() {
            let length_ms = self.run.plan.main.scenario.duration_ms(self.options.pause_ms).max(1000);
            let usual = ((3.0 * per_second * length_ms as f64 / 1000.0) as u64).max(1);
            self.run.pace.set_limit(Some(usual), self.nanos());
        }
        self.run.windows.iter().for_each(|window| window.bell.ring());
    }

    /// What workers cannot do themselves.
    fn do_requests(&mut self) {
        self.commands.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        let windows = Arc::clone(&self.run.windows);
        for window in windows.iter() {
            let requests = std::mem::take(&mut *lock(&window.requests));
            for request in requests {
                match request {
                    Request::Execute(command) => self.execute(&command),
                    Request::StopGracefully if self.quits == 0 => self.quit(),
                    Request::StopNow => {
                        self.code = Some(exit::INTERNAL);
                        self.abort();
                    }
                    Request::Fatal(message) => self.fatal = Some(message),
                    _ => {}
                }
            }
        }
    }

    fn execute(&mut self, command: &str) {
        if self.commands.len() >= COMMANDS_MAX {
            terminal::note("note: too many commands of <exec> are running; one is left out");
            return;
        }
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::null());
        match shell.spawn() {
            Ok(child) => self.commands.push(child),
            Err(error) => terminal::note(&format!("note: a command of <exec> cannot be run: {error}")),
        }
    }

    /// Reports, the rate's increase, the end of time.
    fn keep_time(&mut self) {
        let elapsed = self.started.elapsed();
        if elapsed >= self.dumped + self.options.dump_every {
            self.dumped = elapsed;
            let stats = self.stats();
            self.dump(&stats);
        }
        if self.options.html.is_some() && self.history.is_due(elapsed) {
            let stats = self.stats();
            self.history.take(elapsed, stats);
        }
        if elapsed >= self.shown + self.options.screen_every {
            self.shown = elapsed;
            self.show();
        }
        if let Some(increase) = self.options.increase {
            let every = increase.every.unwrap_or(self.options.dump_every);
            if elapsed >= self.raised + every {
                self.raised = elapsed;
                self.raise(increase.by, increase.max, increase.quits);
            }
        }
        if self.options.timeout.is_some_and(|timeout| elapsed >= timeout) && !self.timed_out {
            self.timed_out = true;
            if self.quits == 0 {
                self.quit();
            }
            if self.options.timeout_error {
                self.code = Some(exit::FATAL);
                self.abort();
            }
        }
    }

    fn raise(&mut self, by: f64, max: Option<f64>, quits: bool) {
        let period = self.options.period.as_secs_f64();
        let rate = self.run.pace.rate() * period + by;
        match max {
            Some(max) if rate > max => {
                self.set_rate(max);
                if quits && self.quits == 0 {
                    self.quit();
                }
            }
            _ => self.set_rate(rate),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            start_unix_micros: self.run.origin_unix_micros,
            reset_unix_micros: self.reset_unix_micros,
            now_unix_micros: self.run.origin_unix_micros + (self.nanos() / 1000) as i64,
            target_rate: if self.run.is_caller { self.run.pace.rate() } else { 0.0 },
        }
    }

    /// A line in each statistics file.
    fn dump(&mut self, stats: &Stats) {
        let moment = self.moment();
        let scenario = &self.run.plan.main.scenario;
        let delimiter = self.options.traces.delimiter.as_deref().unwrap_or(";");
        if let Some(file) = &mut self.statistics {
            let line = report::statistics(scenario, &self.before, stats, moment, delimiter);
            let _ = file.write_all(line.as_bytes());
        }
        if let Some(file) = &mut self.counts {
            let _ = file.write_all(report::counts(scenario, stats, moment, delimiter).as_bytes());
        }
        self.before = stats.clone();
        self.reset_unix_micros = moment.now_unix_micros;
    }

    fn situation(&self) -> Situation {
        let settings = &self.run.plan.settings;
        let remote = match settings.remote {
            Some(remote) if self.run.is_caller => remote.to_string(),
            _ => String::new(),
        };
        let error = self.run.windows.iter().find_map(|window| lock(&window.last_error).clone());
        let foot = match (error, self.quits) {
            (Some(error), _) => format!("Last error: {}", error.lines().next().unwrap_or_default()),
            (None, 0) => "[+-*/]: Adjust rate ---- [q]: Soft exit ---- [p]: Pause traffic".into(),
            (None, _) => "Waiting for active calls to end. Press [q] again to force exit.".into(),
        };
        Situation {
            moment: self.moment(),
            port: settings.local_port,
            remote,
            transport: settings.transport,
            pause_ms: settings.pause_ms,
            period_s: self.options.period.as_secs_f64(),
            limit: if self.run.is_caller { self.run.pace.limit() } else { None },
            workers: self.run.windows.len(),
            foot,
        }
    }

    fn show(&self) {
        let stats = self.stats();
        let scenario = &self.run.plan.main.scenario;
        if self.terminal.is_open() {
            let situation = self.situation();
            self.terminal.draw(&match self.screen {
                2 => screen::statistics(scenario, &self.before, &stats, &situation),
                // All ranges fit on one screen.
                3 | 6.. => screen::repartition(scenario, &stats, &situation),
                4 => screen::variables(scenario, &situation),
                _ => screen::scenario(scenario, &stats, &situation),
            });
            return;
        }
        if self.options.no_keys && self.options.screen_every == Duration::from_secs(1) {
            // A background run says what it has to say at its end.
            return;
        }
        terminal::line(&format!(
            "{:.0} s: {} calls, {} now, {} good, {} failed, {} sent again",
            self.started.elapsed().as_secs_f64(),
            stats.created(),
            stats.current,
            stats.get(Counter::SuccessfulCalls),
            stats.get(Counter::FailedCalls),
            stats.get(Counter::Retransmissions),
        ));
    }

    fn screens(&self, stats: &Stats) -> String {
        let (scenario, situation) = (&self.run.plan.main.scenario, self.situation());
        screen::scenario(scenario, stats, &situation)
            + &screen::statistics(scenario, &self.before, stats, &situation)
            + &screen::repartition(scenario, stats, &situation)
            + &screen::variables(scenario, &situation)
    }

    fn write_screens(&self) {
        self.write_screens_of(&self.stats());
    }

    fn write_screens_of(&self, stats: &Stats) {
        let path = files::name(&self.options.traces, "-screen_file", &self.run.label, "screens.log");
        let written = files::open(&self.options.traces, &path, "-screen_overwrite")
            .and_then(|mut file| file.write_all(self.screens(stats).as_bytes()));
        if let Err(error) = written {
            terminal::note(&format!("note: cannot write {path}: {error}"));
        }
    }

    /// The last reports, and the exit code.
    fn finish(mut self, stats: Stats, thresholds: &[Threshold]) -> Result<u8, Refusal> {
        self.terminal.close();
        let seconds = self.started.elapsed().as_secs_f64();
        // The last screens tell of the period that the last line of the file closes.
        let (earlier, since) = (self.before.clone(), self.reset_unix_micros);
        self.dump(&stats);
        (self.before, self.reset_unix_micros) = (earlier, since);
        if self.options.traces.screens {
            self.write_screens_of(&stats);
        }
        let (scenario, situation) = (&self.run.plan.main.scenario, self.situation());
        terminal::line(&screen::scenario(scenario, &stats, &situation));
        terminal::line(&screen::statistics(scenario, &self.before, &stats, &situation));
        if let Some(message) = self.fatal {
            return Err(Refusal::fatal(message));
        }
        let judged: Vec<Judged> = thresholds
            .iter()
            .map(|threshold| {
                let (value, holds) = threshold.judge(scenario, &stats, seconds);
                Judged { text: threshold.text().into(), value, holds }
            })
            .collect();
        for broken in judged.iter().filter(|one| !one.holds) {
            terminal::note(&format!("does not hold: {} (it is {})", broken.text, broken.value));
        }
        let (good, failed) = (stats.get(Counter::SuccessfulCalls), stats.get(Counter::FailedCalls));
        let code = match self.code {
            Some(code) => code,
            None if judged
                .iter()
                .any(|one| !one.holds && Some(&one.text) == self.options.sound_check.as_ref()) =>
            {
                exit::SOUND
            }
            None if failed > 0 || judged.iter().any(|one| !one.holds) => exit::FAILED,
            None if good == 0 && self.timed_out => exit::INTERNAL,
            None if good == 0 => exit::NO_CALLS,
            None => exit::SUCCESS,
        };
        let page = Page {
            scenario,
            stats: &stats,
            seconds,
            judged: &judged,
            samples: self.history.samples(),
            exit_code: code,
        };
        let outputs = [
            (&self.options.html, page.write()),
            (&self.options.json, verdict::json(scenario, &stats, seconds, &judged, code)),
            (&self.options.junit, verdict::junit(scenario, &stats, seconds, &judged)),
        ];
        for (path, text) in outputs {
            if let Some(path) = path {
                std::fs::write(path, text)
                    .map_err(|error| Refusal::fatal(format!("cannot write {path}: {error}")))?;
            }
        }
        Ok(code)
    }
}
