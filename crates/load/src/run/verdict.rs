//! The verdict: thresholds, and results that a build can read.

use crate::{
    media::{MediaTotals, Spread},
    scenario::Scenario,
    stats::{Counter, Durations, Stats},
};

/// A threshold: `failed == 0`, `rtd1.p99 < 50ms`.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    metric: String,
    comparison: &'static str,
    value: f64,
}

/// Names that a threshold may compare, besides those of response times.
pub const METRICS: &[&str] = &[
    "calls",
    "successful",
    "failed",
    "failed_percent",
    "retransmissions",
    "unexpected",
    "timeouts",
    "warnings",
    "rate",
    "peak",
    "setup.mean",
    "setup.p50",
    "setup.p95",
    "setup.p99",
    "setup.max",
    "length.mean",
    "length.p99",
    "rtp_sent",
    "rtp_received",
    "rtp_lost",
    "rtp_loss_percent",
    "rtp_undecrypted",
    "streams",
    "mos.min",
    "mos.mean",
    "jitter.mean",
    "jitter.max",
    "level.min",
    "level.mean",
    "level.max",
    "pattern.min",
    "pattern.mean",
];

/// Whether a threshold asks about received media.
pub fn is_about_media(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["rtp_received", "rtp_lo", "rtp_un", "streams", "mos.", "jitter.", "level.", "pattern."];
    WORDS.iter().any(|word| text.trim_start().starts_with(word))
}

/// What a response time has: `rtd1.p99`.
const STATISTICS: &[&str] = &["mean", "p50", "p95", "p99", "max"];

impl Threshold {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, scenario: &Scenario) -> Result<Self, String> {
        const COMPARISONS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];
        let refuse = |why: String| format!("--require '{text}': {why}");
        let found = COMPARISONS
            .into_iter()
            .find_map(|sign| text.split_once(sign).map(|(left, right)| (left, sign, right)));
        let (metric, comparison, value) =
            found.ok_or_else(|| refuse("there is no comparison\nhint: such as 'failed == 0'".into()))?;
        let metric = metric.trim().to_string();
        let is_rtd =
            metric.strip_prefix("rtd").and_then(|rest| rest.rsplit_once('.')).is_some_and(|(name, part)| {
                scenario.rtds.iter().any(|known| known == name) && STATISTICS.contains(&part)
            });
        if !is_rtd && !METRICS.contains(&metric.as_str()) {
            let near = crate::scenario::fault::nearest(&metric, METRICS);
            let hint = near.map_or_else(
                || format!("known are {}", METRICS.join(", ")),
                |near| format!("did you mean {near}?"),
            );
            return Err(refuse(format!("unknown metric `{metric}`\nhint: {hint}")));
        }
        if metric.starts_with("setup") && scenario.rtds.is_empty() {
            return Err(refuse(
                "the scenario measures no response time\nhint: add rtd=\"true\" to a <recv>".into(),
            ));
        }
        let value = value.trim();
        let digits =
            value.find(|letter: char| letter.is_ascii_alphabetic() || letter == '%').unwrap_or(value.len());
        let unit = match value[digits..].trim() {
            "" | "ms" | "%" => 1.0,
            "us" => 0.001,
            "s" => 1000.0,
            other => return Err(refuse(format!("unknown unit `{other}`\nhint: us, ms, s"))),
        };
        let number: f64 =
            value[..digits].trim().parse().map_err(|_| refuse(format!("`{value}` is no number")))?;
        Ok(Self { text: text.trim().into(), metric, comparison, value: number * unit })
    }

    /// The value it looks at, and whether it holds.
    pub fn judge(&self, scenario: &Scenario, stats: &Stats, seconds: f64) -> (f64, bool) {
        let value = metric(&self.metric, scenario, stats, seconds);
        let holds = match self.comparison {
            "==" => (value - self.value).abs() < f64::EPSILON,
            "!=" => (value - self.value).abs() >= f64::EPSILON,
            "<=" => value <= self.value,
            ">=" => value >= self.value,
            "<" => value < self.value,
            _ => value > self.value,
        };
        (value, holds)
    }

    /// As it was asked for.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn metric(name: &str, scenario: &Scenario, stats: &Stats, seconds: f64) -> f64 {
    let count = |counter| stats.get(counter) as f64;
    let steps =
        |value: fn(&crate::stats::StepCounts) -> u64| stats.steps.iter().map(value).sum::<u64>() as f64;
    let (failed, good) = (count(Counter::FailedCalls), count(Counter::SuccessfulCalls));
    let media = &stats.media;
    match name {
        "calls" => stats.created() as f64,
        "successful" => good,
        "failed" => failed,
        "failed_percent" => 100.0 * failed / (failed + good).max(1.0),
        "retransmissions" => count(Counter::Retransmissions),
        "unexpected" => steps(|step| step.unexpected),
        "timeouts" => steps(|step| step.timeouts),
        "warnings" => count(Counter::Warnings),
        "rate" => stats.created() as f64 / seconds.max(0.001),
        "peak" => stats.peak as f64,
        "rtp_sent" => media.sent as f64,
        "rtp_received" => media.received as f64,
        "rtp_lost" => media.lost as f64,
        "rtp_loss_percent" => media.loss_percent(),
        "rtp_undecrypted" => media.undecrypted as f64,
        "streams" => media.streams as f64,
        "mos.min" => media.mos.min(),
        "mos.mean" => media.mos.mean(),
        "jitter.mean" => media.jitter_ms.mean(),
        "jitter.max" => media.jitter_ms.max(),
        "level.min" => media.level_dbm0.min(),
        "level.mean" => media.level_dbm0.mean(),
        "level.max" => media.level_dbm0.max(),
        "pattern.min" => media.pattern_percent.min(),
        "pattern.mean" => media.pattern_percent.mean(),
        _ => {
            let Some((what, part)) = name.rsplit_once('.') else { return 0.0 };
            let times = match what {
                // The first response time is what SIPp's scenarios measure the setup by.
                "setup" => stats.response_times.first(),
                "length" => Some(&stats.call_length),
                _ => {
                    let at = scenario
                        .rtds
                        .iter()
                        .position(|known| Some(known.as_str()) == what.strip_prefix("rtd"));
                    at.and_then(|at| stats.response_times.get(at))
                }
            };
            times.map_or(0.0, |times| statistic(times, part))
        }
    }
}

