//! SIPp's screens as text: scenario, statistics, repartition, variables.

use super::{Counter, Durations, Stats, names, report};
use crate::{
    call::trace::timestamp,
    scenario::{
        Scenario,
        model::{Step, StepKind},
        variables::Scope,
    },
};

/// What the screens show besides counts.
#[derive(Clone, Debug, Default)]
pub struct Situation {
    /// When, and the pace.
    pub moment: report::Moment,
    /// Port of ours.
    pub port: u16,
    /// Where calls go; empty for a run that answers.
    pub remote: String,
    /// As Via names it.
    pub transport: &'static str,
    /// `-d`, ms.
    pub pause_ms: u64,
    /// `-rp`, s.
    pub period_s: f64,
    /// Most calls at once; `None` if nothing limits them.
    pub limit: Option<u64>,
    /// Workers.
    pub workers: usize,
    /// The last line.
    pub foot: String,
}

const WIDTH: usize = 79;

fn title(name: &str) -> String {
    let hint = "[1-9]: Change Screen --";
    let dashes = WIDTH.saturating_sub(name.len() + hint.len() + 3);
    let left = "-".repeat(30.min(dashes));
    format!("{left} {name} {} {hint}\n", "-".repeat(dashes.saturating_sub(left.len())))
}

/// The first screen: the call flow with its counts.
pub fn scenario(scenario: &Scenario, stats: &Stats, situation: &Situation) -> String {
    let mut text = title("Scenario Screen");
    let seconds = (situation.moment.now_unix_micros - situation.moment.start_unix_micros) as f64 / 1e6;
    let created = stats.created();
    if situation.remote.is_empty() {
        text += "  Port   Total-time  Total-calls  Transport\n";
        let (port, transport) = (situation.port, situation.transport);
        text += &format!("  {port:<5} {seconds:>9.2} s {created:>12}  {transport}\n\n");
    } else {
        text += "  Call rate (length)   Port   Total-time  Total-calls  Remote-host\n";
        let rate = format!(
            "{:.1}({} ms)/{:.3}s",
            situation.moment.target_rate * situation.period_s,
            situation.pause_ms,
            situation.period_s
        );
        let (port, remote, transport) = (situation.port, &situation.remote, situation.transport);
        text += &format!("  {rate:<18} {port:>5} {seconds:>9.2} s {created:>12}  {remote}({transport})\n\n");
    }
    let current = stats.current;
    let limit = situation.limit.map_or(String::new(), |limit| format!(" (limit {limit})"));
    let (peak, peak_s, workers) = (stats.peak, stats.peak_at / 1000, situation.workers);
    text += &format!("  {:<39} Peak was {peak} calls, after {peak_s} s\n", format!("{current} calls{limit}"));
    text += &format!("  {workers} workers\n");
    let dead = format!("{} dead call msg (discarded)", stats.get(Counter::DeadCallMessages));
    text +=
        &format!("  {dead:<39} {} out-of-call msg (discarded)\n\n", stats.get(Counter::OutOfCallMessages));
    text += "                                 Messages  Retrans   Timeout   Unexpected-Msg\n";
    for (step, counts) in scenario.steps.iter().zip(&stats.steps) {
        if step.hide {
            continue;
        }
        text += &row(scenario, step, situation);
        let columns = names::count_columns(step);
        let shown = |name: &str, count: u64| {
            if columns.contains(&name) { format!("{count:<9} ") } else { " ".repeat(10) }
        };
        text += &format!("{:<9} ", counts.done);
        text += &shown("Retrans", counts.repeated);
        text += &shown("Timeout", counts.timeouts);
        text += &shown("Unexp", counts.unexpected);
        text += "\n";
        if step.crlf {
            text.push('\n');
        }
    }
    text + &foot(situation)
}

