//! Values of the guard at the edge: networks, and rates by method.

use std::{collections::BTreeMap, fmt};

use offhook_edge::Prefix;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::section::Describe;

/// A network or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub Prefix);

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_text())
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NetworkVisitor)
    }
}

/// A visitor, so that a value of another type is told what may stand there, too.
struct NetworkVisitor;

impl de::Visitor<'_> for NetworkVisitor {
    type Value = Network;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Network::allowed())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Network, E> {
        let wrong = |why| E::custom(format_args!("{why}: allowed is {}", Network::allowed()));
        text.parse().map(Network).map_err(wrong)
    }
}

impl Describe for Network {
    fn allowed() -> String {
        "an address, or a network as `\"192.0.2.0/24\"` or `\"2001:db8::/32\"`".into()
    }
}

/// Requests a second by method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MethodRates(pub BTreeMap<Method, u32>);

impl Default for MethodRates {
    fn default() -> Self {
        let rates = offhook_edge::EdgeLimits::default().method_rates;
        Self(rates.into_iter().map(|(method, rate)| (Method(method.into()), rate)).collect())
    }
}

impl Describe for MethodRates {
    fn allowed() -> String {
        "a table of methods and whole numbers, as in `{ OPTIONS = 10 }`; 0 means no limit".into()
    }
}

/// The name of a method: a token in capital letters (RFC 3261 §7.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Method(pub String);

impl<'de> Deserialize<'de> for Method {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        // Every method that is registered is written in capital letters.
        if !name.is_empty() && name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_uppercase()) {
            Ok(Self(name))
        } else {
            Err(de::Error::custom(format_args!(
                "not a method: allowed are capital letters, as in `OPTIONS`; found `{name}`"
            )))
        }
    }
}
