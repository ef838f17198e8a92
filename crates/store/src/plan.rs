//! From a site document to the changes that make the configuration match it: looked at first, then done whole.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use offhook_switch::directory::{PasswordHashes, Secret};

use crate::{
    check::{Fault, Problem, check_item, check_sources},
    document::SiteDocument,
    edit::{Author, Change, EditError, MadePassword},
    password::hash_password,
    site::Site,
    spec::{
        DeviceSpec, FieldChange, Item, ItemKey, Kind, LineSpec, Password, PeerSecret, PeerSpec, TenantSpec,
        UserSpec,
    },
    store::Store,
};

/// What would be done. `Display` writes one line per change: `+ line 101@default`,
/// `~ line 102@default may_call inside -> outside`, `- peer carrier@default`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The generation of the configuration it was made for.
    pub generation: u64,
    /// The changes, in the order they are carried out.
    pub changes: Vec<Change>,
}

impl Plan {
    /// Whether all is as wanted already.
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The generation of the configuration now.
    pub generation: u64,
    /// Passwords made for new lines: shown once, kept nowhere.
    pub made: Vec<MadePassword>,
}

impl Store {
    /// Compares `document` with what is configured. All faults of the document are told at once. With `prune`, what the
    /// tenants it names have beyond it is removed; tenants it does not name are never touched.
    pub async fn plan(&self, document: &SiteDocument, prune: bool) -> Result<Plan, EditError> {
        let site = self.load_site().await?;
        plan(&Present::new(&site), document, prune).map_err(EditError::Invalid)
    }

    /// Carries out a plan in one transaction, all or nothing. Refused if the configuration changed since it was made.
    pub async fn apply(&self, by: &Author, plan: &Plan) -> Result<Applied, EditError> {
        if plan.is_empty() {
            return Ok(Applied { generation: plan.generation, made: Vec::new() });
        }
        let (generation, made) = self.execute(by, &plan.changes, Some(plan.generation)).await?;
        Ok(Applied { generation, made })
    }
}

/// What is configured, by key.
struct Present<'a> {
    generation: u64,
    items: BTreeMap<ItemKey, Item>,
    passwords: HashMap<ItemKey, &'a PasswordHashes>,
    secrets: HashMap<ItemKey, &'a Secret>,
    realms: HashMap<&'a str, &'a str>,
    tenants_with_lines: BTreeSet<&'a str>,
    domains: BTreeMap<&'a str, &'a str>,
}

impl<'a> Present<'a> {
    fn new(site: &'a Site) -> Self {
        let tenants = site.tenants.iter().map(|tenant| {
            let (name, domains) = (tenant.name.clone(), tenant.domains.clone());
            Item::Tenant(TenantSpec { name, domains, realm: Some(tenant.realm.clone()) })
        });
        let users = site.users.iter().map(|user| {
            let (tenant, name) = (user.tenant.clone(), user.name.clone());
            Item::User(UserSpec { tenant, name, full_name: user.full_name.clone() })
        });
        let devices = site.devices.iter().map(|device| {
            Item::Device(DeviceSpec {
                tenant: device.tenant.clone(),
                name: device.name.clone(),
                kind: device.kind.clone(),
                instance: device.instance.clone(),
                lines: device.lines.clone(),
            })
        });
        let lines = site.lines.iter().map(|line| Item::Line(LineSpec::from(line)));
        let peers = site.peers.iter().map(|peer| Item::Peer(PeerSpec::from(peer)));
        let items = tenants.chain(users).chain(devices).chain(lines).chain(peers);
        let line_key =
            |line: &offhook_switch::directory::Line| ItemKey::new(Kind::Line, &line.tenant, &line.name);
        let secret_of = |peer: &'a offhook_switch::directory::Peer| {
            Some((ItemKey::new(Kind::Peer, &peer.tenant, &peer.name), peer.secret.as_ref()?))
        };
        let owned = site
            .tenants
            .iter()
            .flat_map(|tenant| tenant.domains.iter().map(|domain| (&**domain, &*tenant.name)));
        Self {
            generation: site.generation,
            items: items.map(|item| (item.key(), item)).collect(),
            passwords: site.lines.iter().map(|line| (line_key(line), &line.password)).collect(),
            secrets: site.peers.iter().filter_map(secret_of).collect(),
            realms: site.tenants.iter().map(|tenant| (&*tenant.name, &*tenant.realm)).collect(),
            tenants_with_lines: site.lines.iter().map(|line| &*line.tenant).collect(),
            domains: owned.collect(),
        }
    }

    /// Drops from `item` what is as wanted already, and tells what is left to change besides its plain fields.
    fn settle(&self, item: &mut Item) -> Vec<FieldChange> {
        let key = item.key();
        match item {
            Item::Tenant(tenant) if tenant.realm.is_none() => {
                tenant.realm = self.realms.get(&*tenant.name).map(|realm| (*realm).into());
            }
            Item::Line(line) => {
                let same = match &line.password {
                    Password::Clear(password) => {
                        let realm = self.realms.get(&*line.tenant).copied().unwrap_or_default();
                        self.passwords.get(&key) == Some(&&hash_password(&line.name, realm, password))
                    }
                    // A document says "generate" for the day the line is made.
                    Password::Generate | Password::Keep => true,
                };
                if !same {
                    return vec![FieldChange::hidden("password")];
                }
                line.password = Password::Keep;
            }
            Item::Peer(peer) => {
                // What is stored goes with the user name it belonged to.
                if peer.username.is_none() && peer.secret == PeerSecret::Keep {
                    peer.secret = PeerSecret::Remove;
                }
                let same = match &peer.secret {
                    PeerSecret::Clear(secret) => self.secrets.get(&key) == Some(&secret),
                    PeerSecret::Remove => !self.secrets.contains_key(&key),
                    PeerSecret::Keep => true,
                };
                if !same {
                    return vec![FieldChange::hidden("secret")];
                }
                peer.secret = PeerSecret::Keep;
            }
            _ => {}
        }
        Vec::new()
    }
}

