//! The elements of a scenario.

use std::collections::HashMap;

use super::{
    actions, ere,
    fault::{Fault, Place},
    model::{Branch, Condition, Expect, Optional, Recv, Scenario, Send, Step, StepKind, Timeout},
    pause::{Distribution, Length},
    read::{self, Attributes, Names},
    template::{self, Template},
    variables::{Scope, VariableId},
    xml::Element,
};

/// All elements of a scenario.
const ELEMENTS: &[&str] = &[
    "send",
    "recv",
    "pause",
    "timewait",
    "nop",
    "sendCmd",
    "recvCmd",
    "label",
    "init",
    "Global",
    "User",
    "Reference",
    "ResponseTimeRepartition",
    "CallLengthRepartition",
];

/// Whether there is an element or action of that name.
pub(super) fn is_known(name: &str) -> bool {
    ELEMENTS.contains(&name) || actions::ACTIONS.contains(&name)
}

/// Most steps: their numbers stand in 16 bits.
const STEPS_MAX: usize = 10_000;

/// Distinct methods that are told apart when responses are matched with what was sent.
const METHODS_MAX: usize = 64;

/// Where labels are, and who named them before they were known.
#[derive(Default)]
struct Labels {
    places: HashMap<String, usize>,
    /// Step, which of its exits, label, place.
    wanted: Vec<(usize, Exit, String, Place)>,
}

#[derive(Clone, Copy)]
enum Exit {
    Next,
    OnTimeout,
}

/// Reads `<scenario>`. Returns what is odd but allowed beside it.
pub(super) fn scenario(root: &Element, mut names: Names<'_>) -> Result<(Scenario, Vec<Fault>), Fault> {
    let mut attributes = Attributes::of(root);
    let name = attributes.text("name").unwrap_or("Unnamed").to_string();
    attributes.finish()?;
    let mut labels = Labels::default();
    let mut init_labels = Labels::default();
    let mut steps = Vec::new();
    let mut init = Vec::new();
    let (mut response_time_limits, mut call_length_limits) = (Vec::new(), Vec::new());
    for element in &root.children {
        match element.name.as_str() {
            "ResponseTimeRepartition" => response_time_limits = limits(element)?,
            "CallLengthRepartition" => call_length_limits = limits(element)?,
            "Global" => read::declare(element, Some(Scope::Global), &mut names)?,
            "User" => read::declare(element, Some(Scope::User), &mut names)?,
            "Reference" => read::declare(element, None, &mut names)?,
            "init" => {
                Attributes::of(element).finish()?;
                for inner in &element.children {
                    if !matches!(inner.name.as_str(), "nop" | "label" | "pause") {
                        let fault =
                            Fault::new(inner.place, format!("<{}> cannot stand in <init>", inner.name));
                        return Err(fault.hint("<nop>, <pause> and <label> can: there is no call yet"));
                    }
                    step_or_label(inner, &mut init, &mut init_labels, &mut names)?;
                }
            }
            _ => step_or_label(element, &mut steps, &mut labels, &mut names)?,
        }
    }
    if steps.is_empty() {
        return Err(Fault::new(root.place, "the scenario does nothing"));
    }
    let unexpected = labels.places.get("_unexp.main").map(|&at| (at, names.variables.find("_unexp.retaddr")));
    join(&mut steps, labels)?;
    join(&mut init, init_labels)?;
    check_order(&steps)?;
    let warnings = names.variables.lonely().map(|(name, place)| {
        let fault = Fault::new(place, format!("variable `{name}` is mentioned only once: is it misspelt?"));
        fault.hint(format!("if not: <Reference variables=\"{name}\"/> at the end"))
    });
    let warnings = warnings.collect();
    let scenario = Scenario {
        name,
        init,
        steps,
        variables: names.variables,
        rtds: names.rtds,
        counters: names.counters,
        transactions: names.transactions,
        methods: names.methods,
        response_time_limits,
        call_length_limits,
        unexpected,
    };
    Ok((scenario, warnings))
}

fn step_or_label(
    element: &Element,
    steps: &mut Vec<Step>,
    labels: &mut Labels,
    names: &mut Names<'_>,
) -> Result<(), Fault> {
    if element.name == "label" {
        let mut attributes = Attributes::of(element);
        let id = attributes.required("id")?;
        attributes.finish()?;
        if labels.places.insert(id.value.clone(), steps.len()).is_some() {
            return Err(Fault::new(id.place, format!("label `{}` is there twice", id.value)));
        }
        return Ok(());
    }
    if steps.len() >= STEPS_MAX {
        return Err(Fault::new(element.place, "the scenario is too long"));
    }
    let number = steps.len();
    steps.push(step(element, number, labels, names)?);
    Ok(())
}

