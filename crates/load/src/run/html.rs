//! The results as one HTML page that needs nothing else: the verdict, charts over time, the call flow with its counts.

use super::{
    history::Sample,
    verdict::{Judged, escape},
};
use crate::{
    scenario::Scenario,
    stats::{Counter, Stats, names},
};

/// The drawing area of a chart, and the room for its numbers.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 60.0;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2em auto;padding:0 1em;color:#1b1f24;background:#fff}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.2em .8em;border-bottom:1px solid #d8dee4;text-align:right}\
td:first-child,th:first-child{text-align:left}.good{color:#116329}.bad{color:#a40e26}svg{width:100%;height:auto}\
text{font:12px system-ui,sans-serif;fill:#57606a}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}td,th{border-color:#30363d}\
.good{color:#3fb950}.bad{color:#ff7b72}text{fill:#9198a1}}";

/// What the page tells.
pub struct Page<'a> {
    /// What was run.
    pub scenario: &'a Scenario,
    /// What was counted.
    pub stats: &'a Stats,
    /// How long it took.
    pub seconds: f64,
    /// The thresholds.
    pub judged: &'a [Judged],
    /// How it went.
    pub samples: &'a [Sample],
    /// With what it ended.
    pub exit_code: u8,
}

impl Page<'_> {
    /// Writes it.
    pub fn write(&self) -> String {
        let name = escape(&self.scenario.name);
        let (class, verdict) = if self.exit_code == 0 { ("good", "Passed") } else { ("bad", "Failed") };
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{name}</title><style>{STYLE}</style>\n\
             <h1>{name}</h1>\n<p class=\"{class}\">{verdict}, exit code {}.</p>\n",
            self.exit_code
        );
        page += &self.counts();
        page += &self.thresholds();
        page += &self.charts();
        page += &self.flow();
        page + "</html>\n"
    }

    fn counts(&self) -> String {
        let stats = self.stats;
        let mut rows = vec![
            ("Calls", stats.created().to_string()),
            ("Successful", stats.get(Counter::SuccessfulCalls).to_string()),
            ("Failed", stats.get(Counter::FailedCalls).to_string()),
            ("Most at once", stats.peak.to_string()),
            ("Calls per second", format!("{:.1}", stats.created() as f64 / self.seconds.max(0.001))),
            ("Retransmissions", stats.get(Counter::Retransmissions).to_string()),
            ("Seconds", format!("{:.1}", self.seconds)),
        ];
        if !stats.media.is_empty() {
            let media = &stats.media;
            rows.push(("RTP sent", media.sent.to_string()));
            rows.push(("RTP received", media.received.to_string()));
            rows.push(("RTP lost", format!("{} ({:.2} %)", media.lost, media.loss_percent())));
            rows.push(("Opinion score, least", format!("{:.2}", media.mos.min())));
            rows.push(("Jitter, most", format!("{:.1} ms", media.jitter_ms.max())));
        }
        let rows = rows.iter().map(|(name, value)| format!("<tr><td>{name}<td>{value}\n"));
        format!("<table>\n{}</table>\n", rows.collect::<String>())
    }

    fn thresholds(&self) -> String {
        if self.judged.is_empty() {
            return String::new();
        }
        let rows = self.judged.iter().map(|one| {
            let (class, word) = if one.holds { ("good", "holds") } else { ("bad", "does not hold") };
            format!("<tr><td>{}<td>{:.3}<td class=\"{class}\">{word}\n", escape(&one.text), one.value)
        });
        let head = "<tr><th>Threshold<th>Measured<th>";
        format!("<h2>Thresholds</h2>\n<table>\n{head}\n{}</table>\n", rows.collect::<String>())
    }

    fn charts(&self) -> String {
        if self.samples.len() < 2 {
            return String::new();
        }
        let of = |value: fn(&Sample) -> f64| self.samples.iter().map(value).collect::<Vec<f64>>();
        let charts = [
            ("Calls per second", vec![("begun", of(|one| one.rate)), ("failed", of(|one| one.failed))]),
            ("Calls at once", vec![("under way", of(|one| one.current))]),
            (
                "Setup, ms",
                vec![
                    ("half", of(|one| one.setup_ms[0])),
                    ("95 %", of(|one| one.setup_ms[1])),
                    ("99 %", of(|one| one.setup_ms[2])),
                ],
            ),
        ];
        charts.iter().map(|(title, lines)| self.chart(title, lines)).collect()
    }

    fn chart(&self, title: &str, lines: &[(&str, Vec<f64>)]) -> String {
        const COLOURS: [&str; 3] = ["#0969da", "#bc4c00", "#8250df"];
        let top = lines.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max).max(1e-9);
        let end = self.samples.last().map_or(1.0, |sample| sample.at).max(1e-9);
        let (width, height, foot) = (WIDTH + LEFT + 10.0, HEIGHT + 40.0, HEIGHT + 30.0);
        let mut svg = format!(
            "<h2>{title}</h2>\n<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{title}\">\n"
        );
        for part in 0..=4 {
            let share = f64::from(part) / 4.0;
            let (y, value) = (10.0 + HEIGHT * (1.0 - share), number(top * share));
            svg += &format!("<path d=\"M{LEFT} {y:.1}h{WIDTH}\" stroke=\"#8c959f55\"/>");
            svg += &text(LEFT - 6.0, y + 4.0, "text-anchor=\"end\"", &value);
        }
        for (index, (name, values)) in lines.iter().enumerate() {
            let points = self.samples.iter().zip(values).map(|(sample, value)| {
                let (x, y) = (LEFT + WIDTH * sample.at / end, 10.0 + HEIGHT * (1.0 - value / top));
                format!("{x:.1},{y:.1} ")
            });
            let colour = COLOURS[index % COLOURS.len()];
            let points = points.collect::<String>();
            svg += &format!("<polyline fill=\"none\" stroke=\"{colour}\" points=\"{}\"/>", points.trim_end());
            svg += &text(LEFT + 90.0 * index as f64, foot, &format!("style=\"fill:{colour}\""), name);
        }
        svg += &text(LEFT + WIDTH, foot, "text-anchor=\"end\"", &format!("{} s", number(end)));
        svg + "</svg>\n"
    }

    fn flow(&self) -> String {
        let shown = self.scenario.steps.iter().zip(&self.stats.steps).filter(|(step, _)| !step.hide);
        let rows = shown.map(|(step, counts)| {
            let label = step.display.clone().unwrap_or_else(|| names::step_label(step));
            format!(
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}\n",
                escape(&label),
                counts.done,
                counts.repeated,
                counts.timeouts,
                counts.unexpected
            )
        });
        let head = "<tr><th>Step<th>Done<th>Again<th>Timeouts<th>Unexpected";
        format!("<h2>Call flow</h2>\n<table>\n{head}\n{}</table>\n", rows.collect::<String>())
    }
}

fn text(x: f64, y: f64, attributes: &str, content: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{content}</text>\n")
}

/// With as many digits as tell something.
fn number(value: f64) -> String {
    if value >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{built_in, read::Known, read::read};

    #[test]
    fn the_page_has_the_verdict_the_charts_and_the_flow() {
        let uac = built_in::find("uac").expect("it is there");
        let (scenario, _) = read(uac.text.as_bytes(), &Known::default()).expect("it reads");
        let stats = Stats::of(&scenario);
        let judged = [Judged { text: "failed < 1".into(), value: 0.0, holds: true }];
        let samples = [1.0, 2.0].map(|at| Sample { at, rate: 10.0, ..Sample::default() });
        let page = Page {
            scenario: &scenario,
            stats: &stats,
            seconds: 2.0,
            judged: &judged,
            samples: &samples,
            exit_code: 0,
        };
        let text = page.write();
        assert!(text.contains("failed &lt; 1") && text.contains("INVITE") && text.contains("Passed"));
        assert_eq!((text.matches("<svg").count(), text.matches("<polyline").count()), (3, 6));
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
