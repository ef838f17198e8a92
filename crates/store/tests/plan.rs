//! Site documents: the plan says what will be done, applying it does that, and then there is nothing left to do.

mod common;

use std::fmt::Write;

use common::author;
use offhook_store::{
    EditError, Item, ItemKey, Kind, LineSpec, Named, PeerSpec, SiteDocument, Store, hash_password,
};
use offhook_switch::directory::Secret;
use proptest::prelude::*;

const FIRST: &str = r#"
[tenants.default]
domains = ["voice.example.org"]
[tenants.default.users.anna]
full_name = "Anna Example"
[tenants.default.lines.101]
user = "anna"
password = "first password"
[tenants.default.lines.102]
generate = true
[tenants.default.devices.desk]
kind = "desk phone"
lines = ["101", "102"]
[tenants.default.peers.carrier]
sources = ["192.0.2.0/24"]
host = "sip.example.net"
username = "us"
secret = "trunk secret"
prefixes = ["+49"]
"#;

const SECOND: &str = r#"
[tenants.default]
domains = ["voice.example.org"]
[tenants.default.lines.101]
password = "second password"
[tenants.default.lines.102]
may_call = "outside"
display_name = "Hall \"B\" — Süd"
generate = true
"#;

fn parse(text: &str) -> SiteDocument {
    SiteDocument::parse(text).unwrap()
}

#[tokio::test]
async fn a_plan_reads_well_and_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.add_line(&author(), LineSpec::new("default", "999")).await.unwrap();

    let plan = store.plan(&parse(FIRST), false).await.unwrap();
    assert_eq!(
        plan.to_string(),
        "~ tenant default domains - -> voice.example.org\n\
         + user anna@default\n\
         + line 101@default\n\
         + line 102@default\n\
         + device desk@default\n\
         + peer carrier@default\n"
    );
    let applied = store.apply(&author(), &plan).await.unwrap();
    assert_eq!(applied.generation, 2);
    assert_eq!(applied.made.len(), 1, "only the generated password is told");
    assert_eq!(applied.made[0].line.to_string(), "line 102@default");
    let line = store.line("default", "101").await.unwrap();
    assert_eq!(line.password, hash_password("101", "offhook", &Secret::new("first password")));
    assert!(store.plan(&parse(FIRST), false).await.unwrap().is_empty());

    let plan = store.plan(&parse(SECOND), true).await.unwrap();
    assert_eq!(
        plan.to_string(),
        "~ line 101@default user anna -> -, password changed\n\
         ~ line 102@default display_name changed, may_call inside -> outside\n\
         - user anna@default\n\
         - line 999@default\n\
         - device desk@default\n\
         - peer carrier@default\n"
    );
    let kept = store.line("default", "102").await.unwrap().password;
    assert!(store.apply(&author(), &plan).await.unwrap().made.is_empty());
    assert_eq!(store.line("default", "102").await.unwrap().password, kept, "generate is for new lines");
    assert!(store.plan(&parse(SECOND), true).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_plan_made_before_another_change_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let plan = store.plan(&parse(FIRST), false).await.unwrap();
    store.add_line(&author(), LineSpec::new("default", "999")).await.unwrap();
    let refused = store.apply(&author(), &plan).await.unwrap_err();
    assert!(matches!(refused, EditError::Moved { planned: 0, found: 1 }), "{refused}");
    assert_eq!(store.load_site().await.unwrap().lines.len(), 1);
}

#[tokio::test]
async fn all_faults_of_a_document_are_told_at_once_with_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let bad = r#"
[tenants.default]
domains = ["Voice.Example.org", "shared.example.org"]
[tenants.default.lines.101]
user = "nobody"
[tenants.default.lines.102]
password = "short"
calls_max = 0
[tenants.default.lines.103]
password = "long enough"
generate = true
[tenants.default.devices.desk]
lines = ["101", "404"]
[tenants.default.peers.carrier]
sources = ["192.0.2.0/24", "192.0.2.0/33"]
transport = "smoke"
port = 5060
[tenants.other]
domains = ["shared.example.org"]
"#;
    let refused = store.plan(&parse(bad), false).await.unwrap_err();
    let mut said: Vec<_> = refused.to_string().lines().map(str::to_string).collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [
            "tenants.default.devices.desk.lines[1]: there is no line '404' in this tenant",
            "tenants.default.domains[0]: not a host name or address in lower case, for example voice.example.org",
            "tenants.default.lines.101.user: there is no user 'nobody' in this tenant",
            "tenants.default.lines.101: a new line needs password = \"...\" or generate = true",
            "tenants.default.lines.102.calls_max: must be from 1 to 1000",
            "tenants.default.lines.102.password: a password has 8 to 128 characters, none of them a control character",
            "tenants.default.lines.103.generate: write either password or generate, not both",
            "tenants.default.lines.103: a new line needs password = \"...\" or generate = true",
            "tenants.default.peers.carrier.port: a port or transport needs a host",
            "tenants.default.peers.carrier.sources[1]: not an address range; write an address or address/prefix, for example 192.0.2.0/24",
            "tenants.default.peers.carrier.transport: not a transport; allowed are udp, tcp, tls, ws, wss",
            "tenants.other.domains[0]: the domain 'shared.example.org' belongs to tenant 'default'",
        ]
    );
    assert_eq!(store.load_site().await.unwrap().generation, 0);
}

