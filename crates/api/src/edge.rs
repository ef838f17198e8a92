//! The guard at the edge: who sends most, who is banned, and the lists of networks.
//!
//! Addresses stand in clear here: who guards a node has to see whom from. It takes a token, as everything does.

use std::{net::IpAddr, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use offhook_base::Purpose;
use offhook_edge::{BannedSource, Listed, Prefix, Reason, read_list};
use offhook_store::{ListedNetwork, NETWORKS_MAX, NOTE_CHARS_MAX, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Api, Problem,
    auth::Bearer,
    control::PeerName,
    extract::{Body, Params, Segments, Text},
    page::{Page, PageParams, page_by},
};

/// Seconds of a ban at most: a year. Who is to stay out belongs on a list.
const BAN_SECS_MAX: u64 = 365 * 86_400;

/// How the guard stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    /// Networks that are let in by the lists.
    allowed: usize,
    /// Networks that are kept out by the lists.
    denied: usize,
    /// Sources that are banned now.
    banned: usize,
    /// Messages that were let in since the start.
    passed: u64,
    /// Messages that were refused or dropped since the start, by reason.
    #[schema(value_type = Object)]
    refused: Value,
    /// Who sends most, up to 128.
    sources: Vec<Source>,
    /// The latest bans that run, up to 1000.
    bans: Vec<Ban>,
}

/// One of those who send most.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Source {
    /// Its address; of IPv6 the first of its /64.
    source: String,
    /// The peer that it is: `tenant/name`.
    peer: Option<String>,
    /// Messages a second, of the last 5 to 10 seconds.
    messages_per_second: f64,
    /// How many of them were refused or dropped.
    refused_per_second: f64,
}

/// A source that is banned.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Ban {
    /// Its address, or its /64.
    source: String,
    /// `passwords`, `scanner`, `strays` or `operator`.
    why: String,
    /// Whether its address cannot have been forged.
    proven: bool,
    /// Whether it is registered or on the list of the allowed: then only its passwords are refused.
    spared: bool,
    /// Seconds that are left.
    seconds: u64,
}

impl From<&BannedSource> for Ban {
    fn from(banned: &BannedSource) -> Self {
        Self {
            source: banned.source.disclose(Purpose::Operation).to_text(),
            why: banned.why.name().into(),
            proven: banned.is_proven,
            spared: banned.is_spared,
            seconds: banned.left.as_secs(),
        }
    }
}

/// What is known of one address.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Look {
    /// The address.
    address: String,
    /// What becomes of its messages, in a sentence.
    verdict: String,
    /// `allowed`, `denied` or `no`.
    listed: String,
    /// The peer that it is: `tenant/name`.
    peer: Option<String>,
    /// Whether a password, a registration or a call from there is not long ago.
    proven: bool,
    /// Its ban.
    ban: Option<Ban>,
    /// Seconds that passwords from there are not looked at.
    penalty_seconds: Option<u64>,
}

