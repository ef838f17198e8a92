//! The REST API of a running node: `/api/v1` with its OpenAPI document, health, readiness, metrics, and the door for SIP
//! over WebSocket.
//!
//! The node stands behind [`NodeControl`], the data behind `offhook-store`. A handler checks the token, asks one of the
//! two, and turns what comes back into the types of `dto`: these are the only place where personal data is
//! opened, each with the purpose it is opened for.
#![forbid(unsafe_code)]

pub mod control;
