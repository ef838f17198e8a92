//! The other instances of an extended third-party call, by their names.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use super::{Refusal, address, options::Options};

/// Most instances of one call.
const PEERS_MAX: usize = 256;

/// Where everybody listens, and who we are.
#[derive(Clone, Debug)]
pub struct Peers {
    /// Where this instance takes commands.
    pub own: SocketAddr,
    /// All instances.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// This one begins.
    pub is_master: bool,
}

impl Peers {
    /// Reads `-slave_cfg`; `None` without `-master` and `-slave`.
    pub fn read(options: &Options) -> Result<Option<Self>, Refusal> {
        let Some(role) = &options.role else { return Ok(None) };
        let path = options.peers.as_deref().ok_or_else(|| {
            Refusal::fatal("-master and -slave need to know the others\nhint: -slave_cfg FILE, with a NAME;HOST:PORT in each line")
        })?;
        let text = fs::read_to_string(path)
            .map_err(|error| Refusal::fatal(format!("cannot read {path}: {error}\nhint: check the path")))?;
        let mut addresses = BTreeMap::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (name, place) = line.split_once(';').ok_or_else(|| {
                Refusal::fatal(format!("{path}:{}: not of the form NAME;HOST:PORT", number + 1))
            })?;
            addresses.insert(name.trim().to_string(), address::resolve(place.trim(), None)?);
            if addresses.len() > PEERS_MAX {
                return Err(Refusal::fatal(format!("{path} has more than {PEERS_MAX} instances")));
            }
        }
        for address in addresses.values() {
            address::guard(*address, options.allow_public)?;
        }
        let own = addresses.get(&role.name).copied().ok_or_else(|| {
            let known: Vec<&str> = addresses.keys().map(String::as_str).collect();
            Refusal::fatal(format!(
                "{path} does not say where {} listens\nhint: it knows {}",
                role.name,
                known.join(", ")
            ))
        })?;
        Ok(Some(Self { own, addresses, is_master: role.is_master }))
    }
}
