//! What is allowed and yet deserves a word to the operator: emergency calls that lead nowhere.

use std::collections::{BTreeMap, BTreeSet};

use offhook_switch::directory::DEFAULT_TENANT;

use crate::{
    edit::Change,
    plan::Plan,
    site::Site,
    spec::{Item, ItemKey, Kind},
};

impl Site {
    /// One line for each thing to see to, with what to do about it. `emergency` are the numbers of
    /// `sip.emergency_numbers`.
    pub fn advice(&self, emergency: &[Box<str>]) -> Vec<String> {
        Lookout::new(self, emergency).advice()
    }

    /// The same, for the site as `plan` would make it.
    pub fn advice_after(&self, plan: &Plan, emergency: &[Box<str>]) -> Vec<String> {
        let mut lookout = Lookout::new(self, emergency);
        plan.changes.iter().for_each(|change| lookout.follow(change));
        lookout.advice()
    }
}

/// As much of a site as emergency calls depend on.
struct Lookout<'a> {
    emergency: &'a [Box<str>],
    /// Tenants whose lines may call: those that have some, and the default one, which gets its first line soon.
    calling: BTreeSet<Box<str>>,
    /// Lines that have an emergency number for a name.
    misnamed: BTreeSet<ItemKey>,
    /// The prefixes of each peer that calls may go to.
    ways_out: BTreeMap<ItemKey, Vec<Box<str>>>,
}

impl<'a> Lookout<'a> {
    fn new(site: &Site, emergency: &'a [Box<str>]) -> Self {
        let mut calling = BTreeSet::from([DEFAULT_TENANT.into()]);
        let mut misnamed = BTreeSet::new();
        for line in &site.lines {
            if !calling.contains(&line.tenant) {
                calling.insert(line.tenant.clone());
            }
            if emergency.contains(&line.name) {
                misnamed.insert(ItemKey::new(Kind::Line, &line.tenant, &line.name));
            }
        }
        let open = site.peers.iter().filter(|peer| peer.enabled && peer.host.is_some());
        let way = |peer: &offhook_switch::directory::Peer| {
            (ItemKey::new(Kind::Peer, &peer.tenant, &peer.name), peer.prefixes.clone())
        };
        Self { emergency, calling, misnamed, ways_out: open.map(way).collect() }
    }

    fn follow(&mut self, change: &Change) {
        let key = change.key();
        self.misnamed.remove(&key);
        self.ways_out.remove(&key);
        match change {
            Change::Add(Item::Line(line)) | Change::Set(Item::Line(line), _) => {
                self.calling.insert(line.tenant.clone());
                if self.emergency.contains(&line.name) {
                    self.misnamed.insert(key);
                }
            }
            Change::Add(Item::Peer(peer)) | Change::Set(Item::Peer(peer), _)
                if peer.enabled && peer.host.is_some() =>
            {
                self.ways_out.insert(key, peer.prefixes.clone());
            }
            Change::Remove(key) if key.kind == Kind::Tenant => {
                self.calling.remove(&key.name);
            }
            _ => {}
        }
    }

    fn advice(&self) -> Vec<String> {
        let misnamed = self.misnamed.iter().map(|line| {
            format!(
                "line {name}@{tenant} has an emergency number for a name: it rings at a call to {name} that no peer \
                 takes; hint: give the line another name, or take {name} out of sip.emergency_numbers",
                name = line.name,
                tenant = line.tenant
            )
        });
        let lost = self.calling.iter().filter_map(|tenant| {
            let lost: Vec<&str> =
                self.emergency.iter().map(|number| &**number).filter(|number| !self.served(tenant, number)).collect();
            (!lost.is_empty()).then(|| {
                format!(
                    "emergency calls of tenant {tenant} lead nowhere: no peer takes {}; hint: add them to the \
                     prefixes of a peer: `offhook peer set --help`",
                    lost.join(", ")
                )
            })
        });
        misnamed.chain(lost).collect()
    }

    fn served(&self, tenant: &str, number: &str) -> bool {
        let mut mine = self.ways_out.iter().filter(|(peer, _)| &*peer.tenant == tenant);
        mine.any(|(_, prefixes)| prefixes.iter().any(|prefix| number.starts_with(&**prefix)))
    }
}
