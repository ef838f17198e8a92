//! RFC 3263 by example: each file in `vectors/location` is a URI, what the node can use, a piece of DNS, and the targets in
//! order. Each is run through the plan alone, and through the resolver against a DNS server with the same records.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use offhook_base::Random;
use offhook_net::location::{
    LocationError, NextHop, Resolver, ResolverConfig, Support, Target,
    plan::{Answer, NaptrRecord, Question, SrvRecord, Step, begin},
};
use offhook_sip::uri::Uri;
use tokio::net::UdpSocket;

#[derive(Default)]
struct Vector {
    name: String,
    uri: String,
    support: Vec<String>,
    zone: Zone,
    targets: Vec<String>,
    error: Option<String>,
}

/// Records by name, as words: the type and its data.
#[derive(Clone, Default)]
struct Zone(BTreeMap<String, Vec<Vec<String>>>);

impl Vector {
    fn all() -> Vec<Self> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/location");
        let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() > 20);
        paths
            .iter()
            .map(|path| {
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                Self::parse(name, &fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    fn parse(name: String, text: &str) -> Self {
        let mut vector = Self { name, ..Self::default() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (first, rest) = line.split_once(' ').unwrap();
            let words = || rest.split(' ').map(str::to_owned).collect();
            match first {
                "uri" => vector.uri = rest.to_owned(),
                "support" => vector.support = words(),
                "target" => vector.targets.push(rest.to_owned()),
                "error" => vector.error = Some(rest.to_owned()),
                owner => vector.zone.0.entry(owner.to_owned()).or_default().push(words()),
            }
        }
        vector
    }

    fn support(&self) -> Support {
        let has = |word: &str| self.support.iter().any(|each| each == word);
        Support {
            transports: self.support.iter().filter_map(|word| word.parse().ok()).collect(),
            ipv4: has("ipv4"),
            ipv6: has("ipv6"),
        }
    }

    fn hop(&self) -> Result<NextHop, LocationError> {
        NextHop::from_uri(&Uri::parse(&self.uri).unwrap())
    }

    fn check(&self, way: &str, located: Result<Vec<Target>, LocationError>) {
        let expected = match &self.error {
            Some(error) => Err(error.clone()),
            None => Ok(self.targets.clone()),
        };
        let write = |target: &Target| format!("{} {}", target.transport, target.address);
        let found = located.map(|targets| targets.iter().map(write).collect::<Vec<_>>());
        assert_eq!(found.map_err(|error| format!("{error:?}")), expected, "{} by {way}", self.name);
    }
}

impl Zone {
    fn of_type<'a>(&'a self, owner: &str, kind: &'a str) -> impl Iterator<Item = &'a [String]> {
        let records = self.0.get(owner.trim_end_matches('.')).into_iter().flatten();
        records.filter(move |words| words[0] == kind).map(|words| &words[1..])
    }

    fn fails(&self, owner: &str) -> bool {
        self.of_type(owner, "SERVFAIL").next().is_some()
    }

    fn answer(&self, question: &Question) -> Answer {
        let (Question::Naptr(name) | Question::Srv(name) | Question::Addresses(name)) = question;
        if self.fails(name) {
            return Answer::Failed;
        }
        match question {
            Question::Naptr(name) => Answer::Naptr(self.of_type(name, "NAPTR").map(naptr).collect()),
            Question::Srv(name) => Answer::Srv(self.of_type(name, "SRV").map(srv).collect()),
            Question::Addresses(name) => {
                let addresses = self.of_type(name, "AAAA").chain(self.of_type(name, "A"));
                Answer::Addresses(addresses.map(|words| words[0].parse().unwrap()).collect())
            }
        }
    }
}

fn naptr(words: &[String]) -> NaptrRecord {
    NaptrRecord {
        order: words[0].parse().unwrap(),
        preference: words[1].parse().unwrap(),
        flags: words[2].clone(),
        service: words[3].clone(),
        replacement: words[4].clone(),
    }
}

fn srv(words: &[String]) -> SrvRecord {
    SrvRecord {
        priority: words[0].parse().unwrap(),
        weight: words[1].parse().unwrap(),
        port: words[2].parse().unwrap(),
        target: words[3].clone(),
    }
}

fn locate(
    hop: NextHop,
    support: Support,
    zone: &Zone,
    random: &mut Random,
) -> Result<Vec<Target>, LocationError> {
    let mut step = begin(hop, support);
    for _ in 0..4 {
        step = match step {
            Step::Done(targets) => return Ok(targets),
            Step::Failed(error) => return Err(error),
            Step::Ask { questions, then } => {
                then.answer(questions.iter().map(|question| zone.answer(question)).collect(), random)
            }
        };
    }
    panic!("more than three rounds of questions");
}

#[test]
fn the_plan_gives_the_targets_of_every_vector() {
    for vector in Vector::all() {
        let located = vector
            .hop()
            .and_then(|hop| locate(hop, vector.support(), &vector.zone, &mut Random::from_number(1)));
        vector.check("plan", located);
    }
}

#[tokio::test]
async fn the_resolver_gives_the_same_over_real_dns() {
    for vector in Vector::all() {
        let Ok(hop) = vector.hop() else { continue };
        let resolver = resolver(serve(vector.zone.clone()).await, vector.support());
        vector.check("resolver", resolver.locate(hop, &mut Random::from_number(1)).await);
    }
}

/// Method: a server that never answers, asked once with a short wait; a literal beside it needs no answer.
#[tokio::test]
async fn a_silent_server_is_unavailable_in_time_and_literals_do_not_ask_it() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let support = Support { transports: vec!["udp".parse().unwrap()], ipv4: true, ipv6: false };
    let resolver = resolver(silent.local_addr().unwrap(), support);
    let hop = |uri| NextHop::from_uri(&Uri::parse(uri).unwrap()).unwrap();
    let mut random = Random::from_number(1);
    assert_eq!(resolver.locate(hop("sip:a.example.com"), &mut random).await, Err(LocationError::Unavailable));
    assert_eq!(resolver.locate(hop("sip:192.0.2.1"), &mut random).await.unwrap().len(), 1);
}

/// RFC 2782 through the whole plan: weights 1 and 3 share the load as one to three.
#[test]
fn the_first_target_is_chosen_by_weight() {
    let zone = Vector::parse(
        String::new(),
        "_sip._udp.example.com SRV 0 10 5060 a.example.com\n_sip._udp.example.com SRV 0 30 5060 b.example.com\n\
         a.example.com A 192.0.2.1\nb.example.com A 192.0.2.3",
    )
    .zone;
    let support = Support { transports: vec!["udp".parse().unwrap()], ipv4: true, ipv6: false };
    let hop = NextHop::from_uri(&Uri::parse("sip:example.com;transport=udp").unwrap()).unwrap();
    let mut random = Random::from_number(4);
    let first = |random: &mut Random| locate(hop.clone(), support.clone(), &zone, random).unwrap()[0];
    let small: IpAddr = "192.0.2.1".parse().unwrap();
    let hits = (0..4000).filter(|_| first(&mut random).address.ip() == small).count();
    assert!((900..1200).contains(&hits), "{hits} of 4000");
}

fn resolver(server: SocketAddr, support: Support) -> Resolver {
    let config = ResolverConfig {
        servers: vec![server],
        server_timeout: Duration::from_millis(200),
        attempts: 1,
        total_timeout: Duration::from_secs(5),
        ..ResolverConfig::default()
    };
    Resolver::new(&config, support).unwrap()
}

/// Answers DNS questions from `zone` until the test ends.
async fn serve(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&respond(&zone, &buffer[..length]), from).await;
        }
    });
    address
}

