//! What the API asks of the running node. The node implements [`NodeControl`]; the API knows nothing of workers.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::BoxFuture;
use offhook_base::{Personal, UtcMillis};
use offhook_edge::{EdgeOverview, SourceView};
use offhook_switch::{
    exchange::{RouteExplained, RouteQuestion, UnknownCaller},
    fact::Fact,
    record::CallId,
    summary::{CallSummary, LineSummary, RegistrationSummary},
};
use tokio::sync::{broadcast, mpsc};

/// The running node, as far as people and programs may look into it and steer it.
///
/// Every method is quick: an answer that needs the workers waits for one message to each of them and back. The API
/// gives up on any of them after its own time-out.
pub trait NodeControl: Send + Sync + 'static {
    /// The calls that are on now, in no particular order.
    fn calls(&self) -> BoxFuture<'_, Vec<CallSummary>>;

    /// The contacts that are bound now, in no particular order.
    fn registrations(&self) -> BoxFuture<'_, Vec<RegistrationSummary>>;

    /// The lines that are in a call or have a contact; a line that is missing is idle and not registered.
    fn line_states(&self) -> BoxFuture<'_, Vec<LineSummary>>;

    /// Ends a call as [`offhook_switch::record::EndCause::Shutdown`]. False: there is no such call.
    fn hang_up(&self, call: CallId) -> BoxFuture<'_, bool>;

    /// Everything that happens from now on. A reader that falls behind is told how many facts it missed.
    fn facts(&self) -> broadcast::Receiver<Arc<Fact>>;

    /// SIP messages that pass `filter` from now on. The node drops messages rather than wait for a slow reader, and
    /// stops when the receiver is dropped.
    fn trace(&self, filter: TraceFilter) -> mpsc::Receiver<TracedMessage>;

    /// The store's directory has changed: read it again and hand it to the workers. Returns once they all have it, so
    /// that who adds a line by the API can register it with the next packet.
    fn directory_changed(&self) -> BoxFuture<'_, ()>;

    /// Where a call would go. `None`: the worker did not answer.
    fn explain_route(
        &self,
        question: RouteQuestion,
    ) -> BoxFuture<'_, Option<Result<RouteExplained, UnknownCaller>>>;

    /// How the guard at the edge stands: who sends most, who is banned. `None`: the worker did not answer.
    fn edge(&self) -> BoxFuture<'_, Option<EdgeView>>;

    /// What the guard knows of an address, and the peer whose it is.
    fn look_at(&self, address: IpAddr) -> BoxFuture<'_, Option<(SourceView, Option<PeerName>)>>;

    /// Bans an address, whoever it is.
    fn ban(&self, address: IpAddr, time: Duration) -> BoxFuture<'_, ()>;

    /// Ends the ban and the penalties of an address; whether there were any.
    fn pardon(&self, address: IpAddr) -> BoxFuture<'_, bool>;

    /// The store's networks have changed: read them and the files again, and put them into force. Else says what is
    /// wrong; those in force stay then.
    fn lists_changed(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Counters and gauges of every room, as they stand now.
    fn metrics(&self) -> BoxFuture<'_, Vec<Metric>>;

    /// Whether the node takes calls.
    fn readiness(&self) -> Readiness;

    /// What is wrong with the node's surroundings now, a line each; it works on as well as it can.
    fn troubles(&self) -> Vec<String>;

    /// Begins to drain: no new calls, running ones may finish within the configured limit, then the process ends.
    /// Returns at once.
    fn drain(&self) -> BoxFuture<'_, ()>;
}

/// How the guard stands.
#[derive(Clone, Debug, PartialEq)]
pub struct EdgeView {
    /// Counters, bans, who sends most.
    pub overview: EdgeOverview,
    /// Which peer each of those who send most is.
    pub peers: Vec<Option<PeerName>>,
}

/// A peer by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerName {
    /// Its tenant.
    pub tenant: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// Which SIP messages a trace shall show. Everything that is set must match; an empty filter passes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// Messages of this call only.
    pub call: Option<CallId>,
    /// Messages from and to this line only, given as tenant and name.
    pub line: Option<(Box<str>, Box<str>)>,
    /// Messages from and to this peer only, given as tenant and name.
    pub peer: Option<(Box<str>, Box<str>)>,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It came to the node.
    Received,
    /// The node sent it.
    Sent,
}

/// One SIP message as it was on the wire.
#[derive(Clone, Debug)]
pub struct TracedMessage {
    /// When.
    pub at: UtcMillis,
    /// Which way.
    pub direction: Direction,
    /// `udp`, `tcp`, `tls`, `ws`, `wss`.
    pub transport: Box<str>,
    /// Our end.
    pub local: SocketAddr,
    /// Their end.
    pub remote: Personal<SocketAddr>,
    /// The call it belongs to, where known.
    pub call: Option<CallId>,
    /// The whole message. Octets that are not UTF-8 are replaced.
    pub text: Personal<String>,
}

/// Whether the node takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet: listeners or the store are still coming up.
    Starting,
    /// Not now: what must be written of calls cannot be.
    Holding,
    /// No more: it drains.
    Draining,
}

/// What a metric's number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows. Its name is written without `_total`; the exposition adds it.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One family of the Prometheus exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Lower case with underscores, beginning with `offhook_`.
    pub name: &'static str,
    /// One sentence for people.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: MetricKind,
    /// Its values, each with the labels that tell it from the others. Labels never hold personal data.
    pub samples: Vec<Sample>,
}

/// One value of a [`Metric`].
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

impl Metric {
    /// A family with one value and no labels.
    pub fn single(name: &'static str, help: &'static str, kind: MetricKind, value: f64) -> Self {
        Self { name, help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
    }
}
