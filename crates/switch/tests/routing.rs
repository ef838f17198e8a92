//! What a routing document does to calls.

use std::{collections::BTreeMap, sync::Arc};

use offhook_base::{Instant, Random, UtcMillis};
use offhook_switch::{
    directory::{CallPermission, Directory, Line, LineId, Peer, PeerId},
    peer_calls::PeerCalls,
    route::{Caller, NoRoute, Query, Route, decide},
    routing::{Anything, Fleet, PrefixTable, Probes, Routing, RoutingDocument, Turns},
    settings::Settings,
};

/// A tenant with lines 101 (may call out) and 102 (may not), and peers alpha, beta and gamma.
struct World {
    directory: Directory,
    settings: Settings,
    calls: PeerCalls,
    turns: Turns,
    random: Random,
    at: UtcMillis,
}

impl World {
    fn new(document: &str, tables: &[(&str, &str)]) -> Self {
        let document: RoutingDocument = toml::from_str(document).unwrap();
        let tables: BTreeMap<&str, PrefixTable> =
            tables.iter().map(|(name, text)| (*name, PrefixTable::parse(text).unwrap())).collect();
        let routing = Routing::new(&document, |_, name| tables.get(name), &Anything).unwrap();
        let line = |number: u64, name: &str, may_call| Line {
            enabled: true,
            may_call,
            ..Line::removed(LineId(number), "default", name)
        };
        let lines = vec![line(1, "101", CallPermission::Outside), line(2, "102", CallPermission::Inside)];
        let peer = |number: u64, name: &str| Peer {
            enabled: true,
            host: Some("192.0.2.1".into()),
            calls_max: 10,
            may_call: CallPermission::Outside,
            ..Peer::removed(PeerId(number), "default", name)
        };
        let peers = vec![peer(1, "alpha"), peer(2, "beta"), peer(3, "gamma")];
        Self {
            directory: Directory::new(vec![], vec![], vec![], lines, peers).with_routing(Arc::new(routing)),
            settings: Settings::default(),
            calls: PeerCalls::default(),
            turns: Turns::default(),
            random: Random::from_number(1),
            at: UtcMillis(0),
        }
    }

    /// Where a call goes: `peer as number` each, or the line; and the steps.
    fn explained(&mut self, from: &str, number: &str) -> (Result<String, NoRoute>, Vec<String>) {
        let caller = match self.directory.line("default", from) {
            Some(line) => Caller::Line(Arc::clone(line)),
            None => Caller::Peer(Arc::clone(self.directory.peer_named("default", from).unwrap())),
        };
        let query = Query {
            directory: &self.directory,
            settings: &self.settings,
            caller: &caller,
            caller_number: from,
            number,
            domain_is_ours: true,
            at: self.at,
        };
        let mut fleet = Fleet {
            calls: &self.calls,
            turns: &mut self.turns,
            probes: &Probes::default(),
            now: Instant::default(),
            random: &mut self.random,
        };
        let mut steps = Vec::new();
        let route = decide(&query, &mut fleet, &mut steps).map(|route| match route {
            Route::Trunks(trunks) => {
                let tries = trunks.untried.iter();
                let tries = tries.map(|trunk| format!("{} as {}", trunk.peer.name, trunk.number));
                tries.collect::<Vec<_>>().join(", ")
            }
            Route::Line(line) => format!("line {}", line.name),
            other => format!("{other:?}"),
        });
        (route, steps)
    }

    fn goes(&mut self, from: &str, number: &str) -> String {
        self.explained(from, number).0.unwrap_or_else(|refused| format!("{refused:?}"))
    }

    /// The first peer of a call.
    fn first(&mut self, from: &str) -> String {
        self.goes(from, "5").split(' ').next().unwrap_or_default().to_string()
    }
}

const NUMBERS: &str = r#"
[tenants.default]
numbers = { country = "49", national = "0", international = "00" }

[tenants.default.peers.alpha]
numbers = "national"

[tenants.default.peers.beta]
numbers = "e164"

[[tenants.default.routes]]
name = "germany"
prefixes = ["+49"]
to = ["alpha", "beta"]

[[tenants.default.routes]]
name = "berlin"
prefixes = ["+4930"]
to = ["beta"]

[[tenants.default.routes]]
name = "own number"
prefixes = ["+493012345"]
from = ["peers"]
to = ["line:102"]

[[tenants.default.routes]]
name = "via"
prefixes = ["99"]
strip = 2
add = "0100"
to = ["gamma"]
"#;