/// RFC 1035 §4.1: the header, the question again, the records of its type.
fn respond(zone: &Zone, query: &[u8]) -> Vec<u8> {
    let (mut at, mut labels) = (12, Vec::new());
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let name = labels.join(".").to_ascii_lowercase();
    let question = &query[12..at + 5];
    let (kind, code) = match u16::from_be_bytes([query[at + 1], query[at + 2]]) {
        1 => ("A", 1_u16),
        28 => ("AAAA", 28),
        33 => ("SRV", 33),
        35 => ("NAPTR", 35),
        other => panic!("a question of type {other}"),
    };
    let records: Vec<_> = zone.of_type(&name, kind).map(|words| data(kind, words)).collect();
    let rcode = match (zone.fails(&name), zone.0.contains_key(&name)) {
        (true, _) => 2,
        (false, true) => 0,
        (false, false) => 3,
    };
    let mut answer = [&query[..2], &[0x85, 0x80 | rcode, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
    answer.extend_from_slice(question);
    for record in records {
        answer.extend_from_slice(&[0xc0, 12]); // the name of the question
        answer.extend_from_slice(&code.to_be_bytes());
        answer.extend_from_slice(&[0, 1, 0, 0, 0, 60]); // IN, 60 s
        answer.extend_from_slice(&(record.len() as u16).to_be_bytes());
        answer.extend_from_slice(&record);
    }
    answer
}

fn data(kind: &str, words: &[String]) -> Vec<u8> {
    let number = |word: &String| word.parse::<u16>().unwrap().to_be_bytes();
    match kind {
        "A" | "AAAA" => match words[0].parse().unwrap() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        },
        "SRV" => {
            let numbers = [number(&words[0]), number(&words[1]), number(&words[2])].concat();
            [numbers, encoded(&words[3])].concat()
        }
        _ => {
            let text = |word: &String| [&[word.len() as u8], word.as_bytes()].concat();
            let numbers = [number(&words[0]), number(&words[1])].concat();
            [numbers, text(&words[2]), text(&words[3]), vec![0], encoded(&words[4])].concat()
        }
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets
}
