//! The REST API of a running node: `/api/v1` with its OpenAPI document, health, readiness, metrics, and the door for SIP
//! over WebSocket.
//!
//! The node stands behind [`NodeControl`], the data behind [`Store`]. A handler checks the token, asks one of the two,
//! and turns what comes back into views. These views are the only place where personal data is opened, each with the
//! purpose it is opened for.
#![forbid(unsafe_code)]

mod apply;
mod auth;
mod calls;
mod clock;
pub mod control;
mod edge;
mod ends;
mod extract;
mod health;
mod known;
mod live;
mod mask;
mod metrics;
mod page;
mod problem;
mod recordings;
mod records;
mod resource;
mod routing;
mod rules;
mod server;
mod site;
mod streams;
mod tokens;
mod view;
mod websocket;

use std::{sync::Arc, time::Duration};

use offhook_store::Store;
use offhook_switch::directory::EMERGENCY_NUMBERS;
use tokio::sync::watch;

pub use clock::parse_time;
pub use control::NodeControl;
pub use problem::Problem;
pub use server::{openapi, openapi_json, router, serve};
pub use websocket::{SipWebSocket, SipWebSocketHook, UpgradedStream};

/// The name of the token made at the first start, and of the one that `offhook token replace` replaces.
pub const FIRST_TOKEN: &str = "admin";

/// Where SIP over WebSocket is served.
pub const SIP_WEBSOCKET_PATH: &str = "/sip";

/// All that the handlers share.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

struct Inner {
    node: Arc<dyn NodeControl>,
    store: Store,
    settings: Settings,
    sip_websocket: Option<SipWebSocketHook>,
    stopping: watch::Sender<bool>,
}

/// Bounds of the HTTP side, and what the API has to know of the node's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A request that is not answered by then gets 503. Streams are excepted. Default 30 s.
    pub request_timeout: Duration,
    /// Bytes of a request's body. Default 4 MiB.
    pub body_max_bytes: usize,
    /// The numbers of `sip.emergency_numbers`, to say where calls to them lead nowhere.
    pub emergency_numbers: Vec<Box<str>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(30),
            body_max_bytes: 4 * 1024 * 1024,
            emergency_numbers: EMERGENCY_NUMBERS.map(Into::into).into(),
        }
    }
}

impl Api {
    /// The API of `node`, whose data is in `store`.
    pub fn new(node: Arc<dyn NodeControl>, store: Store, settings: Settings) -> Self {
        Self(Arc::new(Inner {
            node,
            store,
            settings,
            sip_websocket: None,
            stopping: watch::Sender::new(false),
        }))
    }

    /// Also takes SIP over WebSocket at [`SIP_WEBSOCKET_PATH`]; `hook` gets every stream after its handshake.
    #[must_use]
    pub fn with_sip_websocket(self, hook: SipWebSocketHook) -> Self {
        let inner = &self.0;
        Self(Arc::new(Inner {
            node: Arc::clone(&inner.node),
            store: inner.store.clone(),
            settings: inner.settings.clone(),
            sip_websocket: Some(hook),
            stopping: watch::Sender::new(false),
        }))
    }

    fn node(&self) -> &dyn NodeControl {
        &*self.0.node
    }

    fn store(&self) -> &Store {
        &self.0.store
    }

    fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Told when the node stops: streams that are open then end.
    fn stopping(&self) -> watch::Receiver<bool> {
        self.0.stopping.subscribe()
    }

    /// Tells it.
    fn stop(&self) {
        self.0.stopping.send_replace(true);
    }

    fn sip_websocket(&self) -> Option<&SipWebSocketHook> {
        self.0.sip_websocket.as_ref()
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Api({:?})", self.0.store)
    }
}
