//! A served API over a store in a temporary directory and a node that only remembers.
#![allow(dead_code, reason = "every test file uses its part")]

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use offhook_api::{
    Api, FIRST_TOKEN, NodeControl, Settings, SipWebSocketHook,
    control::{EdgeView, Metric, MetricKind, PeerName, Readiness, Sample, TraceFilter, TracedMessage},
};
use offhook_base::{DataSubject, Personal, Purpose, Random, UtcMillis};
use offhook_edge::{BanReason, BannedSource, Edge, EdgeLimits, Listed, Prefix, SourceView, TopSource};
use offhook_store::{Author, Store};
use offhook_switch::{
    exchange::{RouteExplained, RouteQuestion, UnknownCaller},
    fact::Fact,
    record::{CallId, CallRecord, EndCause, EndedBy},
    summary::{CallPhase, CallSummary, LineSummary, RegistrationSummary},
};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::sync::{Notify, broadcast, mpsc};

/// What the node was asked, and what it shall answer.
pub struct FakeNode {
    pub calls: Mutex<Vec<CallSummary>>,
    pub registrations: Mutex<Vec<RegistrationSummary>>,
    pub lines: Mutex<Vec<LineSummary>>,
    pub hung_up: Mutex<Vec<CallId>>,
    pub directory_changes: Mutex<usize>,
    pub bans: Mutex<Vec<BannedSource>>,
    pub list_changes: Mutex<usize>,
    pub readiness: Mutex<Readiness>,
    pub facts: broadcast::Sender<Arc<Fact>>,
    pub traces: Mutex<Vec<(TraceFilter, mpsc::Sender<TracedMessage>)>>,
    /// Calls never come: to see the time-out.
    pub stuck: Mutex<bool>,
}

impl NodeControl for FakeNode {
    fn calls(&self) -> BoxFuture<'_, Vec<CallSummary>> {
        if *self.stuck.lock().unwrap() {
            return std::future::pending().boxed();
        }
        let calls = self.calls.lock().unwrap().clone();
        async move { calls }.boxed()
    }

    fn registrations(&self) -> BoxFuture<'_, Vec<RegistrationSummary>> {
        let registrations = self.registrations.lock().unwrap().clone();
        async move { registrations }.boxed()
    }

    fn line_states(&self) -> BoxFuture<'_, Vec<LineSummary>> {
        let lines = self.lines.lock().unwrap().clone();
        async move { lines }.boxed()
    }

    fn hang_up(&self, call: CallId) -> BoxFuture<'_, bool> {
        let known = self.calls.lock().unwrap().iter().any(|known| known.id == call);
        self.hung_up.lock().unwrap().extend(known.then_some(call));
        async move { known }.boxed()
    }

    fn facts(&self) -> broadcast::Receiver<Arc<Fact>> {
        self.facts.subscribe()
    }

    fn trace(&self, filter: TraceFilter) -> mpsc::Receiver<TracedMessage> {
        let (sender, receiver) = mpsc::channel(16);
        self.traces.lock().unwrap().push((filter, sender));
        receiver
    }

    fn directory_changed(&self) -> BoxFuture<'_, ()> {
        *self.directory_changes.lock().unwrap() += 1;
        async {}.boxed()
    }

    fn explain_route(
        &self,
        question: RouteQuestion,
    ) -> BoxFuture<'_, Option<Result<RouteExplained, UnknownCaller>>> {
        let RouteQuestion { from, number, .. } = question;
        let known = &*from == "101";
        let told = RouteExplained {
            steps: vec!["a step".into()],
            reaches: true,
            outcome: format!("{number} rings"),
        };
        async move { Some(if known { Ok(told) } else { Err(UnknownCaller) }) }.boxed()
    }

    fn edge(&self) -> BoxFuture<'_, Option<EdgeView>> {
        let top = TopSource {
            source: Personal::new("192.0.2.9".parse().unwrap(), DataSubject::RemoteParty),
            messages_per_second: 12.5,
            refused_per_second: 2.0,
        };
        let mut edge = Edge::new(&EdgeLimits::default(), 7);
        let mut overview = edge.overview(10, Default::default());
        overview.bans = self.bans.lock().unwrap().clone();
        overview.banned = overview.bans.len();
        overview.top = vec![top];
        let peer = PeerName { tenant: "default".into(), name: "carrier".into() };
        async move { Some(EdgeView { overview, peers: vec![Some(peer)] }) }.boxed()
    }

    fn look_at(&self, address: IpAddr) -> BoxFuture<'_, Option<(SourceView, Option<PeerName>)>> {
        let bans = self.bans.lock().unwrap();
        let ban = bans.iter().find(|ban| ban.source.disclose(Purpose::Operation).contains(address)).cloned();
        async move { Some((SourceView { listed: Listed::No, proven: true, ban, penalty: None }, None)) }
            .boxed()
    }

    fn ban(&self, address: IpAddr, left: Duration) -> BoxFuture<'_, ()> {
        self.bans.lock().unwrap().push(BannedSource {
            source: Personal::new(Prefix::host(address), DataSubject::RemoteParty),
            why: BanReason::Operator,
            is_proven: true,
            is_spared: false,
            left,
        });
        async {}.boxed()
    }

    fn pardon(&self, address: IpAddr) -> BoxFuture<'_, bool> {
        let mut bans = self.bans.lock().unwrap();
        let before = bans.len();
        bans.retain(|ban| !ban.source.disclose(Purpose::Operation).contains(address));
        let was = bans.len() < before;
        async move { was }.boxed()
    }

    fn lists_changed(&self) -> BoxFuture<'_, Result<(), String>> {
        *self.list_changes.lock().unwrap() += 1;
        async { Ok(()) }.boxed()
    }

    fn metrics(&self) -> BoxFuture<'_, Vec<Metric>> {
        Box::pin(async {
            let sample = |why: &str, value| Sample { labels: vec![("why", why.into())], value };
            vec![
                Metric::single("offhook_calls", "Calls that are on now.", MetricKind::Gauge, 2.0),
                Metric {
                    name: "offhook_refusals",
                    help: "Requests that were refused.",
                    kind: MetricKind::Counter,
                    samples: vec![sample("malformed", 3.0), sample("rate", 4.0)],
                },
            ]
        })
    }

    fn troubles(&self) -> Vec<String> {
        Vec::new()
    }

    fn readiness(&self) -> Readiness {
        *self.readiness.lock().unwrap()
    }

    fn drain(&self) -> BoxFuture<'_, ()> {
        *self.readiness.lock().unwrap() = Readiness::Draining;
        async {}.boxed()
    }
}