/// In ms.
fn statistic(times: &Durations, part: &str) -> f64 {
    let micros = match part {
        "mean" => times.mean(),
        "p50" => times.percentile(0.5),
        "p95" => times.percentile(0.95),
        "p99" => times.percentile(0.99),
        _ => times.max(),
    };
    micros as f64 / 1000.0
}

/// What came of a threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// As it was asked for.
    pub text: String,
    /// What was measured.
    pub value: f64,
    /// Whether it holds.
    pub holds: bool,
}

/// The results as JSON.
pub fn json(scenario: &Scenario, stats: &Stats, seconds: f64, judged: &[Judged], exit_code: u8) -> String {
    let count = |counter| stats.get(counter);
    let times = |name: &str, times: &Durations| {
        let parts: Vec<String> =
            STATISTICS.iter().map(|part| format!("\"{part}_ms\": {:.3}", statistic(times, part))).collect();
        format!("{}: {{\"count\": {}, {}}}", quote(name), times.count, parts.join(", "))
    };
    let rtds: Vec<String> =
        scenario.rtds.iter().zip(&stats.response_times).map(|(name, rtd)| times(name, rtd)).collect();
    let steps: Vec<String> = scenario
        .steps
        .iter()
        .zip(&stats.steps)
        .map(|(step, counts)| {
            format!(
                "{{\"step\": {}, \"count\": {}, \"repeated\": {}, \"timeouts\": {}, \"unexpected\": {}, \"lost\": {}}}",
                quote(&crate::stats::names::step_label(step)),
                counts.done,
                counts.repeated,
                counts.timeouts,
                counts.unexpected,
                counts.lost
            )
        })
        .collect();
    let thresholds: Vec<String> = judged
        .iter()
        .map(|one| {
            format!(
                "{{\"require\": {}, \"value\": {}, \"holds\": {}}}",
                quote(&one.text),
                one.value,
                one.holds
            )
        })
        .collect();
    format!(
        "{{\n  \"scenario\": {},\n  \"seconds\": {seconds:.3},\n  \"exit_code\": {exit_code},\n  \"calls\": {{\"incoming\": {}, \"outgoing\": {}, \"successful\": {}, \"failed\": {}, \"peak\": {}}},\n  \"retransmissions\": {},\n  \"response_times\": {{{}}},\n  \"call_length\": {{{}}},\n  \"media\": {{{}}},\n  \"steps\": [\n    {}\n  ],\n  \"thresholds\": [{}]\n}}\n",
        quote(&scenario.name),
        count(Counter::IncomingCalls),
        count(Counter::OutgoingCalls),
        count(Counter::SuccessfulCalls),
        count(Counter::FailedCalls),
        stats.peak,
        count(Counter::Retransmissions),
        rtds.join(", "),
        times("all", &stats.call_length),
        media_json(&stats.media),
        steps.join(",\n    "),
        thresholds.join(", "),
    )
}

