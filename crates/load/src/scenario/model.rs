//! A scenario as the interpreter walks it: names are numbers, texts are segments.

use std::sync::Arc;

use regex::bytes::Regex;

use super::{
    fault::Place,
    keyword::Keyword,
    pause::Length,
    template::Template,
    variables::{VariableId, Variables},
};
use crate::media::{audio::Audio, clip::Clip, description::Kind};

/// A scenario, read and checked.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its `name`, for screens and file names.
    pub name: String,
    /// What is done once, before the first call (`<init>`).
    pub init: Vec<Step>,
    /// What each call does. `[msg_index]` and `jump` count these.
    pub steps: Vec<Step>,
    /// Its variables.
    pub variables: Variables,
    /// Names of the response times, in the order of their first mention.
    pub rtds: Vec<String>,
    /// Names of the counters, in the order of their first mention.
    pub counters: Vec<String>,
    /// Names of the transactions.
    pub transactions: Vec<String>,
    /// Methods of the requests it sends; bit `n` of [`Recv::methods`] is the nth.
    pub methods: Vec<String>,
    /// Upper ends of the ranges in which response times are counted, ms.
    pub response_time_limits: Vec<u32>,
    /// Upper ends of the ranges in which lengths of calls are counted, ms.
    pub call_length_limits: Vec<u32>,
    /// The step and variable of `_unexp.main`, where unexpected messages lead, if the scenario has that label.
    pub unexpected: Option<(usize, Option<VariableId>)>,
}

impl Scenario {
    /// Whether calls come to it: it receives before it sends.
    pub fn is_server(&self) -> bool {
        self.steps.iter().find_map(|step| match step.kind {
            StepKind::Recv(_) => Some(true),
            StepKind::Send(_) | StepKind::SendCommand { .. } | StepKind::ReceiveCommand { .. } => Some(false),
            StepKind::Pause { .. } | StepKind::Nop => None,
        }) == Some(true)
    }

    /// Whether a command of another instance begins each call.
    pub fn is_commanded(&self) -> bool {
        self.steps.iter().find_map(|step| match step.kind {
            StepKind::ReceiveCommand { .. } => Some(true),
            StepKind::Pause { .. } | StepKind::Nop => None,
            _ => Some(false),
        }) == Some(true)
    }

    /// Whether it speaks with other instances at all.
    pub fn has_commands(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.kind, StepKind::SendCommand { .. } | StepKind::ReceiveCommand { .. }))
    }

    /// Whether `wanted` holds for a keyword of a message or an action.
    pub fn mentions(&self, wanted: &impl Fn(&Keyword) -> bool) -> bool {
        self.steps.iter().chain(&self.init).any(|step| {
            let message = match &step.kind {
                StepKind::Send(send) => Some(&send.text),
                StepKind::SendCommand { text, .. } => Some(text),
                _ => None,
            };
            let texts = message.into_iter().chain(step.actions.iter().flat_map(Action::texts));
            texts.into_iter().any(|text| text.any(wanted))
        })
    }

    /// Whether it sends or echoes media.
    pub fn uses_media(&self) -> bool {
        let actions = self.steps.iter().flat_map(|step| &step.actions);
        actions.into_iter().any(|action| matches!(action, Action::Media(_)))
    }

    /// All pauses together at their longest, ms; `unset` is how long one without a length lasts.
    pub fn duration_ms(&self, unset: u64) -> u64 {
        let pauses = self.steps.iter().filter_map(|step| match &step.kind {
            StepKind::Pause { length, is_timewait: false } => Some(length.longest_ms(unset)),
            _ => None,
        });
        pauses.fold(0, u64::saturating_add)
    }
}

/// A step of a scenario: one element.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// Where it stands.
    pub place: Place,
    /// Whether it is done at all.
    pub condition: Option<Condition>,
    /// Where it leads, if not to the next step.
    pub next: Option<Branch>,
    /// Response times that start here.
    pub start_rtd: Vec<usize>,
    /// Response times that end here.
    pub stop_rtd: Vec<usize>,
    /// Whether those may end here more than once in a call.
    pub repeat_rtd: bool,
    /// Counters that it increments.
    pub counters: Vec<usize>,
    /// An empty line follows on the screen.
    pub crlf: bool,
    /// Not shown on the screen.
    pub hide: bool,
    /// Shown instead of what it does.
    pub display: Option<String>,
    /// What is done when it happens.
    pub actions: Vec<Action>,
    /// Parts in a million of its messages that are thrown away; `None` leaves it to `-lost`.
    pub lost_ppm: Option<u32>,
}

/// `condexec`, `condexec_inverse`.
#[derive(Clone, Copy, Debug)]
pub struct Condition {
    /// The variable.
    pub variable: VariableId,
    /// Done if it is not set.
    pub inverse: bool,
}

