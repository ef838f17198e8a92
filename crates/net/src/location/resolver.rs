//! Puts the questions of [`plan`] to DNS.

use std::{net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig as HickoryConfig, ResolverOpts,
    },
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData, RecordType},
};
use offhook_base::Random;
use tokio::time::timeout;

use super::plan::{
    Answer, LocationError, NaptrRecord, NextHop, Question, SrvRecord, Step, Support, Target, begin,
};

/// How to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolverConfig {
    /// Name servers; none: those of `/etc/resolv.conf`.
    pub servers: Vec<SocketAddr>,
    /// Longest wait for one server. Default 2 s.
    pub server_timeout: Duration,
    /// How often a question is asked. Default 2.
    pub attempts: usize,
    /// Longest time for a whole location, all rounds together. Default 6 s: under the 32 s of a transaction, time must be
    /// left to try targets.
    pub total_timeout: Duration,
    /// Answers remembered, each for as long as its zone allows. Default 4096.
    pub cache_records: u64,
}

impl Default for ResolverConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            server_timeout: Duration::from_secs(2),
            attempts: 2,
            total_timeout: Duration::from_secs(6),
            cache_records: 4096,
        }
    }
}

/// The resolver cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up DNS: {0}")]
pub struct ResolverError(#[from] NetError);

impl ResolverError {
    /// What the operator can do about it.
    pub const fn hint(&self) -> &'static str {
        "check /etc/resolv.conf, or name servers in dns.servers"
    }
}

/// Locates next hops. Clones share one cache.
#[derive(Clone)]
pub struct Resolver {
    dns: TokioResolver,
    support: Support,
    total_timeout: Duration,
}

impl Resolver {
    /// A resolver that offers only what `support` names.
    ///
    /// # Errors
    /// [`ResolverError`] if the system's configuration cannot be read.
    pub fn new(config: &ResolverConfig, support: Support) -> Result<Self, ResolverError> {
        let mut builder = if config.servers.is_empty() {
            Hickory::builder_tokio()?
        } else {
            let servers = config.servers.iter().map(|address| name_server(*address)).collect();
            let servers = HickoryConfig::from_parts(None, Vec::new(), servers);
            Hickory::builder_with_config(servers, TokioRuntimeProvider::default())
        };
        options(builder.options_mut(), config);
        Ok(Self { dns: builder.build()?, support, total_timeout: config.total_timeout })
    }

    /// The targets of `hop`, in the order in which they shall be tried; at least one. An address literal costs no I/O.
    /// `random` decides between SRV records of equal priority.
    ///
    /// # Errors
    /// [`LocationError`]; [`LocationError::Unavailable`] is the one that may pass.
    pub async fn locate(&self, hop: NextHop, random: &mut Random) -> Result<Vec<Target>, LocationError> {
        let mut step = begin(hop, self.support.clone());
        let located = timeout(self.total_timeout, async {
            loop {
                match step {
                    Step::Done(targets) => return Ok(targets),
                    Step::Failed(error) => return Err(error),
                    Step::Ask { questions, then } => {
                        let answers = join_all(questions.iter().map(|question| self.ask(question))).await;
                        step = then.answer(answers, random);
                    }
                }
            }
        });
        located.await.unwrap_or(Err(LocationError::Unavailable))
    }

    async fn ask(&self, question: &Question) -> Answer {
        let (Question::Naptr(name) | Question::Srv(name) | Question::Addresses(name)) = question;
        let Some(name) = absolute(name) else { return Answer::Nothing };
        let answer = match question {
            Question::Naptr(_) => self.naptr(name).await,
            Question::Srv(_) => self.srv(name).await,
            Question::Addresses(_) => self.addresses(name).await,
        };
        answer.unwrap_or_else(|error| match error.is_no_records_found() {
            true => Answer::Nothing,
            false => {
                // The kind only: the error's text may hold the name that was asked.
                tracing::debug!(error = error.as_metrics_label(), "DNS did not answer");
                Answer::Failed
            }
        })
    }

    async fn naptr(&self, name: Name) -> Result<Answer, NetError> {
        let lookup = self.dns.lookup(name, RecordType::NAPTR).await?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            // One with a rule instead of a replacement is not for SIP (RFC 3263 §4.1).
            RData::NAPTR(naptr) if naptr.regexp.is_empty() => Some(NaptrRecord {
                order: naptr.order,
                preference: naptr.preference,
                flags: String::from_utf8_lossy(&naptr.flags).into_owned(),
                service: String::from_utf8_lossy(&naptr.services).into_owned(),
                replacement: naptr.replacement.to_ascii(),
            }),
            _ => None,
        });
        Ok(Answer::Naptr(records.collect()))
    }

    async fn srv(&self, name: Name) -> Result<Answer, NetError> {
        let lookup = self.dns.lookup(name, RecordType::SRV).await?;
        let records = lookup.answers().iter().filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(SrvRecord {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_ascii(),
            }),
            _ => None,
        });
        Ok(Answer::Srv(records.collect()))
    }

    async fn addresses(&self, name: Name) -> Result<Answer, NetError> {
        Ok(Answer::Addresses(self.dns.lookup_ip(name).await?.iter().collect()))
    }
}

/// Without search domains: a SIP domain is absolute. `None` if it cannot be a DNS name.
fn absolute(name: &str) -> Option<Name> {
    // Service names begin with an underscore, which the rules for international host names refuse.
    let parsed = if name.is_ascii() { Name::from_ascii(name) } else { Name::from_utf8(name) };
    let mut name = parsed.ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .into_iter()
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .collect();
    server
}

fn options(options: &mut ResolverOpts, config: &ResolverConfig) {
    options.timeout = config.server_timeout;
    options.attempts = config.attempts;
    options.cache_size = config.cache_records;
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
}
