//! What all calls of a run share: the scenario with its texts bound to this run, and the settings.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use offhook_base::Instant;

use super::bind::{self, Bound};
use crate::{
    inject::Injection,
    scenario::{
        Fault, Scenario,
        model::{Action, StepKind},
    },
};

/// Both clocks, read by the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the driver's origin: the start of the run.
    pub instant: Instant,
    /// Microseconds since 1970.
    pub unix_micros: i64,
}

impl Now {
    /// Milliseconds since the origin.
    pub const fn millis(self) -> u64 {
        self.instant.as_nanos() / 1_000_000
    }

    /// So much earlier by the run's clock; what the log says stays.
    #[must_use]
    pub const fn before(self, age: Duration) -> Self {
        let nanos = self.instant.as_nanos().saturating_sub(age.as_nanos() as u64);
        Self { instant: Instant::from_driver_nanos(nanos), unix_micros: self.unix_micros }
    }
}

/// When and how often unanswered messages are repeated over UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeating {
    /// Off over streams, and with `-nr`.
    pub enabled: bool,
    /// Times that an INVITE is repeated; default 5.
    pub invite_max: u32,
    /// Times that another request is repeated; default 7.
    pub other_max: u32,
    /// Most time between two, except for INVITE; default 4000 ms.
    pub t2_ms: u64,
    /// `-rtcheck loose`: the same request or code and transaction is a repetition, even if the text differs.
    pub loose: bool,
}

impl Default for Repeating {
    fn default() -> Self {
        Self { enabled: true, invite_max: 5, other_max: 7, t2_ms: 4000, loose: false }
    }
}

/// What is done although no scenario says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviours {
    /// A call that is given up is ended with BYE, CANCEL or ACK.
    pub bye: bool,
    /// An unexpected message gives up the call.
    pub abort_unexpected: bool,
    /// PING is answered.
    pub ping_reply: bool,
}

impl Behaviours {
    /// SIPp's default.
    pub const ALL: Self = Self { bye: true, abort_unexpected: true, ping_reply: true };
    /// `-nd`.
    pub const NONE: Self = Self { bye: false, abort_unexpected: false, ping_reply: false };
}

/// The settings of a run that calls look at. `Default` is what SIPp does without options.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `-s`.
    pub service: String,
    /// The host as it was given, for `[remote_host]`.
    pub remote_host: String,
    /// Where calls go; `None` for a run that only answers.
    pub remote: Option<SocketAddr>,
    /// `UDP`, `TCP`, as Via and Contact name it.
    pub transport: &'static str,
    /// Whether each call has a socket, and so `[local_port]`, of its own.
    pub socket_per_call: bool,
    /// `-i`.
    pub local_ip: IpAddr,
    /// `-p`, the real one.
    pub local_port: u16,
    /// `-mi`.
    pub media_ip: IpAddr,
    /// `-mp`, the real one.
    pub media_port: u16,
    /// The process, for `[pid]`, branches and Call-IDs.
    pub pid: u32,
    /// `-cid_str`.
    pub call_id_format: String,
    /// `-au`.
    pub auth_username: Option<String>,
    /// `-ap`.
    pub auth_password: String,
    /// `-auth_uri`.
    pub auth_uri: Option<String>,
    /// `-base_cseq`.
    pub base_cseq: u32,
    /// `-d`, ms.
    pub pause_ms: u64,
    /// `-recv_timeout`, ms; `None` waits for ever.
    pub recv_timeout_ms: Option<u64>,
    /// Repetitions.
    pub repeating: Repeating,
    /// `-default_behaviors`.
    pub behaviours: Behaviours,
    /// `-aa`.
    pub auto_answer: bool,
    /// `-pause_msg_ign`.
    pub pause_ignores: bool,
    /// A Call-ID's part before `///` is not compared; off with `-callid_slash_ign`.
    pub call_id_slash: bool,
    /// `-lost`, parts in a million.
    pub lost_ppm: u32,
    /// `-deadcall_wait`, ms.
    pub dead_call_ms: u64,
    /// `-dynamicStart`, `-dynamicMax`, `-dynamicStep`.
    pub dynamic: (u64, u64, u64),
    /// `-users`.
    pub users: Option<u32>,
    /// `-set`: global variables and their first values.
    pub presets: Vec<(String, String)>,
    /// `-min_rtp_port`, `-max_rtp_port`.
    pub rtp_ports: (u16, u16),
    /// Commands come from several instances, which `src` tells apart (extended 3PCC).
    pub checks_source: bool,
    /// What comes to the described ports is judged, whether the scenario sends media or not.
    pub judges_media: bool,
    /// `--allow-public`, for media and for `<setdest>`.
    pub allow_public: bool,
}

