//! Lines of SIPp's statistics files.

use super::{Counter, Durations, Stats, names};
use crate::{
    call::trace::timestamp,
    scenario::{Scenario, model::StepKind},
};

/// When a report is made, and what the pace is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moment {
    /// Start of the run, microseconds since 1970.
    pub start_unix_micros: i64,
    /// The last report.
    pub reset_unix_micros: i64,
    /// Now.
    pub now_unix_micros: i64,
    /// Calls per second that are asked for.
    pub target_rate: f64,
}

/// Counters from `FailedCall` on, in the order of [`names::FAILURES`].
const FAILURES: [Counter; 24] = [
    Counter::FailedCalls,
    Counter::FailedCannotSend,
    Counter::FailedMaxRetransmissions,
    Counter::FailedTcpConnect,
    Counter::FailedTcpClosed,
    Counter::FailedUnexpected,
    Counter::FailedCallRejected,
    Counter::FailedCommandNotSent,
    Counter::FailedRegexp,
    Counter::FailedRegexpShouldNot,
    Counter::FailedRegexpHeader,
    Counter::FailedOutboundCongestion,
    Counter::FailedTimeoutOnRecv,
    Counter::FailedTimeoutOnSend,
    Counter::FailedTest,
    Counter::FailedTestShouldNot,
    Counter::FailedStrcmp,
    Counter::FailedStrcmpShouldNot,
    Counter::OutOfCallMessages,
    Counter::DeadCallMessages,
    Counter::Retransmissions,
    Counter::AutoAnswered,
    Counter::Warnings,
    Counter::FatalErrors,
];

/// A line of `-trace_stat`: `now`, and what was added since `before`.
pub fn statistics(
    scenario: &Scenario,
    before: &Stats,
    now: &Stats,
    moment: Moment,
    delimiter: &str,
) -> String {
    let stamp = |micros| {
        let mut text = Vec::new();
        timestamp(&mut text, micros);
        String::from_utf8_lossy(&text).into_owned()
    };
    let mut cells =
        vec![stamp(moment.start_unix_micros), stamp(moment.reset_unix_micros), stamp(moment.now_unix_micros)];
    let period = moment.now_unix_micros - moment.reset_unix_micros;
    let total = moment.now_unix_micros - moment.start_unix_micros;
    cells.push(hours(period / 1_000_000));
    cells.push(hours(total / 1_000_000));
    cells.push(number(moment.target_rate));
    cells.push(rate(now.created() - before.created(), period));
    cells.push(rate(now.created(), total));
    let both = |cells: &mut Vec<String>, counter| {
        cells.push((now.get(counter) - before.get(counter)).to_string());
        cells.push(now.get(counter).to_string());
    };
    both(&mut cells, Counter::IncomingCalls);
    both(&mut cells, Counter::OutgoingCalls);
    cells.push(now.created().to_string());
    cells.push(now.current.to_string());
    // A success that is taken back may make the period negative.
    let succeeded = [before.get(Counter::SuccessfulCalls), now.get(Counter::SuccessfulCalls)];
    cells.push(succeeded[1].saturating_sub(succeeded[0]).to_string());
    cells.push(succeeded[1].to_string());
    for counter in FAILURES {
        both(&mut cells, counter);
    }
    cells.extend(["0", "0", "0", "0"].map(String::from));
    for (durations, earlier) in now.response_times.iter().zip(&before.response_times) {
        times(&mut cells, durations, earlier);
    }
    times(&mut cells, &now.call_length, &before.call_length);
    for (count, earlier) in now.generic.iter().zip(&before.generic) {
        cells.push((count - earlier).to_string());
        cells.push(count.to_string());
    }
    for durations in &now.response_times {
        ranges(&mut cells, durations, &scenario.response_time_limits);
    }
    ranges(&mut cells, &now.call_length, &scenario.call_length_limits);
    cells.iter().fold(String::new(), |line, cell| line + cell + delimiter) + "\n"
}

fn times(cells: &mut Vec<String>, durations: &Durations, earlier: &Durations) {
    let period = durations.since(earlier);
    cells.extend([
        clock(period.mean()),
        clock(durations.mean()),
        clock(period.deviation()),
        clock(durations.deviation()),
    ]);
}