fn step(element: &Element, number: usize, labels: &mut Labels, names: &mut Names<'_>) -> Result<Step, Fault> {
    let mut attributes = Attributes::of(element);
    let kind = match element.name.as_str() {
        "send" => send(element, &mut attributes, number, labels, names)?,
        "recv" => recv(&mut attributes, number, labels, names, element.place)?,
        "pause" | "timewait" => {
            let is_timewait = element.name == "timewait";
            let length = length(&mut attributes, names)?;
            // Kept for what a sanity check would refuse; we draw, and cut what does not fit.
            attributes.flag("sanity_check")?;
            StepKind::Pause { length, is_timewait }
        }
        "nop" => StepKind::Nop,
        "sendCmd" => {
            let (text, skipped) = template::message_text(&element.text)
                .ok_or_else(|| Fault::new(element.place, "<sendCmd> has no text"))?;
            let dest = attributes.text("dest").map(str::to_string);
            StepKind::SendCommand { text: message(element, &text, skipped, names)?, dest }
        }
        "recvCmd" => StepKind::ReceiveCommand { src: attributes.text("src").map(str::to_string) },
        other => return Err(Fault::unknown(element.place, "element", other, ELEMENTS)),
    };
    if !element.text.is_empty() && !matches!(element.name.as_str(), "send" | "sendCmd") {
        return Err(Fault::new(element.text_place, format!("<{}> takes no text", element.name)));
    }
    let step = common(element, kind, &mut attributes, number, labels, names)?;
    attributes.finish()?;
    Ok(step)
}

/// What all steps have.
fn common(
    element: &Element,
    kind: StepKind,
    attributes: &mut Attributes<'_>,
    number: usize,
    labels: &mut Labels,
    names: &mut Names<'_>,
) -> Result<Step, Fault> {
    let condition = match attributes.take("condexec") {
        Some(attribute) => Some(Condition {
            variable: names.variable(attribute.value.trim(), attribute.place)?,
            inverse: attributes.flag("condexec_inverse")?,
        }),
        None if attributes.flag("condexec_inverse")? => {
            return Err(Fault::new(element.place, "`condexec_inverse` without `condexec`"));
        }
        None => None,
    };
    let test = attributes
        .take("test")
        .map(|attribute| names.variable(attribute.value.trim(), attribute.place))
        .transpose()?;
    let chance = attributes.number("chance")?;
    let next = attributes.take("next").map(|attribute| {
        labels.wanted.push((number, Exit::Next, attribute.value.clone(), attribute.place));
        Branch { to: 0, test, chance_ppm: parts(chance.unwrap_or(1.0), 1.0) }
    });
    if next.is_none() && (test.is_some() || chance.is_some()) {
        return Err(Fault::new(element.place, "`test` and `chance` decide about a `next` that is missing"));
    }
    let list = |name, into: &mut Vec<String>, attributes: &mut Attributes<'_>| match attributes.take(name) {
        None => Ok(Vec::new()),
        Some(attribute) => {
            let names = attribute.value.split(',').map(str::trim).filter(|name| *name != "false");
            // `true` is the first one's old name.
            let names = names.map(|name| if name == "true" { "1" } else { name });
            names.map(|name| read::number(into, name, attribute.place)).collect::<Result<Vec<_>, _>>()
        }
    };
    let start_rtd = list("start_rtd", &mut names.rtds, attributes)?;
    let stop_rtd = list("rtd", &mut names.rtds, attributes)?;
    let counters = list("counter", &mut names.counters, attributes)?;
    let lost_ppm = match &kind {
        StepKind::Send(_) | StepKind::Recv(_) => {
            attributes.number("lost")?.map(|percent| parts(percent, 100.0))
        }
        _ => None,
    };
    let mut found = Vec::new();
    for child in &element.children {
        match child.name.as_str() {
            "action" => {
                Attributes::of(child).finish()?;
                for action in &child.children {
                    found.push(actions::action(action, names)?);
                }
            }
            other => {
                return Err(Fault::unknown(
                    child.place,
                    &format!("element in <{}>", element.name),
                    other,
                    &["action"],
                ));
            }
        }
    }
    Ok(Step {
        kind,
        place: element.place,
        condition,
        next,
        start_rtd,
        stop_rtd,
        repeat_rtd: attributes.flag("repeat_rtd")?,
        counters,
        crlf: attributes.flag("crlf")?,
        hide: attributes.flag("hide")?,
        display: attributes.text("display").map(str::to_string),
        actions: found,
        lost_ppm,
    })
}

/// Parts in a million of `number`, where `whole` is all.
fn parts(number: f64, whole: f64) -> u32 {
    (number / whole * 1_000_000.0).clamp(0.0, 1_000_000.0) as u32
}