/// A served API.
pub struct World {
    pub node: Arc<FakeNode>,
    pub store: Store,
    pub address: SocketAddr,
    pub token: String,
    client: Client,
    stopping: Arc<Notify>,
    _folder: tempfile::TempDir,
}

pub const NOW: UtcMillis = UtcMillis(1_795_363_836_123);

impl World {
    pub async fn new() -> Self {
        Self::with(Settings::default(), None).await
    }

    pub async fn with(settings: Settings, hook: Option<SipWebSocketHook>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("data")).await.unwrap();
        let token = store.first_token(&Author::new("test", NOW), FIRST_TOKEN).await.unwrap().unwrap();
        let node = Arc::new(FakeNode {
            calls: Mutex::default(),
            registrations: Mutex::default(),
            lines: Mutex::default(),
            hung_up: Mutex::default(),
            directory_changes: Mutex::default(),
            bans: Mutex::default(),
            list_changes: Mutex::default(),
            readiness: Mutex::new(Readiness::Ready),
            facts: broadcast::channel(16).0,
            traces: Mutex::default(),
            stuck: Mutex::default(),
        });
        let mut api = Api::new(Arc::clone(&node) as _, store.clone(), settings);
        if let Some(hook) = hook {
            api = api.with_sip_websocket(hook);
        }
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(Notify::new());
        let stopped = Arc::clone(&stopping);
        tokio::spawn(offhook_api::serve(listener, api, async move { stopped.notified().await }));
        let (token, client) = (token.reveal().into(), Client::new());
        Self { node, store, address, token, client, stopping, _folder: folder }
    }

    /// Stops the server, as a node does at its end.
    pub fn stop(&self) {
        self.stopping.notify_one();
    }

    /// A request with the token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.bare(method, path).bearer_auth(&self.token)
    }

    /// A request without it.
    pub fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        json_of(self.request(Method::GET, path).send().await.unwrap()).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        json_of(self.request(method, path).json(&body).send().await.unwrap()).await
    }

    /// A call that is on, as the node would tell it.
    pub fn call(&self, seed: u64) -> CallId {
        let id = CallId::new(UtcMillis(NOW.0 + seed.cast_signed()), &mut Random::from_number(seed));
        self.node.calls.lock().unwrap().push(CallSummary {
            id,
            tenant: "default".into(),
            caller: Personal::new("sip:101@example.org".into(), DataSubject::Caller),
            callee: Personal::new("sip:102@example.org".into(), DataSubject::Callee),
            phase: CallPhase::Established,
            started: NOW,
            answered: Some(NOW),
            legs: 2,
        });
        id
    }
}

/// The status and the body, which is JSON or nothing.
pub async fn json_of(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect(&text) })
}

/// The record of an answered call of 1.5 s; a greater seed begins later.
pub fn record(seed: u64) -> Arc<CallRecord> {
    let party = |text: &str| Personal::new(text.to_string(), DataSubject::Caller);
    let started = UtcMillis(NOW.0 + seed.cast_signed() * 1000);
    Arc::new(CallRecord {
        id: CallId::new(started, &mut Random::from_number(seed)),
        tenant: "default".into(),
        caller: party("sip:101@example.org"),
        caller_name: None,
        callee: party("sip:102@example.org"),
        started,
        ringing: None,
        answered: Some(started),
        ended: UtcMillis(started.0 + 1500),
        ended_by: EndedBy::Caller,
        cause: EndCause::HungUp,
        sip_status: 200,
        q850: 16,
        legs: Vec::new(),
    })
}