fn ranges(cells: &mut Vec<String>, durations: &Durations, limits: &[u32]) {
    cells.push(String::new());
    if !limits.is_empty() {
        cells.extend(durations.ranges.iter().map(u64::to_string));
    }
}

/// A line of `-trace_counts`.
pub fn counts(scenario: &Scenario, stats: &Stats, moment: Moment, delimiter: &str) -> String {
    let mut line = Vec::new();
    timestamp(&mut line, moment.now_unix_micros);
    let mut line = String::from_utf8_lossy(&line).into_owned() + delimiter;
    line += &clock((moment.now_unix_micros - moment.start_unix_micros).max(0) as u64);
    line += delimiter;
    for (step, counts) in scenario.steps.iter().zip(&stats.steps) {
        for column in names::count_columns(step).iter().chain(names::lost_column(scenario, step)) {
            let count = match *column {
                "Sent" | "Recv" | "Sessions" => counts.done,
                "Retrans" => counts.repeated,
                "Timeout" => counts.timeouts,
                "Lost" => counts.lost,
                _ => counts.unexpected,
            };
            line += &format!("{count}{delimiter}");
        }
    }
    line + "\n"
}

/// The least wide number that tells all there is, as C's `%f` without its zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Calls per second over so many microseconds.
pub fn rate(calls: u64, micros: i64) -> String {
    if micros <= 0 { "0".into() } else { number(calls as f64 * 1_000_000.0 / micros as f64) }
}

fn hours(seconds: i64) -> String {
    let seconds = seconds.max(0);
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Microseconds as hours, minutes, seconds and microseconds.
pub fn clock(micros: u64) -> String {
    format!("{}:{:06}", hours(i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX)), micros % 1_000_000)
}

/// Whether the scenario has a step that waits for a call to come.
pub fn has_incoming(scenario: &Scenario) -> bool {
    matches!(scenario.steps.first().map(|step| &step.kind), Some(StepKind::Recv(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{built_in, read::Known, read::read};

    #[test]
    fn every_line_has_the_columns_of_its_header() {
        for built_in in built_in::ALL {
            let (scenario, _) = read(built_in.text.as_bytes(), &Known::default()).expect("it reads");
            let stats = Stats::of(&scenario);
            let moment = Moment { target_rate: 10.0, ..Moment::default() };
            let columns = |line: &str| line.matches(';').count();
            let header = names::statistics_header(&scenario, ";");
            assert_eq!(columns(&header), columns(&statistics(&scenario, &stats, &stats, moment, ";")));
            let header = names::counts_header(&scenario, ";");
            assert_eq!(columns(&header), columns(&counts(&scenario, &stats, moment, ";")));
        }
    }

    #[test]
    fn the_header_is_sipps() {
        let uac = built_in::find("uac").expect("it is there");
        let (scenario, _) = read(uac.text.as_bytes(), &Known::default()).expect("it reads");
        let header = names::statistics_header(&scenario, ";");
        assert!(
            header
                .starts_with("StartTime;LastResetTime;CurrentTime;ElapsedTime(P);ElapsedTime(C);TargetRate;")
        );
        assert!(
            header.contains(
                ";FatalErrors(P);FatalErrors(C);WatchdogMajor(P);WatchdogMajor(C);WatchdogMinor(P);"
            )
        );
        assert!(header.contains(";ResponseTimeRepartition1;ResponseTimeRepartition1_<10;"));
        assert!(header.ends_with(";CallLengthRepartition_<10000;CallLengthRepartition_>=10000;\n"));
        let counts = names::counts_header(&scenario, ";");
        assert!(counts.starts_with(
            "CurrentTime;ElapsedTime;0_INVITE_Sent;0_INVITE_Retrans;0_INVITE_Timeout;1_100_Recv;"
        ));
        assert!(counts.contains(";5_ACK_Sent;5_ACK_Retrans;6_Pause_Sessions;6_Pause_Unexp;7_BYE_Sent;"));
    }
}