fn send(
    element: &Element,
    attributes: &mut Attributes<'_>,
    number: usize,
    labels: &mut Labels,
    names: &mut Names<'_>,
) -> Result<StepKind, Fault> {
    let Some((text, skipped)) = template::message_text(&element.text) else {
        return Err(Fault::new(element.place, "<send> has no message")
            .hint("the message stands in <![CDATA[ ... ]]>"));
    };
    let first: Vec<&[u8]> = text.splitn(3, |octet| octet.is_ascii_whitespace()).collect();
    let word = |at: usize| first.get(at).map(|word| String::from_utf8_lossy(word).into_owned());
    let is_response = word(0).is_some_and(|word| word.starts_with("SIP/"));
    let label = word(usize::from(is_response)).unwrap_or_default();
    let method = (!is_response).then(|| label.clone());
    if let Some(method) = &method {
        let at = read::number(&mut names.methods, method, element.place)?;
        if at >= METHODS_MAX {
            return Err(Fault::new(element.place, "the scenario sends too many methods"));
        }
    }
    let retrans_ms = attributes.number("retrans")?.map(|ms| ms as u64).filter(|ms| *ms > 0);
    let on_timeout = on_timeout(attributes, number, labels);
    let start_txn = transaction(attributes, "start_txn", names)?;
    let ack_txn = transaction(attributes, "ack_txn", names)?;
    let text = message(element, &text, skipped, names)?;
    Ok(StepKind::Send(Box::new(Send { text, method, label, retrans_ms, on_timeout, start_txn, ack_txn })))
}

/// The segments of a message; a fault is told where it stands in the file.
fn message(element: &Element, text: &[u8], skipped: usize, names: &mut Names<'_>) -> Result<Template, Fault> {
    let start = Place { line: 1, column: 1 };
    Template::compile(text, start, names).map_err(|fault| {
        let raw = &element.text[skipped..];
        let line = raw.split(|&octet| octet == b'\n').nth(fault.place.line as usize - 1).unwrap_or_default();
        let indent = line.iter().take_while(|octet| octet.is_ascii_whitespace()).count();
        let before = template::moved(element.text_place, &element.text[..skipped]);
        let column = fault.place.column + u32::try_from(indent).unwrap_or(0);
        let place = if fault.place.line == 1 {
            Place { line: before.line, column: before.column + column - 1 }
        } else {
            Place { line: before.line + fault.place.line - 1, column }
        };
        Fault { place, ..fault }
    })
}

fn transaction(
    attributes: &mut Attributes<'_>,
    name: &'static str,
    names: &mut Names<'_>,
) -> Result<Option<usize>, Fault> {
    let attribute = attributes.take(name);
    attribute.map(|given| read::number(&mut names.transactions, given.value.trim(), given.place)).transpose()
}

/// A marker that [`join`] replaces; `None` if there is no label to go to.
fn on_timeout(attributes: &mut Attributes<'_>, number: usize, labels: &mut Labels) -> Option<usize> {
    let attribute = attributes.take("ontimeout")?;
    labels.wanted.push((number, Exit::OnTimeout, attribute.value.clone(), attribute.place));
    Some(0)
}

fn recv(
    attributes: &mut Attributes<'_>,
    number: usize,
    labels: &mut Labels,
    names: &mut Names<'_>,
    place: Place,
) -> Result<StepKind, Fault> {
    let is_regexp = attributes.flag("regexp_match")?;
    let expect = match (attributes.take("request"), attributes.take("response")) {
        (Some(request), None) if is_regexp => {
            let pattern = request.value.trim();
            let regex = ere::compile(pattern).map_err(|error| Fault::new(request.place, error))?;
            Expect::Matching(pattern.into(), regex)
        }
        (Some(request), None) => Expect::Request(request.value.trim().into()),
        (None, Some(response)) => {
            let code = response.value.trim().parse().ok().filter(|code| (100..=999).contains(code));
            Expect::Response(code.ok_or_else(|| {
                Fault::new(response.place, format!("`{}` is no status code", response.value))
                    .hint("a number from 100 to 699, such as 200")
            })?)
        }
        (Some(_), Some(response)) => {
            return Err(Fault::new(response.place, "<recv> takes a `request` or a `response`, not both"));
        }
        (None, None) => {
            return Err(Fault::new(place, "<recv> needs a `request` or a `response`"));
        }
    };
    let optional = match attributes.take("optional") {
        Some(attribute) if attribute.value.trim() == "global" => Optional::Global,
        Some(attribute) if read::truth(attribute)? => Optional::Yes,
        _ => Optional::No,
    };
    let timeout = match (attributes.number("timeout")?, attributes.take("timeout_variable")) {
        (Some(ms), None) => Timeout::Fixed(ms as u64),
        (None, Some(variable)) => Timeout::Variable(names.variable(variable.value.trim(), variable.place)?),
        (None, None) => Timeout::Default,
        (Some(_), Some(variable)) => {
            return Err(Fault::new(variable.place, "`timeout` and `timeout_variable` exclude each other"));
        }
    };
    let on_timeout = on_timeout(attributes, number, labels);
    let response_txn = transaction(attributes, "response_txn", names)?;
    let methods = match names.methods.len() {
        METHODS_MAX.. => u64::MAX,
        count => (1_u64 << count) - 1,
    };
    Ok(StepKind::Recv(Box::new(Recv {
        expect,
        optional,
        timeout,
        on_timeout,
        rrs: attributes.flag("rrs")?,
        auth: attributes.flag("auth")?,
        ignore_sdp: attributes.flag("ignoresdp")?,
        response_txn,
        methods,
    })))
}

