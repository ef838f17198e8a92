//! What a world is made of, and where things are in it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use offhook_edge::{EdgeLimits, OverloadLimits};
use offhook_sip::digest::HashFunction;
use offhook_switch::{
    directory::{
        AddressRange, CallPermission, DEFAULT_TENANT, Directory, Line, LineId, PasswordHashes, Peer, PeerId,
        Srtp, Tenant,
    },
    registrar::RegistrarConfig,
    settings::Settings,
};

/// Where the node is.
pub const NODE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), 5060);

/// The domain of all lines.
pub const DOMAIN: &str = "example.org";

/// What a world is made of.
#[derive(Clone)]
pub struct WorldConfig {
    /// Everything follows from it.
    pub seed: u64,
    /// Who there is.
    pub directory: Directory,
    /// The node's settings; the listener is added.
    pub settings: Settings,
    /// The registrar's.
    pub registrar: RegistrarConfig,
    /// The edge's; off by default.
    pub limits: EdgeLimits,
}

impl WorldConfig {
    /// A world with these lines, password `pw-` and the name.
    pub fn with_lines(seed: u64, names: &[&str]) -> Self {
        Self::with_directory(seed, names, Vec::new())
    }

    /// A world with these lines and peers.
    pub fn with_directory(seed: u64, names: &[&str], peers: Vec<Peer>) -> Self {
        let tenant =
            Tenant { name: DEFAULT_TENANT.into(), domains: vec![DOMAIN.into()], realm: DOMAIN.into() };
        let lines = names.iter().zip(1..).map(|(name, id)| line(id, name)).collect();
        Self {
            seed,
            directory: Directory::new(vec![tenant], Vec::new(), Vec::new(), lines, peers),
            settings: Settings::default(),
            registrar: RegistrarConfig::default(),
            limits: EdgeLimits { overload: OverloadLimits::default(), ..EdgeLimits::off() },
        }
    }
}

/// A line with password `pw-` and its name.
pub fn line(id: u64, name: &str) -> Line {
    let (realm, password) = (DOMAIN, format!("pw-{name}"));
    let mut hashes = PasswordHashes { md5: [0; 32], sha256: [0; 64] };
    hashes.md5.copy_from_slice(HashFunction::Md5.ha1(name, realm, &password).as_str().as_bytes());
    hashes.sha256.copy_from_slice(HashFunction::Sha256.ha1(name, realm, &password).as_str().as_bytes());
    Line {
        id: LineId(id),
        tenant: DEFAULT_TENANT.into(),
        name: name.into(),
        display_name: None,
        user: None,
        enabled: true,
        password: hashes,
        may_call: CallPermission::Inside,
        bindings_max: 10,
        calls_max: 10,
        srtp: Srtp::Auto,
    }
}

/// A peer at `source` that takes numbers with `prefix`.
pub fn peer(id: u64, source: IpAddr, prefix: &str) -> Peer {
    let length = if source.is_ipv4() { 32 } else { 128 };
    Peer {
        id: PeerId(id),
        name: format!("peer{id}").into(),
        tenant: DEFAULT_TENANT.into(),
        enabled: true,
        sources: vec![AddressRange { base: source, prefix: length }],
        host: Some(source.to_string().into()),
        port: Some(5060),
        transport: None,
        username: None,
        secret: None,
        prefixes: vec![prefix.into()],
        may_call: CallPermission::Inside,
        calls_max: 10,
        anchor_media: true,
        srtp: Srtp::Auto,
    }
}

/// The address of the `index`th phone; each generation is another network.
pub fn address_of(index: usize, generation: u8) -> SocketAddr {
    let last = u8::try_from(index + 1).expect("few phones");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113_u8.wrapping_add(generation), last)), 5060)
}
