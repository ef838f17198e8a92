//! Talking to the node's REST API.

use std::{path::Path, time::Duration};

use offhook_api::Problem;
use offhook_node::config::Config;
use offhook_store::words::explain;
use reqwest::{Client as Http, Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::{Failure, option, why};

/// The environment variable that names the token.
pub const TOKEN_VARIABLE: &str = "OFFHOOK_TOKEN";

/// How long to wait for a connection: a node on the same network answers in milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for an answer: longer than the node's own time-out, whose answer says more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A node, as this command line reaches it.
pub struct Client {
    http: Http,
    base: Url,
    token: String,
}

impl Client {
    /// The node at `url`, or where `config` has its API.
    pub fn new(config: &Config, url: Option<&str>) -> Result<Self, Failure> {
        let base = base_url(config, url)?;
        let token = token(&config.token_file())?;
        let http = Http::builder().connect_timeout(CONNECT_TIMEOUT).no_proxy().build();
        let http = http
            .map_err(|error| Failure::new(format!("cannot speak HTTP: {error}"), "report this as a bug"))?;
        Ok(Self { http, base, token })
    }

    /// Reads JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        let request = self.request(Method::GET, path, query).timeout(ANSWER_TIMEOUT);
        self.json(self.send(request).await?).await
    }

    /// Sends JSON, reads JSON.
    pub async fn send_json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.request(method, path, &[]).json(body).timeout(ANSWER_TIMEOUT);
        self.json(self.send(request).await?).await
    }

    /// Sends text, reads JSON.
    pub async fn send_text<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: String,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, path, query).body(body).timeout(ANSWER_TIMEOUT);
        self.json(self.send(request).await?).await
    }

    /// Sends a request whose answer has no body.
    pub async fn command(&self, method: Method, path: &str) -> Result<(), Failure> {
        self.command_with(method, path, &[]).await
    }

    /// The same with a query.
    pub async fn command_with(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<(), Failure> {
        self.send(self.request(method, path, query).timeout(ANSWER_TIMEOUT)).await.map(drop)
    }

    /// Sends JSON; the answer has no body.
    pub async fn send_empty(&self, method: Method, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        let request = self.request(method, path, &[]).json(body).timeout(ANSWER_TIMEOUT);
        self.send(request).await.map(drop)
    }

    /// Sends text; the answer has no body.
    pub async fn send_text_empty(
        &self,
        path: &str,
        query: &[(&str, String)],
        body: String,
    ) -> Result<(), Failure> {
        let request = self.request(Method::POST, path, query).body(body).timeout(ANSWER_TIMEOUT);
        self.send(request).await.map(drop)
    }

    /// Opens an answer that is read piece by piece.
    pub async fn open(&self, path: &str, query: &[(&str, String)]) -> Result<Response, Failure> {
        self.send(self.request(Method::GET, path, query)).await
    }

    /// The answer broke off.
    pub fn broke_off(&self, error: &reqwest::Error) -> Failure {
        Failure::broke_off(self.base.as_str(), &cause_of(error))
    }

    fn request(&self, method: Method, path: &str, query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("/api/v1{path}"));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let unreachable = |error| Failure::unreachable(self.base.as_str(), &cause_of(&error));
        let response = request.send().await.map_err(unreachable)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let text = response.text().await.unwrap_or_default();
        Err(refusal(status, &text))
    }

    async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let text = response.text().await.map_err(|error| self.broke_off(&error))?;
        serde_json::from_str(&text).map_err(|error| {
            let hint = "use the same version of the command line and the node; is --url an Offhook node?";
            Failure::new(
                format!("the node's answer is not understood: {}", explain(&error.to_string())),
                hint,
            )
        })
    }
}

/// What a problem document says, for people.
fn refusal(status: StatusCode, text: &str) -> Failure {
    let Ok(problem) = serde_json::from_str::<Problem>(text) else {
        return Failure::new(format!("the node answered {status}"), "is --url an Offhook node?");
    };
    if status == StatusCode::UNAUTHORIZED {
        return Failure::unauthenticated(
            "the node does not accept the token",
            format!("set {TOKEN_VARIABLE}, or run this where the node's data directory can be read"),
        );
    }
    let clean = |text: &str| crate::output::clean_lines(text);
    let faults: Vec<_> =
        problem.errors.iter().map(|error| (clean(&error.path), clean(&error.problem))).collect();
    // What the API says to its programmers is of no use here.
    let hint = if problem.hint.contains("openapi.json") {
        "`--help` of the command says what is allowed".into()
    } else {
        clean(&problem.hint)
    };
    if status == StatusCode::BAD_REQUEST && !faults.is_empty() {
        let options = faults.into_iter().map(|(name, problem)| (option(&name), problem));
        return Failure::usage(clean(&problem.title), hint).with_faults(options);
    }
    let message = if faults.len() > 1 { &problem.title } else { &problem.detail };
    Failure::new(clean(message), hint).with_faults(faults)
}

/// What lies at the bottom of an error: "connection refused" says more than "error sending request".
fn cause_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    why(cause)
}

fn base_url(config: &Config, url: Option<&str>) -> Result<Url, Failure> {
    let Some(url) = url else {
        let mut listen = config.http.listen;
        // One cannot connect to "everywhere".
        if listen.ip().is_unspecified() {
            listen.set_ip(if listen.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        return parse_url(&format!("http://{listen}"));
    };
    let parsed = parse_url(url)?;
    let here = match parsed.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let literal = host.trim_start_matches('[').trim_end_matches(']');
            literal.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    };
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if here => Ok(parsed),
        "http" => Err(Failure::usage(
            format!("--url {url}: plain HTTP would send the token in clear"),
            "use https://, or tunnel it: ssh -L 8080:127.0.0.1:8080 HOST",
        )),
        _ => Err(bad_url(url)),
    }
}

fn parse_url(url: &str) -> Result<Url, Failure> {
    Url::parse(url).map_err(|_| bad_url(url))
}

fn bad_url(url: &str) -> Failure {
    Failure::usage(format!("--url {url}: not an address of a node"), "write it like http://127.0.0.1:8080")
}

/// The token of the environment, else that of the node on this machine.
pub fn token(file: &Path) -> Result<String, Failure> {
    if let Ok(token) = std::env::var(TOKEN_VARIABLE)
        && !token.trim().is_empty()
    {
        return Ok(token.trim().into());
    }
    std::fs::read_to_string(file).map(|token| token.trim().to_string()).map_err(|error| {
        let path = file.display();
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!(
                    "start the node with `offhook serve` in this directory; if it runs elsewhere, name its \
                     configuration with --config, or set {TOKEN_VARIABLE}"
                )
            }
            _ => format!("run this as the node's user, or set {TOKEN_VARIABLE}"),
        };
        Failure::unauthenticated(format!("no token: cannot read {path}: {}", why(&error)), hint)
    })
}
