//! Random lives of a line against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use offhook_switch::registrar::{Registrar, RegistrarConfig};
use proptest::prelude::*;

use crate::stage::{Stage, contacts, listeners, register_text, response, try_request};

/// What a phone or the time does next.
#[derive(Clone, Debug)]
enum Step {
    /// A REGISTER of one of two phones, with one or two contacts by number and lifetime; its CSeq moves by so much.
    Register {
        phone: u8,
        contacts: Vec<(u8, u64)>,
        cseq_step: i8,
    },
    RemoveAll {
        phone: u8,
    },
    Query {
        phone: u8,
    },
    Pass {
        seconds: u64,
    },
}

/// Contact number to (ends, phone, cseq), in the order of binding.
#[derive(Default)]
struct Model {
    now: u64,
    bindings: Vec<(u8, u64, u8, u32)>,
    cseq: BTreeMap<u8, u32>,
}

const MAX: usize = 3;

impl Model {
    fn register(&mut self, phone: u8, wishes: &[(u8, u64)], cseq: u32) -> u16 {
        let mut wishes = wishes.to_vec();
        if wishes.iter().any(|(_, lifetime)| (1..60).contains(lifetime)) {
            return 423;
        }
        if wishes.len() == 2 && wishes[0].0 == wishes[1].0 {
            wishes.remove(0);
        }
        let overtaken = |(number, _): &(u8, u64)| {
            self.bindings.iter().any(|known| known.0 == *number && known.2 == phone && known.3 >= cseq)
        };
        if wishes.iter().any(overtaken) {
            return 500;
        }
        let mut after = self.bindings.clone();
        let before = after.len();
        for &(number, lifetime) in &wishes {
            let place = after.iter().position(|known| known.0 == number);
            let new = (number, self.now + lifetime, phone, cseq);
            match (place, lifetime) {
                (Some(place), 0) => drop(after.remove(place)),
                (Some(place), _) => after[place] = new,
                (None, 0) => {}
                (None, _) => after.push(new),
            }
        }
        if after.len() > MAX && after.len() > before {
            return 403;
        }
        self.bindings = after;
        200
    }

    fn remove_all(&mut self, phone: u8, cseq: u32) -> u16 {
        if self.bindings.iter().any(|known| known.2 == phone && known.3 >= cseq) {
            return 500;
        }
        self.bindings.clear();
        200
    }

    fn next_cseq(&mut self, phone: u8, step: i8) -> u32 {
        let cseq = self.cseq.entry(phone).or_insert(100);
        *cseq = cseq.saturating_add_signed(step.into());
        *cseq
    }