/// Goal: nobody can tell which of two peers a request is from if both have its source. Checked where a plan is made, where
/// one peer is changed, and not between peers of which one is switched off.
#[tokio::test]
async fn the_same_addresses_are_refused_to_a_second_peer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let both = "[tenants.default.peers.a]\nsources = [\"192.0.2.0/24\"]\n\
                [tenants.one.peers.b]\nsources = [\"198.51.100.1\", \"192.0.2.9/24\"]\n";
    let refused = store.plan(&parse(both), false).await.unwrap_err().to_string();
    assert!(
        refused.starts_with("tenants.one.peers.b.sources[1]: 192.0.2.9/24 belongs to peer a@default"),
        "{refused}"
    );

    let off = format!("{both}enabled = false\n");
    let plan = store.plan(&parse(&off), false).await.unwrap();
    store.apply(&author(), &plan).await.unwrap();
    let peer = store.load_site().await.unwrap().peers.into_iter().find(|peer| &*peer.name == "b").unwrap();
    let on = PeerSpec { enabled: true, ..PeerSpec::from(&peer) };
    let refused = store.set(&author(), Item::Peer(on)).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "tenants.one.peers.b.sources[1]: 192.0.2.9/24 belongs to peer a@default: a request from there would be either's"
    );
    let narrower = PeerSpec { sources: vec!["192.0.2.9".parse().unwrap()], ..PeerSpec::new("one", "c") };
    store.add(&author(), Item::Peer(narrower)).await.expect("the narrower range wins, so it is no quarrel");
}

#[tokio::test]
async fn a_peers_secret_goes_with_its_user_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let peer =
        |more: &str| parse(&format!("[tenants.default.peers.carrier]\nhost = \"sip.example.net\"\n{more}"));
    let refused = store.plan(&peer("username = \"us\"\n"), false).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "tenants.default.peers.carrier.username: a username needs a secret, the password for the peer's challenges"
    );
    let alone = PeerSpec { username: Some("us".into()), ..PeerSpec::new("default", "other") };
    assert_eq!(store.add(&author(), Item::Peer(alone)).await.unwrap_err().to_string().lines().count(), 1);

    let whole = peer("username = \"us\"\nsecret = \"trunk\"\n");
    store.apply(&author(), &store.plan(&whole, false).await.unwrap()).await.unwrap();
    // The document may keep silent about the secret, which then stays.
    assert!(store.plan(&peer("username = \"us\"\n"), false).await.unwrap().is_empty());
    let dropped = store.plan(&peer(""), false).await.unwrap();
    assert_eq!(dropped.to_string(), "~ peer carrier@default username us -> -, secret changed\n");
    store.apply(&author(), &dropped).await.unwrap();
    assert_eq!(store.load_site().await.unwrap().peers[0].secret, None);
    assert!(store.plan(&peer(""), false).await.unwrap().is_empty());
}

#[tokio::test]
async fn emergency_calls_that_lead_nowhere_are_told_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let numbers: [Box<str>; 2] = ["112".into(), "911".into()];
    let text = "[tenants.default.lines.112]\ngenerate = true\n[tenants.default.peers.carrier]\n\
                host = \"sip.example.net\"\nprefixes = [\"11\"]\n";
    let plan = store.plan(&parse(text), false).await.unwrap();
    let before = store.load_site().await.unwrap();
    assert!(before.advice(&numbers)[0].contains("no peer takes 112, 911"));
    let after = before.advice_after(&plan, &numbers);
    assert!(after[0].starts_with("line 112@default has an emergency number for a name"), "{after:?}");
    assert!(after[1].contains("no peer takes 911;"), "{after:?}");
    store.apply(&author(), &plan).await.unwrap();
    assert_eq!(store.load_site().await.unwrap().advice(&numbers), after);
    assert!(store.load_site().await.unwrap().advice(&[]).is_empty());
}