/// The left side of a row: the arrow, and which response times start and end.
fn row(scenario: &Scenario, step: &Step, situation: &Situation) -> String {
    let is_server = report::has_incoming(scenario);
    let label = step.display.clone().unwrap_or_else(|| names::step_label(step));
    let arrow = match (&step.kind, is_server) {
        (StepKind::Send(_) | StepKind::SendCommand { .. }, false) => format!("{label:>10} ---------->"),
        (StepKind::Recv(_) | StepKind::ReceiveCommand { .. }, false) => format!("{label:>10} <----------"),
        (StepKind::Send(_) | StepKind::SendCommand { .. }, true) => format!("<---------- {label:<10}"),
        (StepKind::Recv(_) | StepKind::ReceiveCommand { .. }, true) => format!("----------> {label:<10}"),
        (StepKind::Pause { length, .. }, false) => {
            format!("{label:>10} [{:>9}]", length.label(situation.pause_ms))
        }
        (StepKind::Pause { length, .. }, true) => {
            format!("[{:>9}] {label:<10}", length.label(situation.pause_ms))
        }
        (StepKind::Nop, _) => format!("{:^22}", format!("[ {label} ]")),
    };
    let times = match (step.start_rtd.first(), step.stop_rtd.first()) {
        (Some(start), None) => format!("B-RTD{}", scenario.rtds[*start]),
        (None, Some(end)) => format!("E-RTD{}", scenario.rtds[*end]),
        (Some(_), Some(_)) => "B/E-RTD".into(),
        (None, None) => String::new(),
    };
    format!("  {arrow:<22}  {times:<7}")
}

/// The second screen: counters.
pub fn statistics(scenario: &Scenario, before: &Stats, stats: &Stats, situation: &Situation) -> String {
    let rule = format!("{}+{}+{}\n", "-".repeat(25), "-".repeat(27), "-".repeat(26));
    let moment = situation.moment;
    let stamp = |micros| {
        let mut text = Vec::new();
        timestamp(&mut text, micros);
        String::from_utf8_lossy(&text).into_owned()
    };
    let mut text = title("Statistics Screen");
    text += &format!("  Start Time             | {}\n", stamp(moment.start_unix_micros));
    text += &format!("  Last Reset Time        | {}\n", stamp(moment.reset_unix_micros));
    text += &format!("  Current Time           | {}\n{rule}", stamp(moment.now_unix_micros));
    text += "  Counter Name           | Periodic value            | Cumulative value\n";
    text += &rule;
    let mut line = |name: &str, period: String, total: String| {
        text += &format!("  {name:<22} | {period:<25} | {total}\n");
    };
    let (period, total) = (
        moment.now_unix_micros - moment.reset_unix_micros,
        moment.now_unix_micros - moment.start_unix_micros,
    );
    line("Elapsed Time", report::clock(period.max(0) as u64), report::clock(total.max(0) as u64));
    let rate = |calls, micros| format!("{} cps", report::rate(calls, micros));
    line("Call Rate", rate(stats.created() - before.created(), period), rate(stats.created(), total));
    let mut counter = |name: &str, counter| {
        let added = stats.get(counter).saturating_sub(before.get(counter));
        line(name, added.to_string(), stats.get(counter).to_string());
    };
    counter("Incoming calls created", Counter::IncomingCalls);
    counter("Outgoing calls created", Counter::OutgoingCalls);
    counter("Successful call", Counter::SuccessfulCalls);
    counter("Failed call", Counter::FailedCalls);
    counter("Retransmissions", Counter::Retransmissions);
    line("Current Calls", stats.current.to_string(), String::new());
    for ((name, times), earlier) in
        scenario.rtds.iter().zip(&stats.response_times).zip(&before.response_times)
    {
        let name = format!("Response Time {name}");
        line(&name, report::clock(times.since(earlier).mean()), report::clock(times.mean()));
        line("  50 / 99 / 100 %", String::new(), percentiles(times));
    }
    let length = stats.call_length.since(&before.call_length).mean();
    line("Call Length", report::clock(length), report::clock(stats.call_length.mean()));
    let media = &stats.media;
    if !media.is_empty() {
        let loss = format!("{} ({:.2} %)", media.lost, media.loss_percent());
        line("RTP sent / echoed", String::new(), format!("{} / {}", media.sent, media.echoed));
        line("RTP received / lost", String::new(), format!("{} / {loss}", media.received));
        line("RTP streams judged", String::new(), media.streams.to_string());
        let score = format!("{:.2} / {:.2}", media.mos.min(), media.mos.mean());
        line("  MOS least / mean", String::new(), score);
        line("  Jitter most", String::new(), format!("{:.1} ms", media.jitter_ms.max()));
        if media.pattern_percent.count() > 0 {
            line("  Pattern least", String::new(), format!("{:.1} %", media.pattern_percent.min()));
        }
    }
    for ((name, count), earlier) in scenario.counters.iter().zip(&stats.generic).zip(&before.generic) {
        line(&format!("Counter {name}"), (count - earlier).to_string(), count.to_string());
    }
    text + &foot(situation)
}

