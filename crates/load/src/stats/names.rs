//! The columns of SIPp's statistics files.

use crate::scenario::{
    Scenario,
    model::{Step, StepKind},
};

/// The counters that have a (P) and a (C) column each, in SIPp's order from `FailedCall` on.
pub const FAILURES: [&str; 24] = [
    "FailedCall",
    "FailedCannotSendMessage",
    "FailedMaxUDPRetrans",
    "FailedTcpConnect",
    "FailedTcpClosed",
    "FailedUnexpectedMessage",
    "FailedCallRejected",
    "FailedCmdNotSent",
    "FailedRegexpDoesntMatch",
    "FailedRegexpShouldntMatch",
    "FailedRegexpHdrNotFound",
    "FailedOutboundCongestion",
    "FailedTimeoutOnRecv",
    "FailedTimeoutOnSend",
    "FailedTestDoesntMatch",
    "FailedTestShouldntMatch",
    "FailedStrcmpDoesntMatch",
    "FailedStrcmpShouldntMatch",
    "OutOfCallMsgs",
    "DeadCallMsgs",
    "Retransmissions",
    "AutoAnswered",
    "Warnings",
    "FatalErrors",
];

/// The header line of `-trace_stat`; `delimiter` stands after each column.
pub fn statistics_header(scenario: &Scenario, delimiter: &str) -> String {
    let mut columns: Vec<String> = [
        "StartTime",
        "LastResetTime",
        "CurrentTime",
        "ElapsedTime(P)",
        "ElapsedTime(C)",
        "TargetRate",
        "CallRate(P)",
        "CallRate(C)",
        "IncomingCall(P)",
        "IncomingCall(C)",
        "OutgoingCall(P)",
        "OutgoingCall(C)",
        "TotalCallCreated",
        "CurrentCall",
        "SuccessfulCall(P)",
        "SuccessfulCall(C)",
    ]
    .map(String::from)
    .to_vec();
    let mut both = |name: &str| columns.extend([format!("{name}(P)"), format!("{name}(C)")]);
    FAILURES.iter().for_each(|name| both(name));
    both("WatchdogMajor");
    both("WatchdogMinor");
    for rtd in &scenario.rtds {
        both(&format!("ResponseTime{rtd}"));
        both(&format!("ResponseTime{rtd}StDev"));
    }
    both("CallLength");
    both("CallLengthStDev");
    for counter in &scenario.counters {
        let is_number = counter.bytes().all(|octet| octet.is_ascii_digit());
        both(&if is_number { format!("GenericCounter{counter}") } else { counter.clone() });
    }
    for rtd in &scenario.rtds {
        ranges(&mut columns, &format!("ResponseTimeRepartition{rtd}"), &scenario.response_time_limits);
    }
    ranges(&mut columns, "CallLengthRepartition", &scenario.call_length_limits);
    columns.iter().fold(String::new(), |line, column| line + column + delimiter) + "\n"
}

fn ranges(columns: &mut Vec<String>, name: &str, limits: &[u32]) {
    columns.push(name.into());
    columns.extend(limits.iter().map(|limit| format!("{name}_<{limit}")));
    columns.extend(limits.last().map(|limit| format!("{name}_>={limit}")));
}

/// The header line of `-trace_counts`.
pub fn counts_header(scenario: &Scenario, delimiter: &str) -> String {
    let mut line = format!("CurrentTime{delimiter}ElapsedTime{delimiter}");
    for (index, step) in scenario.steps.iter().enumerate() {
        let label = step_label(step);
        for column in count_columns(step).iter().chain(lost_column(scenario, step)) {
            line += &format!("{index}_{label}_{column}{delimiter}");
        }
    }
    line + "\n"
}

/// The columns of a step in `-trace_counts`.
pub fn count_columns(step: &Step) -> &'static [&'static str] {
    match &step.kind {
        StepKind::Send(send) if send.retrans_ms.is_some() => &["Sent", "Retrans", "Timeout"],
        StepKind::Send(_) => &["Sent", "Retrans"],
        StepKind::Recv(_) => &["Recv", "Retrans", "Timeout", "Unexp"],
        StepKind::Pause { .. } => &["Sessions", "Unexp"],
        StepKind::SendCommand { .. } => &["Sent"],
        StepKind::ReceiveCommand { .. } => &["Recv", "Timeout"],
        StepKind::Nop => &[],
    }
}

/// One more column of every message, as soon as the scenario loses any.
pub fn lost_column(scenario: &Scenario, step: &Step) -> Option<&'static &'static str> {
    let is_message = matches!(step.kind, StepKind::Send(_) | StepKind::Recv(_));
    (is_message && scenario.steps.iter().any(|step| step.lost_ppm.is_some())).then_some(&"Lost")
}

/// What files call a step.
pub fn step_label(step: &Step) -> String {
    match &step.kind {
        StepKind::Send(send) => send.label.clone(),
        StepKind::Recv(recv) => recv.expect.label(),
        StepKind::Pause { .. } => "Pause".into(),
        StepKind::SendCommand { .. } => "SendCmd".into(),
        StepKind::ReceiveCommand { .. } => "RecvCmd".into(),
        StepKind::Nop => step.display.clone().unwrap_or_else(|| "NOP".into()),
    }
}