/// `next`, `test`, `chance`.
#[derive(Clone, Copy, Debug)]
pub struct Branch {
    /// The step to go on with; past the last one ends the call.
    pub to: usize,
    /// Only if this variable is set.
    pub test: Option<VariableId>,
    /// Only in so many of a million cases.
    pub chance_ppm: u32,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// Sends a message.
    Send(Box<Send>),
    /// Waits for a message.
    Recv(Box<Recv>),
    /// Waits; `is_timewait`: the call has succeeded, and only answers repetitions.
    Pause {
        /// How long.
        length: Length,
        /// `<timewait>`.
        is_timewait: bool,
    },
    /// Only does its actions.
    Nop,
    /// Sends a command to another instance.
    SendCommand {
        /// The command.
        text: Template,
        /// Which instance, with extended 3PCC.
        dest: Option<String>,
    },
    /// Waits for a command of another instance.
    ReceiveCommand {
        /// Which instance, with extended 3PCC.
        src: Option<String>,
    },
}

/// `<send>`.
#[derive(Clone, Debug)]
pub struct Send {
    /// The message.
    pub text: Template,
    /// The method; `None` for a response.
    pub method: Option<String>,
    /// The first word of the start line's meaning for screens: the method, or the status code.
    pub label: String,
    /// T1 of its repetitions over UDP, ms; `None` sends it once.
    pub retrans_ms: Option<u64>,
    /// Where to go when nothing answered all repetitions.
    pub on_timeout: Option<usize>,
    /// The transaction whose branch it sets.
    pub start_txn: Option<usize>,
    /// The transaction that this ACK belongs to.
    pub ack_txn: Option<usize>,
}

/// `<recv>`.
#[derive(Clone, Debug)]
pub struct Recv {
    /// What may come.
    pub expect: Expect,
    /// Whether it must.
    pub optional: Optional,
    /// How long to wait.
    pub timeout: Timeout,
    /// Where to go after that long; `None` ends the call.
    pub on_timeout: Option<usize>,
    /// Keeps Record-Route and Contact for `[routes]` and `[next_url]`.
    pub rrs: bool,
    /// Keeps the challenge for `[authentication]`.
    pub auth: bool,
    /// Leaves the description in it alone.
    pub ignore_sdp: bool,
    /// The transaction that it must belong to.
    pub response_txn: Option<usize>,
    /// Which of [`Scenario::methods`] were sent before: a response must answer one of them.
    pub methods: u64,
}

/// What a `<recv>` takes.
#[derive(Clone, Debug)]
pub enum Expect {
    /// A response with this code.
    Response(u16),
    /// A request with this method.
    Request(String),
    /// A request whose method matches.
    Matching(String, Regex),
}

impl Expect {
    /// As screens and files show it.
    pub fn label(&self) -> String {
        match self {
            Self::Response(code) => code.to_string(),
            Self::Request(method) | Self::Matching(method, _) => method.clone(),
        }
    }
}

/// `optional`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Optional {
    /// It must come.
    No,
    /// It may come until the next that must.
    Yes,
    /// It may come at any time from then on.
    Global,
}

/// `timeout`, `timeout_variable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// As `-recv_timeout` says.
    Default,
    /// So many ms.
    Fixed(u64),
    /// As many ms as the variable holds.
    Variable(VariableId),
}

/// An action, in the order written.
#[derive(Clone, Debug)]
pub enum Action {
    /// `<ereg>`.
    Ereg(Box<Ereg>),
    /// `<log>`.
    Log(Template),
    /// `<warning>`.
    Warning(Template),
    /// `<error>`: ends the run.
    Error(Template),
    /// `<assignstr>`.
    AssignString(VariableId, Template),
    /// `<assign>`, `<add>`, `<subtract>`, `<multiply>`, `<divide>`.
    Arithmetic(VariableId, Operation, Operand),
    /// `<todouble>`.
    ToDouble(VariableId, VariableId),
    /// `<sample>`.
    Sample(VariableId, Length),
    /// `<test>`.
    Test(Box<Test>),
    /// `<strcmp>`.
    Compare(Box<Compare>),
    /// `<jump>`.
    Jump(Operand),
    /// `<gettimeofday>`: seconds, and microseconds of the second.
    TimeOfDay(VariableId, Option<VariableId>),
    /// `<setdest>`.
    SetDestination(Box<SetDestination>),
    /// `<verifyauth>`.
    VerifyAuthentication(Box<VerifyAuthentication>),
    /// `<trim>`.
    Trim(VariableId),
    /// `<urlencode>`.
    UrlEncode(VariableId),
    /// `<urldecode>`.
    UrlDecode(VariableId),
    /// `<lookup>`.
    Lookup {
        /// The line number goes here; -1 if there is none.
        to: VariableId,
        /// The injection file.
        file: String,
        /// What to look for in the indexed field.
        key: Template,
    },
    /// `<insert>`.
    Insert {
        /// The injection file.
        file: String,
        /// The line.
        value: Template,
    },
    /// `<replace>`.
    Replace {
        /// The injection file.
        file: String,
        /// The number of the line, from 0.
        line: Template,
        /// The new line.
        value: Template,
    },
    /// `<closecon>`.
    CloseConnection,
    /// `<exec command>`.
    Execute(Template),
    /// `<exec int_cmd>`.
    Internal(InternalCommand),
    /// `<exec play_pcap_audio>` and all others that are about media.
    Media(MediaAction),
}