    fn told(&self) -> Vec<String> {
        let told = |(number, ends, _, _): &(u8, u64, u8, u32)| {
            format!("<sip:{number}@192.0.2.1>;expires={}", ends - self.now)
        };
        self.bindings.iter().map(told).collect()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lifetime = prop_oneof![Just(0_u64), Just(59), 60_u64..400];
    let contacts = proptest::collection::vec((0_u8..5, lifetime), 1..3);
    let step = prop_oneof![
        6 => (0_u8..2, contacts, -1_i8..4).prop_map(|(phone, contacts, cseq_step)| {
            Step::Register { phone, contacts, cseq_step }
        }),
        1 => (0_u8..2).prop_map(|phone| Step::RemoveAll { phone }),
        1 => (0_u8..2).prop_map(|phone| Step::Query { phone }),
        3 => (1_u64..200).prop_map(|seconds| Step::Pass { seconds }),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Goal: any order of registering, refreshing, removing and expiring leaves what the RFC says, and the facts alone
    /// rebuild it. Method: compare answers, contacts and a store fed with facts after every step.
    #[test]
    fn any_life_of_a_line_follows_the_model(steps in steps()) {
        let mut stage = Stage::new();
        let mut model = Model::default();
        let mut store: BTreeMap<String, ()> = BTreeMap::new();
        for step in steps {
            let call_id = |phone: u8| format!("call-{phone}");
            match step {
                Step::Register { phone, contacts: wishes, cseq_step } => {
                    let cseq = model.next_cseq(phone, cseq_step);
                    let status = model.register(phone, &wishes, cseq);
                    let lines: String = wishes
                        .iter()
                        .map(|(number, lifetime)| format!("Contact: <sip:{number}@192.0.2.1>;expires={lifetime}\n"))
                        .collect();
                    let answer = stage.register_as("101", &call_id(phone), cseq, &lines);
                    prop_assert_eq!(answer.status().as_u16(), status);
                    if status == 200 {
                        prop_assert_eq!(contacts(&answer), model.told());
                    }
                }
                Step::RemoveAll { phone } => {
                    let cseq = model.next_cseq(phone, 1);
                    let status = model.remove_all(phone, cseq);
                    let answer = stage.register_as("101", &call_id(phone), cseq, "Contact: *\nExpires: 0");
                    prop_assert_eq!(answer.status().as_u16(), status);
                }
                Step::Query { phone } => {
                    let cseq = model.next_cseq(phone, 1);
                    let answer = stage.register_as("101", &call_id(phone), cseq, "");
                    prop_assert_eq!(contacts(&answer), model.told());
                }
                Step::Pass { seconds } => {
                    model.now += seconds;
                    model.bindings.retain(|known| known.1 > model.now);
                    stage.pass_with_timers(seconds);
                }
            }
            for change in stage.changes() {
                match change.split_at(1) {
                    ("+", key) => drop(store.insert(key.to_owned(), ())),
                    ("=", key) => prop_assert!(store.contains_key(key), "a refresh of nothing: {}", key),
                    (_, gone) => {
                        let key = gone.split(' ').next().unwrap();
                        prop_assert!(store.remove(key).is_some(), "a fact about nothing: {}", key);
                    }
                }
            }
            let keys: Vec<&str> = store.keys().map(String::as_str).collect();
            let mut expected: Vec<String> =
                model.bindings.iter().map(|known| format!("sip:{}@192.0.2.1", known.0)).collect();
            expected.sort();
            prop_assert_eq!(keys, expected);
            prop_assert_eq!(stage.registrar.len(), model.bindings.len());
            prop_assert_eq!(stage.registrar.next_timeout().is_some(), !model.bindings.is_empty());
        }
    }
}

/// Pieces that REGISTERs are made of, right and wrong ones.
fn headers() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("Contact: ".to_owned()),
        Just("\nContact: ".to_owned()),
        Just("\nExpires: 0".to_owned()),
        Just("\nSupported: path, outbound, gruu".to_owned()),
        Just("\nPath: <sip:p.example.net;lr;ob>".to_owned()),
        Just("\nUser-Agent: ".to_owned()),
        Just("\nRequire: outbound".to_owned()),
        Just("<sip:101@192.0.2.1>".to_owned()),
        Just("<sip:101@192.0.2.1;pn-provider=x;pn-prid=%ff%zz>".to_owned()),
        Just(";+sip.instance=\"<urn:uuid:x>\"".to_owned()),
        Just(";+sip.instance=\"\\\"\\\\\"".to_owned()),
        Just(";reg-id=1".to_owned()),
        Just(";expires=".to_owned()),
        Just(";q=".to_owned()),
        Just("4294967296".to_owned()),
        Just("0.5".to_owned()),
        Just("*".to_owned()),
        Just(", ".to_owned()),
        Just("\n ".to_owned()),
        "[ -~äß\u{1F4DE}]{0,12}",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// Goal: no REGISTER, however odd, brings the registrar down, and what was refused changed nothing. Method: put
    /// REGISTERs together from pieces of right and wrong ones.
    #[test]
    fn whatever_a_device_sends_is_answered_and_a_refusal_changes_nothing(headers in headers()) {
        let mut stage = Stage::new();
        stage.register(1, "Contact: <sip:101@192.0.2.1>");
        stage.changes();
        let text = register_text("101", "call-1@192.0.2.10", 2, "X: y").replace("X: y", &format!("X: y\n{headers}"));
        let Some(request) = try_request(&text) else { return Ok(()) };
        let who = stage.authenticate("101", &register_text("101", "call-1@192.0.2.10", 2, ""));
        let mut out = bytes::BytesMut::new();
        let answered =
            stage.registrar.register(&request, &who, &stage.flow, stage.now, "totag", &mut out);
        let answer = response(answered.response);
        let stored = stage.stored();
        if answer.status().is_success() {
            prop_assert_eq!(contacts(&answer).len(), stage.registrar.len());
            prop_assert!(answer.headers().contacts().is_ok(), "we read our own answer");
        } else {
            prop_assert!(stored.is_empty());
            prop_assert_eq!(stage.uris(), [["sip:101@192.0.2.1"]]);
        }
        let mut later = Registrar::new(RegistrarConfig::default(), &[7; 32]);
        later.restore(stored.clone(), &stage.directory, &listeners(), stage.now);
        prop_assert_eq!(later.len(), stored.len());
    }
}