fn percentiles(times: &Durations) -> String {
    let ms = |micros: u64| micros as f64 / 1000.0;
    let (half, most, all) = (times.percentile(0.5), times.percentile(0.99), times.max());
    format!("{:.1} / {:.1} / {:.1} ms", ms(half), ms(most), ms(all))
}

/// The third screen: how times spread over ranges.
pub fn repartition(scenario: &Scenario, stats: &Stats, situation: &Situation) -> String {
    let mut text = title("Repartition Screen");
    for (name, times) in scenario.rtds.iter().zip(&stats.response_times) {
        text += &format!("  Average Response Time Repartition {name}\n");
        text += &ranges(times);
    }
    text += "  Average Call Length Repartition\n";
    text += &ranges(&stats.call_length);
    text + &foot(situation)
}

/// The fourth screen: which steps have actions, and which variables there are, in whose hands.
pub fn variables(scenario: &Scenario, situation: &Situation) -> String {
    let mut text = title("Variable Screen");
    text += "  Action defined Per Message :\n";
    for (index, step) in scenario.steps.iter().enumerate().filter(|(_, step)| !step.actions.is_empty()) {
        let (label, count) = (names::step_label(step), step.actions.len());
        text += &format!("    Message[{index}] ({label}) : {count} action(s) defined\n");
    }
    text += "  Variables :\n";
    for (name, scope) in scenario.variables.all() {
        let whose = match scope {
            Scope::Call => "of each call",
            Scope::User => "of each user",
            Scope::Global => "of all calls",
        };
        text += &format!("    {name:<30} {whose}\n");
    }
    text + &foot(situation)
}

fn ranges(durations: &Durations) -> String {
    let mut text = String::new();
    let mut lower = 0;
    for (limit, count) in durations.limits().iter().zip(&durations.ranges) {
        text += &format!("    {lower:>10} ms <= n < {limit:>10} ms : {count:>10}\n");
        lower = *limit;
    }
    if let (Some(limit), Some(count)) = (durations.limits().last(), durations.ranges.last()) {
        text += &format!("    {:>13}      n >= {limit:>10} ms : {count:>10}\n", "");
    }
    text
}

fn foot(situation: &Situation) -> String {
    let dashes = WIDTH.saturating_sub(situation.foot.len() + 2) / 2;
    let side = "-".repeat(dashes);
    format!("{side} {} {side}\n", situation.foot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{read::Known, read::read};

    #[test]
    fn the_fourth_screen_tells_of_actions_and_variables() {
        let text = "<scenario><Global variables=\"all\"/><nop/><nop><action><assign assign_to=\"all\" value=\"1\"/>\
                    <add assign_to=\"mine\" variable=\"all\"/></action></nop></scenario>";
        let (scenario, _) = read(text.as_bytes(), &Known::default()).expect("it is a scenario");
        let shown = variables(&scenario, &Situation::default());
        for line in ["    Message[1] (NOP) : 2 action(s) defined\n", " of all calls\n", " of each call\n"] {
            assert!(shown.contains(line), "{shown}");
        }
        assert!(!shown.contains("Message[0]"), "{shown}");
    }
}
