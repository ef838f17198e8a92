//! The actions of a scenario.

use super::{
    elements, ere,
    fault::Fault,
    media,
    model::{
        Action, Check, Compare, Comparison, Ereg, InternalCommand, MediaAction, Operand, Operation, Search,
        SetDestination, Test, VerifyAuthentication,
    },
    read::{Attributes, Names},
    template::Template,
    variables::VariableId,
    xml::Element,
};

pub(super) const ACTIONS: &[&str] = &[
    "ereg",
    "log",
    "warning",
    "error",
    "assign",
    "assignstr",
    "add",
    "subtract",
    "multiply",
    "divide",
    "todouble",
    "sample",
    "test",
    "strcmp",
    "jump",
    "gettimeofday",
    "setdest",
    "closecon",
    "verifyauth",
    "urlencode",
    "urldecode",
    "lookup",
    "insert",
    "replace",
    "exec",
    "trim",
    "rtp_echo",
];

/// SIPp has these; here they are refused, with the reason.
const UNSUPPORTED: &[(&str, &str)] = &[("setuserid", "-users gives each call its user")];

/// Reads one action.
pub(super) fn action(element: &Element, names: &mut Names<'_>) -> Result<Action, Fault> {
    let mut owned = Attributes::of(element);
    let attributes = &mut owned;
    let action = match element.name.as_str() {
        "ereg" => ereg(element, attributes, names)?,
        "log" => Action::Log(text(attributes, "message", names)?),
        "warning" => Action::Warning(text(attributes, "message", names)?),
        "error" => Action::Error(text(attributes, "message", names)?),
        "assignstr" => Action::AssignString(to(attributes, names)?, text(attributes, "value", names)?),
        "assign" => arithmetic(Operation::Assign, attributes, names)?,
        "add" => arithmetic(Operation::Add, attributes, names)?,
        "subtract" => arithmetic(Operation::Subtract, attributes, names)?,
        "multiply" => arithmetic(Operation::Multiply, attributes, names)?,
        "divide" => arithmetic(Operation::Divide, attributes, names)?,
        "todouble" => Action::ToDouble(to(attributes, names)?, variable(attributes, "variable", names)?),
        "sample" => Action::Sample(to(attributes, names)?, elements::length(attributes, names)?),
        "test" => test(attributes, names)?,
        "strcmp" => Action::Compare(Box::new(Compare {
            to: optional_to(attributes, names)?,
            variable: variable(attributes, "variable", names)?,
            value: text(attributes, "value", names)?,
            check: check(attributes)?,
        })),
        "jump" => Action::Jump(operand(attributes, names)?),
        "gettimeofday" => time_of_day(attributes, names)?,
        "setdest" => Action::SetDestination(Box::new(SetDestination {
            host: text(attributes, "host", names)?,
            port: text(attributes, "port", names)?,
            protocol: text(attributes, "protocol", names)?,
        })),
        "closecon" => Action::CloseConnection,
        "verifyauth" => Action::VerifyAuthentication(Box::new(VerifyAuthentication {
            to: to(attributes, names)?,
            username: text(attributes, "username", names)?,
            password: text(attributes, "password", names)?,
        })),
        "trim" => Action::Trim(to(attributes, names)?),
        "urlencode" => Action::UrlEncode(variable(attributes, "variable", names)?),
        "urldecode" => Action::UrlDecode(variable(attributes, "variable", names)?),
        "lookup" => Action::Lookup {
            to: to(attributes, names)?,
            file: file(attributes, names)?,
            key: text(attributes, "key", names)?,
        },
        "insert" => {
            Action::Insert { file: file(attributes, names)?, value: text(attributes, "value", names)? }
        }
        "replace" => Action::Replace {
            file: file(attributes, names)?,
            line: text(attributes, "line", names)?,
            value: text(attributes, "value", names)?,
        },
        "rtp_echo" => Action::Media(MediaAction::Echo(attributes.required_number("value")? != 0.0)),
        "exec" => exec(attributes, names)?,
        other => {
            return Err(match UNSUPPORTED.iter().find(|(name, _)| *name == other) {
                Some((_, reason)) => {
                    Fault::new(element.place, format!("unsupported action <{other}>")).hint(*reason)
                }
                None => Fault::unknown(element.place, "action", other, ACTIONS),
            });
        }
    };
    if let Some(child) = element.children.first() {
        return Err(Fault::new(child.place, format!("<{}> takes no elements", element.name)));
    }
    owned.finish()?;
    Ok(action)
}

