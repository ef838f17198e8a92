//! The words of nftables: what is asked of it, and the one answer that is read.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr, time::Duration};

use offhook_edge::{Lists, Prefix};

/// Stretches of denied addresses that the kernel is given: some megabytes of its memory, and seconds to load.
const DENIED_MAX: usize = 200_000;

/// Banned sources that the kernel is given.
const BANNED_MAX: u32 = 65_536;

/// Letters of a table's name.
const NAME_MAX: usize = 128;

/// The node's own table.
pub(super) struct Table {
    name: String,
    ports: String,
}

impl Table {
    /// Named after `own`, for these ports.
    pub(super) fn new(own: &str, ports: &BTreeSet<u16>) -> Self {
        let own: String = own.chars().rev().take(NAME_MAX).collect::<Vec<_>>().into_iter().rev().collect();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        Self { name: format!("offhook_{}", own.replace('-', "_")), ports: ports.join(", ") }
    }

    /// Takes away what is there.
    pub(super) fn removed(&self) -> String {
        // Made before, for what is not there cannot be deleted.
        format!("add table inet {0}\ndelete table inet {0}\n", self.name)
    }

    /// Makes it, empty.
    pub(super) fn made(&self) -> String {
        let Self { name, ports } = self;
        format!(
            "{removed}table inet {name} {{
  counter dropped {{ }}
  set denied4 {{ type ipv4_addr; flags interval; }}
  set denied6 {{ type ipv6_addr; flags interval; }}
  set banned4 {{ type ipv4_addr; flags timeout; size {BANNED_MAX}; }}
  set banned6 {{ type ipv6_addr; flags timeout; size {BANNED_MAX}; }}
  chain to_sip {{
    type filter hook prerouting priority raw; policy accept;
    meta l4proto {{ tcp, udp }} th dport {{ {ports} }} jump guard
  }}
  chain guard {{
    ip saddr @denied4 counter name dropped drop
    ip saddr @banned4 counter name dropped drop
    ip6 saddr @denied6 counter name dropped drop
    ip6 saddr & ffff:ffff:ffff:ffff:: @banned6 counter name dropped drop
  }}
}}
",
            removed = self.removed()
        )
    }

    /// Replaces what is denied; also how many stretches found no room.
    pub(super) fn denied(&self, lists: &Lists) -> (String, usize) {
        let name = &self.name;
        let mut text = format!("flush set inet {name} denied4\nflush set inet {name} denied6\n");
        for family in [4, 6] {
            let of_family =
                lists.denied().take(DENIED_MAX).filter(|(first, _)| first.is_ipv4() == (family == 4));
            let elements: Vec<String> = of_family
                .map(
                    |(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") },
                )
                .collect();
            if !elements.is_empty() {
                let _ =
                    writeln!(text, "add element inet {name} denied{family} {{ {} }}", elements.join(", "));
            }
        }
        (text, lists.denied().skip(DENIED_MAX).count())
    }

    /// Bans a source.
    pub(super) fn banned(&self, source: Prefix, time: Duration) -> String {
        let (name, set, address) = (&self.name, set_of(source), source.address());
        // An element that is there would keep its time.
        format!(
            "add element inet {name} {set} {{ {address} }}\ndelete element inet {name} {set} {{ {address} }}\n\
             add element inet {name} {set} {{ {address} timeout {}s }}\n",
            time.as_secs().max(1)
        )
    }

    /// Ends its ban.
    pub(super) fn pardoned(&self, source: Prefix) -> String {
        let (name, set, address) = (&self.name, set_of(source), source.address());
        format!(
            "add element inet {name} {set} {{ {address} }}\ndelete element inet {name} {set} {{ {address} }}\n"
        )
    }

    /// Asks what was dropped: the words of a command, whose answer is JSON.
    pub(super) fn count_question(&self) -> [&str; 6] {
        ["-j", "list", "counter", "inet", &self.name, "dropped"]
    }
}

fn set_of(source: Prefix) -> &'static str {
    match source.address() {
        IpAddr::V4(_) => "banned4",
        IpAddr::V6(_) => "banned6",
    }
}

/// The packets in the answer to [`Table::count_question`].
pub(super) fn count_in(answer: &str) -> Option<u64> {
    let answer: serde_json::Value = serde_json::from_str(answer).ok()?;
    answer["nftables"].as_array()?.iter().find_map(|item| item["counter"]["packets"].as_u64())
}

#[cfg(test)]
mod tests {
    use offhook_edge::read_list;

    use super::*;

    #[test]
    fn what_is_denied_goes_as_stretches_and_bans_with_their_time() {
        let table = Table::new("var-lib-offhook", &BTreeSet::from([5060, 5061]));
        let lists = Lists::new(
            read_list("192.0.2.7").unwrap(),
            read_list("192.0.2.0/24\n198.51.100.9\n2001:db8::/32").unwrap(),
        );
        let (text, left_out) = table.denied(&lists);
        let expected = "add element inet offhook_var_lib_offhook denied4 \
                        { 192.0.2.0-192.0.2.6, 192.0.2.8-192.0.2.255, 198.51.100.9 }\n";
        assert!(text.contains(expected) && left_out == 0, "{text}");
        assert!(text.contains("denied6 { 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff }"), "{text}");
        let ban = table.banned("2001:db8:1:2::/64".parse().unwrap(), Duration::from_millis(29_500));
        assert!(
            ban.ends_with(
                "add element inet offhook_var_lib_offhook banned6 { 2001:db8:1:2:: timeout 29s }\n"
            )
        );
        assert!(table.made().contains("th dport { 5060, 5061 } jump guard"));
    }

    #[test]
    fn the_counter_is_read() {
        let answer = r#"{"nftables": [{"metainfo": {}}, {"counter": {"name": "dropped", "packets": 17, "bytes": 9}}]}"#;
        assert_eq!(count_in(answer), Some(17));
        assert_eq!(count_in("{}"), None);
    }
}