fn media_json(media: &MediaTotals) -> String {
    let spread = |name: &str, spread: &Spread| {
        let (min, mean, max) = (spread.min(), spread.mean(), spread.max());
        format!("\"{name}\": {{\"min\": {min:.3}, \"mean\": {mean:.3}, \"max\": {max:.3}}}")
    };
    let counts = [
        ("sent", media.sent),
        ("sent_octets", media.sent_octets),
        ("echoed", media.echoed),
        ("received", media.received),
        ("streams", media.streams),
        ("expected", media.expected),
        ("lost", media.lost),
        ("late", media.late),
        ("duplicates", media.duplicates),
        ("unsent", media.unsent),
        ("undecrypted", media.undecrypted),
    ];
    let mut parts: Vec<String> = counts.iter().map(|(name, count)| format!("\"{name}\": {count}")).collect();
    parts.push(spread("mos", &media.mos));
    parts.push(spread("jitter_ms", &media.jitter_ms));
    parts.push(spread("level_dbm0", &media.level_dbm0));
    parts.push(spread("pattern_percent", &media.pattern_percent));
    parts.join(", ")
}

fn quote(text: &str) -> String {
    let mut result = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => result.extend(['\\', letter]),
            letter if letter < ' ' => result += &format!("\\u{:04x}", letter as u32),
            letter => result.push(letter),
        }
    }
    result + "\""
}

/// The verdict as JUnit XML: one case for the calls, one for each threshold.
pub fn junit(scenario: &Scenario, stats: &Stats, seconds: f64, judged: &[Judged]) -> String {
    let failed = stats.get(Counter::FailedCalls);
    let mut cases =
        vec![("calls succeed".to_string(), (failed > 0).then(|| format!("{failed} calls failed")))];
    for one in judged {
        let broken = (!one.holds).then(|| format!("it is {}", one.value));
        cases.push((one.text.clone(), broken));
    }
    let failures = cases.iter().filter(|(_, failure)| failure.is_some()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" time=\"{seconds:.3}\">\n",
        escape(&scenario.name),
        cases.len()
    );
    for (name, failure) in cases {
        let name = escape(&name);
        text += &match failure {
            None => format!("  <testcase classname=\"offhook.load\" name=\"{name}\"/>\n"),
            Some(why) => format!(
                "  <testcase classname=\"offhook.load\" name=\"{name}\"><failure message=\"{}\"/></testcase>\n",
                escape(&why)
            ),
        };
    }
    text + "</testsuite>\n"
}

/// Text as HTML and XML take it.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{built_in, read::Known, read::read};

    #[test]
    fn thresholds_are_read_and_judged() {
        let uac = built_in::find("uac").expect("it is there");
        let (scenario, _) = read(uac.text.as_bytes(), &Known::default()).expect("it reads");
        let mut stats = Stats::of(&scenario);
        stats.add(Counter::FailedCalls, 1);
        stats.add(Counter::SuccessfulCalls, 99);
        stats.response_times[0].record(40_000);
        let holds =
            |text: &str| Threshold::parse(text, &scenario).expect(text).judge(&scenario, &stats, 10.0).1;
        assert!(!holds("failed == 0") && holds("failed <= 1") && holds("failed_percent < 2%"));
        assert!(holds("setup.p99 < 50ms") && !holds("rtd1.max < 30ms") && holds("rtd1.mean < 0.05s"));
        for (text, word) in [
            ("faild == 0", "did you mean failed?"),
            ("failed", "no comparison"),
            ("rtd9.p99 < 1", "unknown"),
            ("failed < x", "unit"),
        ] {
            let said = Threshold::parse(text, &scenario).expect_err(text);
            assert!(said.contains(word), "{text}: {said}");
        }
        let judged = [Judged { text: "failed == 0".into(), value: 1.0, holds: false }];
        assert!(junit(&scenario, &stats, 1.0, &judged).contains("failures=\"2\""));
        assert!(json(&scenario, &stats, 1.0, &judged, 1).contains("\"failed\": 1"));
    }
}