pub(super) fn text(
    attributes: &mut Attributes<'_>,
    name: &'static str,
    names: &mut Names<'_>,
) -> Result<Template, Fault> {
    let attribute = attributes.required(name)?;
    Template::compile(attribute.value.as_bytes(), attribute.value_place, names)
}

fn variable(
    attributes: &mut Attributes<'_>,
    name: &'static str,
    names: &mut Names<'_>,
) -> Result<VariableId, Fault> {
    let attribute = attributes.required(name)?;
    names.variable(attribute.value.trim(), attribute.place)
}

fn to(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<VariableId, Fault> {
    variable(attributes, "assign_to", names)
}

fn optional_to(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Option<VariableId>, Fault> {
    let attribute = attributes.take("assign_to");
    attribute.map(|attribute| names.variable(attribute.value.trim(), attribute.place)).transpose()
}

/// The name of an injection file that is there.
fn file(attributes: &mut Attributes<'_>, names: &Names<'_>) -> Result<String, Fault> {
    let attribute = attributes.required("file")?;
    let number = names.file(Some(&attribute.value), attribute.place)?;
    Ok(names.known.files[number].clone())
}

fn operand(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Operand, Fault> {
    match attributes.take("variable") {
        Some(attribute) => names.variable(attribute.value.trim(), attribute.place).map(Operand::Variable),
        None => attributes.required_number("value").map(Operand::Value),
    }
}

fn arithmetic(
    operation: Operation,
    attributes: &mut Attributes<'_>,
    names: &mut Names<'_>,
) -> Result<Action, Fault> {
    let to = to(attributes, names)?;
    let value = attributes.take("value");
    let operand = operand(attributes, names)?;
    if let (Operation::Divide, Operand::Value(0.0), Some(value)) = (operation, operand, value) {
        return Err(Fault::new(value.place, "nothing can be divided by zero"));
    }
    Ok(Action::Arithmetic(to, operation, operand))
}

fn check(attributes: &mut Attributes<'_>) -> Result<Check, Fault> {
    let must_hold = attributes.flag("check_it")?;
    let inverse = attributes.take("check_it_inverse");
    let must_not_hold = attributes.flag("check_it_inverse")?;
    match (must_hold, must_not_hold, inverse) {
        (true, true, Some(inverse)) => {
            Err(Fault::new(inverse.place, "`check_it` and `check_it_inverse` exclude each other"))
        }
        (true, ..) => Ok(Check::MustHold),
        (_, true, _) => Ok(Check::MustNotHold),
        _ => Ok(Check::None),
    }
}

fn ereg(element: &Element, attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Action, Fault> {
    let pattern = attributes.required("regexp")?;
    let search_in = attributes.take("search_in");
    let header = attributes.take("header");
    let any_case = attributes.flag("case_indep")?;
    let occurrence = attributes.number("occurrence")?.or(attributes.number("occurence")?);
    let at_line_start = attributes.flag("start_line")?;
    let in_variable = attributes.take("variable");
    let search = match search_in.map_or("msg", |attribute| attribute.value.as_str()) {
        "msg" => Search::Message,
        "body" => Search::Body,
        "hdr" => match header {
            Some(header) => Search::Header {
                name: header.value.clone(),
                any_case,
                occurrence: occurrence.unwrap_or(1.0).max(1.0) as u32,
                at_line_start,
            },
            None => return Err(Fault::new(element.place, "search_in=\"hdr\" needs `header`")),
        },
        "var" => match in_variable {
            Some(attribute) => Search::Variable(names.variable(attribute.value.trim(), attribute.place)?),
            None => return Err(Fault::new(element.place, "search_in=\"var\" needs `variable`")),
        },
        other => {
            let place = search_in.map_or(element.place, |attribute| attribute.place);
            return Err(Fault::unknown(place, "place to search in", other, &["msg", "body", "hdr", "var"]));
        }
    };
    let check = check(attributes)?;
    let assign_to = match attributes.take("assign_to") {
        Some(attribute) => names.variables(&attribute.value, attribute.place)?,
        None => Vec::new(),
    };
    let regex = ere::compile(&pattern.value).map_err(|error| {
        Fault::new(pattern.place, format!("`{}` is no regular expression: {error}", pattern.value))
    })?;
    if assign_to.len() > regex.captures_len() {
        let place = attributes.take("assign_to").map_or(element.place, |attribute| attribute.place);
        return Err(Fault::new(
            place,
            format!("{} variables for a match and {} groups", assign_to.len(), { regex.captures_len() - 1 }),
        ));
    }
    Ok(Action::Ereg(Box::new(Ereg { pattern: pattern.value.clone(), regex, search, assign_to, check })))
}

fn test(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Action, Fault> {
    const COMPARISONS: [(&str, Comparison); 6] = [
        ("equal", Comparison::Equal),
        ("not_equal", Comparison::NotEqual),
        ("greater_than", Comparison::Greater),
        ("less_than", Comparison::Less),
        ("greater_than_equal", Comparison::GreaterOrEqual),
        ("less_than_equal", Comparison::LessOrEqual),
    ];
    let to = optional_to(attributes, names)?;
    let variable = variable(attributes, "variable", names)?;
    let compare = attributes.required("compare")?;
    let comparison = COMPARISONS.iter().find(|(name, _)| *name == compare.value).map(|(_, found)| *found);
    let comparison = comparison.ok_or_else(|| {
        let known = COMPARISONS.map(|(name, _)| name);
        Fault::unknown(compare.place, "comparison", &compare.value, &known)
    })?;
    let operand = match attributes.take("variable2") {
        Some(attribute) => Operand::Variable(names.variable(attribute.value.trim(), attribute.place)?),
        None => Operand::Value(attributes.required_number("value")?),
    };
    let check = check(attributes)?;
    Ok(Action::Test(Box::new(Test { to, variable, comparison, operand, check })))
}

fn time_of_day(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Action, Fault> {
    let attribute = attributes.required("assign_to")?;
    match names.variables(&attribute.value, attribute.place)?.as_slice() {
        [seconds] => Ok(Action::TimeOfDay(*seconds, None)),
        [seconds, micros] => Ok(Action::TimeOfDay(*seconds, Some(*micros))),
        _ => Err(Fault::new(attribute.place, "<gettimeofday> fills two variables: seconds, microseconds")),
    }
}

fn exec(attributes: &mut Attributes<'_>, names: &mut Names<'_>) -> Result<Action, Fault> {
    if let Some(command) = attributes.take("int_cmd") {
        const COMMANDS: [(&str, InternalCommand); 3] = [
            ("stop_call", InternalCommand::StopCall),
            ("stop_gracefully", InternalCommand::StopGracefully),
            ("stop_now", InternalCommand::StopNow),
        ];
        let found = COMMANDS.iter().find(|(name, _)| *name == command.value);
        return found.map(|(_, command)| Action::Internal(*command)).ok_or_else(|| {
            let known = COMMANDS.map(|(name, _)| name);
            Fault::unknown(command.place, "internal command", &command.value, &known)
        });
    }
    if let Some(media) = media::exec(attributes, names)? {
        return Ok(Action::Media(media));
    }
    text(attributes, "command", names).map(Action::Execute)
}