/// `milliseconds`, `variable`, or a distribution.
pub(super) fn length(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Length, Fault> {
    const DISTRIBUTIONS: &[&str] =
        &["fixed", "uniform", "normal", "lognormal", "exponential", "weibull", "pareto", "gamma", "negbin"];
    if let Some(ms) = attributes.number("milliseconds")? {
        return Ok(Length::Fixed(ms.max(0.0)));
    }
    if let Some(variable) = attributes.take("variable") {
        let id: VariableId = names.variable(variable.value.trim(), variable.place)?;
        return Ok(Length::Variable(id));
    }
    let Some(distribution) = attributes.take("distribution") else {
        // Early scenarios wrote a uniform pause so.
        return match (attributes.number("min")?, attributes.number("max")?) {
            (Some(min), Some(max)) => Ok(Length::Drawn(Distribution::Uniform { min, max })),
            _ => Ok(Length::Default),
        };
    };
    let mut take = |name| attributes.required_number(name);
    let drawn = match distribution.value.as_str() {
        "fixed" => return Ok(Length::Fixed(take("value")?)),
        "uniform" => Distribution::Uniform { min: take("min")?, max: take("max")? },
        "normal" => Distribution::Normal { mean: take("mean")?, stdev: take("stdev")? },
        "lognormal" => Distribution::LogNormal { mean: take("mean")?, stdev: take("stdev")? },
        "exponential" => Distribution::Exponential { mean: take("mean")? },
        "weibull" => Distribution::Weibull { lambda: take("lambda")?, k: take("k")? },
        "pareto" => Distribution::Pareto { k: take("k")?, x_m: take("x_m")? },
        "gamma" => Distribution::Gamma { k: take("k")?, theta: take("theta")? },
        "negbin" => Distribution::NegativeBinomial { p: take("p")?, n: take("n")? },
        other => return Err(Fault::unknown(distribution.place, "distribution", other, DISTRIBUTIONS)),
    };
    Ok(Length::Drawn(drawn))
}

fn limits(element: &Element) -> Result<Vec<u32>, Fault> {
    let mut attributes = Attributes::of(element);
    let list = attributes.required("value")?;
    attributes.finish()?;
    let number = |text: &str| {
        text.trim().parse::<u32>().map_err(|_| {
            Fault::new(list.place, format!("`{}` is no whole number of milliseconds", text.trim()))
        })
    };
    list.value.split(',').filter(|text| !text.trim().is_empty()).map(number).collect()
}

/// Puts the steps in place of the labels that named them.
fn join(steps: &mut [Step], labels: Labels) -> Result<(), Fault> {
    let known: Vec<&str> = {
        let mut known: Vec<&str> = labels.places.keys().map(String::as_str).collect();
        known.sort_unstable();
        known
    };
    for (step, exit, label, place) in &labels.wanted {
        let Some(&to) = labels.places.get(label) else {
            return Err(Fault::unknown(*place, "label", label, &known));
        };
        let step = &mut steps[*step];
        match (exit, &mut step.kind) {
            (Exit::Next, _) => {
                if let Some(next) = &mut step.next {
                    next.to = to;
                }
            }
            (Exit::OnTimeout, StepKind::Send(send)) => send.on_timeout = Some(to),
            (Exit::OnTimeout, StepKind::Recv(recv)) => recv.on_timeout = Some(to),
            (Exit::OnTimeout, _) => {}
        }
    }
    Ok(())
}

/// What can never work is told before the first call.
fn check_order(steps: &[Step]) -> Result<(), Fault> {
    if let Some(last) = steps.last()
        && let StepKind::Recv(recv) = &last.kind
        && recv.optional == Optional::Yes
    {
        return Err(Fault::new(last.place, "the last <recv> is optional: the call would wait for ever")
            .hint("a run of optional ones must end with one that is not"));
    }
    Ok(())
}