#[test]
fn the_longest_prefix_decides_and_each_peer_gets_the_number_in_its_form() {
    let mut world = World::new(NUMBERS, &[]);
    assert_eq!(world.goes("101", "0891234"), "alpha as 0891234, beta as 49891234");
    assert_eq!(world.goes("101", "0049301234"), "beta as 49301234");
    assert_eq!(world.goes("101", "+49301234"), "beta as 49301234");
    assert_eq!(world.goes("101", "99777"), "gamma as 0100777");
    assert_eq!(world.goes("101", "0033"), "NotFound");
    assert_eq!(world.goes("102", "0891234"), "NotPermitted", "it may call lines only");
    assert_eq!(world.goes("alpha", "+493012345"), "line 102");
    assert_eq!(world.goes("101", "03012345"), "beta as 493012345", "the route to the line is for peers");
    assert_eq!(world.goes("alpha", "0891234"), "beta as 49891234", "never back to where it comes from");
}

#[test]
fn every_step_is_told() {
    let mut world = World::new(NUMBERS, &[]);
    let (_, steps) = world.explained("101", "03012345");
    let expected = [
        "line 03012345: there is none, nor does the node answer itself",
        "number: 03012345 is +493012345",
        "route own number: not for this caller",
        "route berlin: holds",
        "  1. peer beta",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn the_cheapest_of_a_table_comes_first_and_time_and_caller_decide() {
    let document = r#"
[[tenants.default.routes]]
name = "night"
prefixes = [""]
hours = ["22:00-06:00"]
to = ["gamma"]

[[tenants.default.routes]]
table = "rates"
from = ["line:101"]
"#;
    let table = "4,alpha,0.03\n4,beta,0.01\n49,gamma,0.02\n49,alpha,0.02\n";
    let mut world = World::new(document, &[("rates", table)]);
    world.at = UtcMillis(12 * 3_600_000);
    assert_eq!(world.goes("101", "41"), "beta as 41, alpha as 41");
    assert_eq!(world.goes("101", "49"), "gamma as 49, alpha as 49");
    assert_eq!(world.goes("alpha", "49"), "NotFound");
    world.at = UtcMillis(0);
    assert_eq!(world.goes("alpha", "49"), "gamma as 49");
}

fn set(order: &str, members: &str) -> String {
    format!(
        "[tenants.default.sets.all]\norder = {order:?}\nmembers = [{members}]\n\
         [[tenants.default.routes]]\nprefixes = [\"5\"]\nto = [\"all\"]\n"
    )
}

#[test]
fn sets_go_round_by_weight_by_caller_and_by_load() {
    let three = r#"{ peer = "alpha" }, { peer = "beta" }, { peer = "gamma", priority = 2 }"#;
    let mut world = World::new(&set("round_robin", three), &[]);
    let firsts: Vec<_> = (0..4).map(|_| world.first("101")).collect();
    assert_eq!(firsts, ["alpha", "beta", "alpha", "beta"]);
    assert_eq!(world.goes("101", "5"), "alpha as 5, beta as 5, gamma as 5");

    let shares = r#"{ peer = "alpha", weight = 90 }, { peer = "beta", weight = 10 }"#;
    let mut world = World::new(&set("weight", shares), &[]);
    let of_alpha = (0..10_000).filter(|_| world.first("101") == "alpha").count();
    assert!((8_800..9_200).contains(&of_alpha), "{of_alpha}");

    let mut world = World::new(&set("hash", three), &[]);
    let first = world.first("101");
    assert!((0..10).all(|_| world.first("101") == first));

    let mut world = World::new(&set("least_load", three), &[]);
    let alpha = Arc::clone(world.directory.peer_named("default", "alpha").unwrap());
    assert!(world.calls.take(&alpha, None, Instant::default()));
    assert_eq!(world.first("101"), "beta");
}

#[test]
fn calls_of_a_peer_are_limited_at_once_and_per_second() {
    let document = "[tenants.default.peers.alpha]\ncalls_per_second = 2\nburst = 3\n";
    let mut world = World::new(document, &[]);
    let alpha = Arc::clone(world.directory.peer_named("default", "alpha").unwrap());
    let rules = world.directory.rules_of(&alpha);
    let at = |millis: u64| Instant::default() + std::time::Duration::from_millis(millis);
    let taken = |calls: &mut PeerCalls, at| calls.take(&alpha, rules, at);
    let calls = &mut world.calls;
    assert_eq!([0, 0, 0, 0].map(|millis| taken(calls, at(millis))), [true, true, true, false]);
    assert!(taken(calls, at(500)) && !taken(calls, at(600)));
    let seconds = (2..9).filter(|second| taken(calls, at(second * 1000))).count();
    assert_eq!(seconds, 6, "ten at once");
    assert_eq!((calls.counters().full, calls.counters().too_fast), (1, 2));
}