/// Shows who sends most, who is banned, and what was refused.
#[utoipa::path(
    get,
    path = "/edge",
    tag = "edge",
    responses(
        (status = 200, description = "How it stands", body = Overview),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn overview(State(api): State<Api>) -> Result<Json<Overview>, Problem> {
    let view = api.node().edge().await.ok_or_else(overloaded)?;
    let counters = view.overview.counters;
    let refused: Map<String, Value> =
        Reason::ALL.iter().map(|&reason| (reason.name().into(), counters.refused(reason).into())).collect();
    let sources = view.overview.top.iter().zip(&view.peers).map(|(top, peer)| Source {
        source: top.source.disclose(Purpose::Operation).to_string(),
        peer: peer.as_ref().map(name_of),
        messages_per_second: top.messages_per_second,
        refused_per_second: top.refused_per_second,
    });
    Ok(Json(Overview {
        allowed: view.overview.allowed,
        denied: view.overview.denied,
        banned: view.overview.banned,
        passed: counters.passed,
        refused: refused.into(),
        sources: sources.collect(),
        bans: view.overview.bans.iter().map(Ban::from).collect(),
    }))
}

/// Tells what becomes of messages from an address, and why.
#[utoipa::path(
    get,
    path = "/edge/sources/{address}",
    tag = "edge",
    params(("address" = String, Path, description = "An IPv4 or IPv6 address")),
    responses(
        (status = 200, description = "What is known of it", body = Look),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn look_at(
    State(api): State<Api>,
    Segments(address): Segments<String>,
) -> Result<Json<Look>, Problem> {
    let address = address_of(&address)?;
    let (view, peer) = api.node().look_at(address).await.ok_or_else(overloaded)?;
    let ban = view.ban.as_ref().map(Ban::from);
    let verdict = match (&ban, view.listed) {
        (_, Listed::Denied) => "dropped: it is on the list of the denied",
        (Some(ban), _) if ban.why == "operator" => "dropped: an operator banned it",
        (Some(ban), _) if !ban.spared && peer.is_none() => "dropped: it is banned",
        (_, Listed::Allowed) => "let in without limits: it is on the list of the allowed",
        _ if peer.is_some() => "let in without limits: it is a peer",
        _ if view.proven => "let in without limits: it has proved itself",
        _ => "let in within the rates for strangers",
    };
    Ok(Json(Look {
        address: address.to_string(),
        verdict: verdict.into(),
        listed: match view.listed {
            Listed::Allowed => "allowed",
            Listed::Denied => "denied",
            Listed::No => "no",
        }
        .into(),
        peer: peer.as_ref().map(name_of),
        proven: view.proven,
        ban,
        penalty_seconds: view.penalty.map(|left| left.as_secs()),
    }))
}

/// A ban to begin.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBan {
    /// An IPv4 or IPv6 address; of IPv6 all of its /64 is banned.
    address: String,
    /// How long: 1 to 31,536,000 seconds.
    seconds: u64,
}

/// Bans an address at once, also if it is a peer or registered. It ends with the process; for longer there are lists.
#[utoipa::path(
    post,
    path = "/edge/bans",
    tag = "edge",
    request_body = NewBan,
    responses(
        (status = 204, description = "Banned"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn ban(
    State(api): State<Api>,
    by: Bearer,
    Body(new): Body<NewBan>,
) -> Result<StatusCode, Problem> {
    let address = address_of(&new.address)?;
    if !(1..=BAN_SECS_MAX).contains(&new.seconds) {
        let what = format!("{} is out of range: allowed is 1 to {BAN_SECS_MAX}", new.seconds);
        return Err(Problem::invalid_value("seconds", &what));
    }
    api.node().ban(address, Duration::from_secs(new.seconds)).await;
    tracing::info!(token = %by.0, seconds = new.seconds, "a source was banned by the API");
    Ok(StatusCode::NO_CONTENT)
}

/// Ends the ban and the penalties of an address.
#[utoipa::path(
    delete,
    path = "/edge/bans/{address}",
    tag = "edge",
    params(("address" = String, Path, description = "An IPv4 or IPv6 address")),
    responses(
        (status = 204, description = "It is banned no more"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn pardon(
    State(api): State<Api>,
    by: Bearer,
    Segments(address): Segments<String>,
) -> Result<StatusCode, Problem> {
    let address = address_of(&address)?;
    if !api.node().pardon(address).await {
        return Err(Problem::missing("ban of that address", "`offhook edge top` shows who is banned"));
    }
    tracing::info!(token = %by.0, "a ban was ended by the API");
    Ok(StatusCode::NO_CONTENT)
}

/// A network of the lists.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Network {
    /// The network, `192.0.2.0/24`, or one address.
    network: String,
    /// `allow` or `deny`.
    verdict: String,
    /// Why, in the operator's words.
    note: String,
    /// Since when, RFC 3339.
    since: String,
    /// The token it was listed with.
    who: String,
}

impl From<ListedNetwork> for Network {
    fn from(listed: ListedNetwork) -> Self {
        Self {
            network: listed.network.to_text(),
            verdict: listed.verdict.as_str().into(),
            note: listed.note,
            since: listed.since.to_string(),
            who: listed.who,
        }
    }
}

/// Lists the networks that were listed by the API. Those of the configuration and its files are not among them.
#[utoipa::path(
    get,
    path = "/edge/networks",
    tag = "edge",
    params(PageParams),
    responses(
        (status = 200, description = "A page", body = Page<Network>),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn list_networks(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
) -> Result<Json<Page<Network>>, Problem> {
    let networks = api.store().networks().await?.into_iter().map(Network::from).collect();
    Ok(Json(page_by(networks, &params, |network: &Network| network.network.clone())?))
}

/// What becomes of a network.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// It is let in without rates and bans.
    Allow,
    /// It is kept out.
    Deny,
}

impl From<Side> for Verdict {
    fn from(side: Side) -> Self {
        match side {
            Side::Allow => Self::Allow,
            Side::Deny => Self::Deny,
        }
    }
}

/// A network to list.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewNetwork {
    /// The network, `192.0.2.0/24` or `2001:db8::/32`, or one address.
    network: String,
    /// What becomes of it.
    verdict: Side,
    /// Why, up to 200 characters.
    #[serde(default)]
    note: String,
}

/// Puts a network on a list, at once and for good; if it is on one already, it moves.
#[utoipa::path(
    post,
    path = "/edge/networks",
    tag = "edge",
    request_body = NewNetwork,
    responses(
        (status = 204, description = "In force"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn add_network(
    State(api): State<Api>,
    by: Bearer,
    Body(new): Body<NewNetwork>,
) -> Result<StatusCode, Problem> {
    let network = network_of(&new.network)?;
    if new.note.chars().count() > NOTE_CHARS_MAX {
        let what = format!("it is too long: allowed are {NOTE_CHARS_MAX} characters");
        return Err(Problem::invalid_value("note", &what));
    }
    put(&api, &by, new.verdict, &new.note, &[network]).await
}

/// Which list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportParams {
    /// What becomes of the networks.
    verdict: Side,
    /// Why, up to 200 characters.
    #[serde(default)]
    note: String,
}

/// Puts many networks on a list, all or none: a text with a network a line, remarks behind `#` or `;`.
#[utoipa::path(
    post,
    path = "/edge/networks/import",
    tag = "edge",
    params(ImportParams),
    request_body(content = String, content_type = "text/plain"),
    responses(
        (status = 204, description = "In force"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn import_networks(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<ImportParams>,
    Text(text): Text,
) -> Result<StatusCode, Problem> {
    let networks =
        read_list(&text).map_err(|bad| Problem::invalid_value(format!("line {}", bad.line), bad.why))?;
    put(&api, &by, params.verdict, &params.note, &networks).await
}

async fn put(
    api: &Api,
    by: &Bearer,
    side: Side,
    note: &str,
    networks: &[Prefix],
) -> Result<StatusCode, Problem> {
    let many = u64::try_from(networks.len()).unwrap_or(u64::MAX);
    if api.store().network_count().await?.saturating_add(many) > NETWORKS_MAX {
        let what = format!("more than {NETWORKS_MAX} networks cannot be kept");
        return Err(Problem::conflict(what, "put long lists into a file, and name it in edge.deny_files"));
    }
    api.store().list_networks(&by.author(), side.into(), note, networks).await?;
    into_force(api).await?;
    tracing::info!(token = %by.0, networks = networks.len(), verdict = ?side, "networks were listed by the API");
    Ok(StatusCode::NO_CONTENT)
}

/// Which network.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NetworkParams {
    /// The network as it is listed.
    network: String,
}

/// Takes a network off its list.
#[utoipa::path(
    delete,
    path = "/edge/networks",
    tag = "edge",
    params(NetworkParams),
    responses(
        (status = 204, description = "It is on no list of the API's any more"),
        (status = "default", description = "A problem", body = Problem),
    )
)]
pub(crate) async fn remove_network(
    State(api): State<Api>,
    by: Bearer,
    Params(params): Params<NetworkParams>,
) -> Result<StatusCode, Problem> {
    let network = network_of(&params.network)?;
    if !api.store().unlist_network(&by.author(), network).await? {
        let hint =
            "`offhook edge list` shows all; those of the configuration and its files are changed there";
        return Err(Problem::missing(format!("network {} on a list", network.to_text()), hint));
    }
    into_force(&api).await?;
    tracing::info!(token = %by.0, "a network was taken off its list by the API");
    Ok(StatusCode::NO_CONTENT)
}

async fn into_force(api: &Api) -> Result<(), Problem> {
    api.node().lists_changed().await.map_err(|fault| {
        Problem::unavailable(
            format!("it is kept, but the lists in force stay: {fault}"),
            "correct the file; it is read again by itself",
        )
    })
}

fn address_of(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| Problem::parameter("address", "not an IPv4 or IPv6 address"))
}

fn network_of(text: &str) -> Result<Prefix, Problem> {
    text.parse().map_err(|why| Problem::parameter("network", format!("{why}")))
}

fn name_of(peer: &PeerName) -> String {
    format!("{}/{}", peer.tenant, peer.name)
}

fn overloaded() -> Problem {
    Problem::unavailable("the worker does not answer", "it is overloaded: try again")
}