fn plan(present: &Present<'_>, document: &SiteDocument, prune: bool) -> Result<Plan, Vec<Fault>> {
    let mut faults = Vec::new();
    let wanted = document.items(&mut faults);
    wanted.iter().for_each(|item| check_item(item, &mut faults));
    check_together(present, document, &wanted, prune, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut changes = Vec::new();
    let mut named = BTreeSet::new();
    for mut item in wanted {
        let key = item.key();
        if let Some(before) = present.items.get(&key) {
            let more = present.settle(&mut item);
            let mut fields = item.differences(before);
            fields.extend(more);
            if !fields.is_empty() {
                changes.push(Change::Set(item, fields));
            }
        } else {
            changes.push(Change::Add(item));
        }
        named.insert(key);
    }
    if prune {
        let tenants: BTreeSet<_> = document.tenants().collect();
        let beyond =
            present.items.keys().filter(|key| tenants.contains(&*key.tenant) && !named.contains(*key));
        changes.extend(beyond.cloned().map(Change::Remove));
    }
    Ok(Plan { generation: present.generation, changes })
}

/// What no item shows alone: references, domains of several tenants, passwords of new lines, realms with hashes.
fn check_together(
    present: &Present<'_>,
    document: &SiteDocument,
    wanted: &[Item],
    prune: bool,
    faults: &mut Vec<Fault>,
) {
    let named: BTreeSet<_> = wanted.iter().map(Item::key).collect();
    let remains = |kind, tenant: &str, name: &str| {
        let key = ItemKey::new(kind, tenant, name);
        named.contains(&key) || (!prune && present.items.contains_key(&key))
    };
    let in_document: BTreeSet<_> = document.tenants().collect();
    // Domains of tenants outside of the document stay theirs; those inside it are dealt out anew.
    let mut owners: BTreeMap<&str, &str> = present
        .domains
        .iter()
        .filter(|(_, tenant)| !in_document.contains(**tenant))
        .map(|(d, t)| (*d, *t))
        .collect();
    for item in wanted {
        let path = item.key().document_path();
        let mut fault =
            |field: String, problem| faults.push(Fault { path: format!("{path}{field}"), problem });
        match item {
            Item::Tenant(tenant) => {
                for (position, domain) in tenant.domains.iter().enumerate() {
                    let owner = *owners.entry(domain).or_insert(&tenant.name);
                    if owner != &*tenant.name {
                        let problem = Problem::DomainTaken { domain: domain.clone(), tenant: owner.into() };
                        fault(format!(".domains[{position}]"), problem);
                    }
                }
                let realm = present.realms.get(&*tenant.name).copied();
                if let (Some(wanted), Some(realm)) = (tenant.realm.as_deref(), realm)
                    && wanted != realm
                    && present.tenants_with_lines.contains(&*tenant.name)
                {
                    fault(".realm".to_string(), Problem::RealmInUse { realm: realm.into() });
                }
            }
            Item::Line(line) => {
                if let Some(user) = line.user.as_ref().filter(|user| !remains(Kind::User, &line.tenant, user))
                {
                    fault(".user".to_string(), Problem::Missing { kind: "user", name: user.clone() });
                }
                if line.password == Password::Keep && !present.items.contains_key(&item.key()) {
                    fault(String::new(), Problem::NeedsPassword);
                }
            }
            Item::Device(device) => {
                for (position, line) in device.lines.iter().enumerate() {
                    if !remains(Kind::Line, &device.tenant, line) {
                        let problem = Problem::Missing { kind: "line", name: line.clone() };
                        fault(format!(".lines[{position}]"), problem);
                    }
                }
            }
            Item::Peer(peer) => {
                let kept = peer.secret == PeerSecret::Keep && peer.username.is_some();
                if kept && !present.secrets.contains_key(&item.key()) {
                    fault(".username".to_string(), Problem::NeedsSecret);
                }
            }
            Item::User(_) => {}
        }
    }
    check_all_sources(present, document, wanted, prune, faults);
}

/// No two enabled peers of the node may have the same addresses once the plan is carried out.
fn check_all_sources(
    present: &Present<'_>,
    document: &SiteDocument,
    wanted: &[Item],
    prune: bool,
    faults: &mut Vec<Fault>,
) {
    let named: BTreeSet<_> = wanted.iter().map(Item::key).collect();
    let in_document: BTreeSet<_> = document.tenants().collect();
    let stays = |key: &ItemKey| !(named.contains(key) || prune && in_document.contains(&*key.tenant));
    let others = present.items.iter().filter(|(key, _)| stays(key)).map(|(_, item)| item);
    let peers = others.chain(wanted).filter_map(|item| match item {
        Item::Peer(peer) if peer.enabled => Some((item.key(), peer.sources.as_slice())),
        _ => None,
    });
    let unchanged = |key: &ItemKey| present.items.get(key).is_some_and(|before| wanted.contains(before));
    check_sources(peers, |key| named.contains(key) && !unchanged(key), faults);
}