#[tokio::test]
async fn a_name_that_is_not_there_is_answered_with_a_near_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    store.add_line(&author(), LineSpec::new("default", "101")).await.unwrap();
    let found = async |tenant, name| store.look_up(&ItemKey::new(Kind::Line, tenant, name)).await.unwrap();
    assert_eq!(found("default", "101").await, Named::There);
    assert_eq!(found("default", "109").await, Named::Missing(Some("101".into())));
    assert_eq!(found("default", "carla").await, Named::Missing(None));
    assert_eq!(found("defalt", "101").await, Named::NoTenant(Some("default".into())));
}

#[tokio::test]
async fn two_tenants_can_exchange_their_domains() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    for (one, two) in [("a.example", "b.example"), ("b.example", "a.example")] {
        let text = format!("[tenants.one]\ndomains = [\"{one}\"]\n[tenants.two]\ndomains = [\"{two}\"]\n");
        let plan = store.plan(&parse(&text), false).await.unwrap();
        store.apply(&author(), &plan).await.unwrap();
        let directory = store.load_directory().await.unwrap();
        assert_eq!(&*directory.tenant_of_domain(one, || false).unwrap().name, "one");
    }
}

/// One made-up tenant: what it has is drawn from small sets, so that successive documents overlap.
fn tenant(name: &'static str) -> impl Strategy<Value = String> {
    let line = (any::<bool>(), any::<bool>(), 1..4_u8, 0..3_u8, any::<bool>());
    let lines = proptest::collection::btree_map(100..105_u16, line, 0..5);
    let users = proptest::sample::subsequence(vec!["anna", "bert"], 0..=2);
    (users, lines, any::<bool>(), 0..4_u8).prop_map(move |(users, lines, device, peer)| {
        let mut text = format!("[tenants.{name}]\ndomains = [\"{name}.example\"]\n");
        for user in &users {
            writeln!(text, "[tenants.{name}.users.{user}]\nfull_name = \"{user} of {name}\"").unwrap();
        }
        for (line, (enabled, outside, limit, password, held)) in &lines {
            writeln!(text, "[tenants.{name}.lines.{line}]\nenabled = {enabled}\nbindings_max = {limit}")
                .unwrap();
            writeln!(text, "may_call = \"{}\"", if *outside { "outside" } else { "inside" }).unwrap();
            let srtp = ["auto", "never", "always"][usize::from(limit % 3)];
            writeln!(text, "srtp = \"{srtp}\"").unwrap();
            match password {
                0 => writeln!(text, "generate = true").unwrap(),
                number => writeln!(text, "password = \"password {number}\"").unwrap(),
            }
            if let Some(user) = users.first().filter(|_| *held) {
                writeln!(text, "user = \"{user}\"").unwrap();
            }
        }
        if device {
            let held: Vec<_> = lines.keys().rev().map(u16::to_string).collect();
            writeln!(text, "[tenants.{name}.devices.desk]\nlines = {held:?}").unwrap();
        }
        if peer > 0 {
            // Each tenant's carrier has addresses of its own.
            let network = if name == "one" { "192.0.2" } else { "198.51.100" };
            writeln!(text, "[tenants.{name}.peers.carrier]\nsources = [\"{network}.{peer}\"]").unwrap();
            match peer {
                1 => writeln!(text, "secret = \"\"").unwrap(),
                _ => writeln!(text, "username = \"us\"\nsecret = \"trunk\"").unwrap(),
            }
        }
        text
    })
}

fn document() -> impl Strategy<Value = String> {
    (tenant("default"), tenant("one"), any::<bool>())
        .prop_map(|(default, one, both)| if both { default + &one } else { default })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever was configured before: after a plan was applied, the same document has nothing left to do.
    #[test]
    fn after_a_plan_is_applied_nothing_is_left_to_do(
        documents in proptest::collection::vec((document(), any::<bool>()), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).await.unwrap();
            for (text, prune) in documents {
                let document = parse(&text);
                let plan = store.plan(&document, prune).await.unwrap();
                store.apply(&author(), &plan).await.unwrap();
                let rest = store.plan(&document, prune).await.unwrap();
                prop_assert_eq!(rest.to_string(), "");
            }
            Ok(())
        })?;
    }
}