impl Default for Settings {
    fn default() -> Self {
        let localhost = IpAddr::from([127, 0, 0, 1]);
        Self {
            service: "service".into(),
            remote_host: String::new(),
            remote: None,
            transport: "UDP",
            socket_per_call: false,
            local_ip: localhost,
            local_port: 5060,
            media_ip: localhost,
            media_port: 6000,
            pid: 1,
            call_id_format: "%u-%p@%s".into(),
            auth_username: None,
            auth_password: "password".into(),
            auth_uri: None,
            base_cseq: 0,
            pause_ms: 0,
            recv_timeout_ms: None,
            repeating: Repeating::default(),
            behaviours: Behaviours::ALL,
            auto_answer: false,
            pause_ignores: false,
            call_id_slash: true,
            lost_ppm: 0,
            dead_call_ms: 33_000,
            dynamic: (10_000, 12_000, 4),
            users: None,
            presets: Vec::new(),
            rtp_ports: (8192, 65_535),
            checks_source: false,
            judges_media: false,
            allow_public: false,
        }
    }
}

/// A scenario bound to its run.
#[derive(Debug)]
pub struct Script {
    /// The scenario.
    pub scenario: Scenario,
    /// The text of each step's message; empty where a step sends none.
    pub texts: Vec<Bound>,
    /// Whether any text or action looks at the last received message.
    pub(crate) keeps_last: bool,
    /// Whether any text has `[peer_tag_param]`.
    pub(crate) keeps_peer_tag: bool,
    /// Whether descriptions are read: media is sent, echoed or judged.
    pub(crate) has_media: bool,
}

/// Messages that are sent although no scenario has them.
#[derive(Debug)]
pub(crate) struct Standard {
    pub(crate) ack: Bound,
    pub(crate) bye: Bound,
    pub(crate) cancel: Bound,
    pub(crate) ok: Bound,
}

/// A run: what its shards share and never change.
#[derive(Debug)]
pub struct Plan {
    /// The settings.
    pub settings: Settings,
    /// The scenario.
    pub main: Script,
    /// For requests of no call (`-oocsn`, `-oocsf`).
    pub out_of_call: Option<Script>,
    /// `-inf`.
    pub injections: Vec<Arc<Injection>>,
    pub(crate) standard: Standard,
}

impl Plan {
    /// Binds the scenarios to the settings.
    ///
    /// # Errors
    /// A keyword that this run has no value for.
    pub fn new(
        settings: Settings,
        main: Scenario,
        out_of_call: Option<Scenario>,
        injections: Vec<Arc<Injection>>,
    ) -> Result<Self, Fault> {
        let main = Script::bind(main, &settings)?;
        let out_of_call = out_of_call.map(|scenario| Script::bind(scenario, &settings)).transpose()?;
        let standard = Standard::bind(&settings)?;
        Ok(Self { settings, main, out_of_call, injections, standard })
    }

    /// The script a call runs.
    pub(crate) fn script(&self, out_of_call: bool) -> &Script {
        match &self.out_of_call {
            Some(script) if out_of_call => script,
            _ => &self.main,
        }
    }
}

impl Script {
    fn bind(scenario: Scenario, settings: &Settings) -> Result<Self, Fault> {
        let text = |kind: &StepKind| match kind {
            StepKind::Send(send) => bind::bind(&send.text, settings),
            StepKind::SendCommand { text, .. } => bind::bind(text, settings),
            _ => Ok(Bound::default()),
        };
        let texts = scenario.steps.iter().map(|step| text(&step.kind)).collect::<Result<Vec<_>, _>>()?;
        let reads = |action: &Action| matches!(action, Action::Ereg(_) | Action::VerifyAuthentication(_));
        let mut steps = scenario.steps.iter().chain(&scenario.init);
        let has_ereg = steps.any(|step| step.actions.iter().any(reads));
        let keeps_last = has_ereg || scenario.mentions(&bind::needs_last);
        let keeps_peer_tag = scenario.mentions(&bind::needs_peer_tag);
        let has_media = settings.judges_media || scenario.uses_media() || scenario.mentions(&bind::is_key);
        Ok(Self { scenario, texts, keeps_last, keeps_peer_tag, has_media })
    }
}