impl Action {
    /// The texts with keywords in it.
    fn texts(&self) -> Vec<&Template> {
        match self {
            Self::Log(text)
            | Self::Warning(text)
            | Self::Error(text)
            | Self::AssignString(_, text)
            | Self::Execute(text)
            | Self::Lookup { key: text, .. }
            | Self::Insert { value: text, .. } => vec![text],
            Self::Replace { line, value, .. } => vec![line, value],
            Self::Compare(compare) => vec![&compare.value],
            Self::Media(MediaAction::Keys(keys)) => vec![keys],
            Self::SetDestination(to) => vec![&to.host, &to.port, &to.protocol],
            Self::VerifyAuthentication(proof) => vec![&proof.username, &proof.password],
            _ => Vec::new(),
        }
    }
}

/// What is done with media.
#[derive(Clone, Debug)]
pub enum MediaAction {
    /// `play_pcap_audio` and its like.
    Play(Kind, Arc<Clip>),
    /// `rtp_stream`: sound, and how often; `None` for ever.
    Stream(Arc<Audio>, Option<u32>),
    /// `rtp_stream="pause"`, `rtp_stream="resume"`.
    Pause(bool),
    /// `play_dtmf`.
    Keys(Template),
    /// `rtp_echo`.
    Echo(bool),
}

/// `int_cmd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalCommand {
    /// Ends this call as failed.
    StopCall,
    /// No new calls; what runs ends by itself.
    StopGracefully,
    /// Ends the run at once.
    StopNow,
}

/// What arithmetic does with the variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Takes the operand.
    Assign,
    /// Adds it.
    Add,
    /// Subtracts it.
    Subtract,
    /// Multiplies by it.
    Multiply,
    /// Divides by it.
    Divide,
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// Written in the scenario.
    Value(f64),
    /// In a variable.
    Variable(VariableId),
}

/// `<ereg>`.
#[derive(Clone, Debug)]
pub struct Ereg {
    /// As written.
    pub pattern: String,
    /// Compiled.
    pub regex: Regex,
    /// Where to look.
    pub search: Search,
    /// The whole match, then its groups.
    pub assign_to: Vec<VariableId>,
    /// What the match means for the call.
    pub check: Check,
}

/// Where `<ereg>` looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// The whole message.
    Message,
    /// The body.
    Body,
    /// A header.
    Header {
        /// Its name with the colon, as written.
        name: String,
        /// Case of the name does not matter.
        any_case: bool,
        /// Which one, from 1.
        occurrence: u32,
        /// The name must stand at the start of a line.
        at_line_start: bool,
    },
    /// A variable.
    Variable(VariableId),
}

/// `check_it`, `check_it_inverse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing depends on it.
    None,
    /// The call fails if it is false.
    MustHold,
    /// The call fails if it is true.
    MustNotHold,
}

/// `<test>`.
#[derive(Clone, Debug)]
pub struct Test {
    /// The result; without one only `check` looks at it.
    pub to: Option<VariableId>,
    /// The left side.
    pub variable: VariableId,
    /// How they are compared.
    pub comparison: Comparison,
    /// The right side.
    pub operand: Operand,
    /// What the result means for the call.
    pub check: Check,
}

/// How `<test>` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Comparison {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
}

impl Comparison {
    /// Whether `left` stands so to `right`.
    #[expect(clippy::float_cmp, reason = "the scenario asks for just that")]
    pub fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Greater => left > right,
            Self::Less => left < right,
            Self::GreaterOrEqual => left >= right,
            Self::LessOrEqual => left <= right,
        }
    }
}

/// `<strcmp>`.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The result: below, at or above zero.
    pub to: Option<VariableId>,
    /// The left side.
    pub variable: VariableId,
    /// The right side.
    pub value: Template,
    /// Fails the call if they differ (or, inverse, if they do not).
    pub check: Check,
}

/// `<setdest>`.
#[derive(Clone, Debug)]
pub struct SetDestination {
    /// Host name or address.
    pub host: Template,
    /// Port.
    pub port: Template,
    /// `udp`, `tcp`, ...: must be what the call uses.
    pub protocol: Template,
}

/// `<verifyauth>`.
#[derive(Clone, Debug)]
pub struct VerifyAuthentication {
    /// Whether the proof holds.
    pub to: VariableId,
    /// Who it must be.
    pub username: Template,
    /// And the password.
    pub password: Template,
}
