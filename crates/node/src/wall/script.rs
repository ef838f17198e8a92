//! The words of nftables: what is asked of it, and the one answer that is read. Every order is one line, carried out whole or
//! not at all.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr, time::Duration};

use offhook_edge::{Lists, Prefix};

/// Stretches of denied addresses that the kernel is given: some megabytes of its memory, and seconds to load.
const DENIED_MAX: usize = 200_000;

/// Banned sources that the kernel is given.
const BANNED_MAX: u32 = 65_536;

/// Letters of a table's name that come from the node's.
const NAME_MAX: usize = 128;

/// The table of one process of the node.
pub(super) struct Table {
    name: String,
    ports: String,
}

impl Table {
    /// Of the node `own`, of its process `pid`, for these ports. While one process takes over from another, both have theirs.
    pub(super) fn new(own: &str, pid: u32, ports: &BTreeSet<u16>) -> Self {
        let own: String = own.chars().rev().take(NAME_MAX).collect::<Vec<_>>().into_iter().rev().collect();
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        Self { name: format!("offhook_{}_{pid}", own.replace('-', "_")), ports: ports.join(", ") }
    }

    /// Makes it, empty: no packet comes into it yet. It is its maker's alone, and goes with him.
    pub(super) fn made(&self) -> String {
        let name = &self.name;
        let parts = [
            "flags owner".to_owned(),
            "counter dropped { }".to_owned(),
            "set denied4 { type ipv4_addr; flags interval; }".to_owned(),
            "set denied6 { type ipv6_addr; flags interval; }".to_owned(),
            format!("set banned4 {{ type ipv4_addr; flags timeout; size {BANNED_MAX}; }}"),
            format!("set banned6 {{ type ipv6_addr; flags timeout; size {BANNED_MAX}; }}"),
            "chain guard { \
             ip saddr @denied4 counter name dropped drop; \
             ip saddr @banned4 counter name dropped drop; \
             ip6 saddr @denied6 counter name dropped drop; \
             ip6 saddr & ffff:ffff:ffff:ffff:: @banned6 counter name dropped drop; }"
                .to_owned(),
        ];
        format!("table inet {name} {{ {}; }}", parts.join("; "))
    }

    /// Has packets to the SIP ports come into it.
    pub(super) fn hooked(&self) -> String {
        let Self { name, ports } = self;
        format!(
            "add chain inet {name} to_sip {{ type filter hook prerouting priority raw; policy accept; }}; \
             add rule inet {name} to_sip meta l4proto {{ tcp, udp }} th dport {{ {ports} }} jump guard"
        )
    }

    /// Has none come into it any more.
    pub(super) fn unhooked(&self) -> String {
        let name = &self.name;
        format!("flush chain inet {name} to_sip; delete chain inet {name} to_sip")
    }

    /// Replaces what is denied; also how many stretches found no room.
    pub(super) fn denied(&self, lists: &Lists) -> (String, usize) {
        let name = &self.name;
        let mut text = format!("flush set inet {name} denied4; flush set inet {name} denied6");
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
                    write!(text, "; add element inet {name} denied{family} {{ {} }}", elements.join(", "));
            }
        }
        (text, lists.denied().skip(DENIED_MAX).count())
    }

    /// Bans a source.
    pub(super) fn banned(&self, source: Prefix, time: Duration) -> String {
        let (name, set, address) = (&self.name, set_of(source), source.address());
        let pardoned = self.pardoned(source);
        // An element that is there would keep its time.
        format!(
            "{pardoned}; add element inet {name} {set} {{ {address} timeout {}s }}",
            time.as_secs().max(1)
        )
    }

    /// Ends its ban.
    pub(super) fn pardoned(&self, source: Prefix) -> String {
        let (name, set, address) = (&self.name, set_of(source), source.address());
        // Made before, for what is not there cannot be deleted.
        format!(
            "add element inet {name} {set} {{ {address} }}; delete element inet {name} {set} {{ {address} }}"
        )
    }

    /// Asks what was dropped.
    pub(super) fn count_question(&self) -> String {
        format!("list counter inet {} dropped", self.name)
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
    let mut words = answer.split_whitespace().skip_while(|word| *word != "packets");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use offhook_edge::read_list;

    use super::*;

    #[test]
    fn what_is_denied_goes_as_stretches_and_bans_with_their_time() {
        let table = Table::new("var-lib-offhook", 17, &BTreeSet::from([5060, 5061]));
        let lists = Lists::new(
            read_list("192.0.2.7").unwrap(),
            read_list("192.0.2.0/24\n198.51.100.9\n2001:db8::/32").unwrap(),
        );
        let (text, left_out) = table.denied(&lists);
        let expected = "add element inet offhook_var_lib_offhook_17 denied4 \
                        { 192.0.2.0-192.0.2.6, 192.0.2.8-192.0.2.255, 198.51.100.9 }";
        assert!(text.contains(expected) && left_out == 0, "{text}");
        assert!(text.contains("denied6 { 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff }"), "{text}");
        let ban = table.banned("2001:db8:1:2::/64".parse().unwrap(), Duration::from_millis(29_500));
        assert!(
            ban.ends_with(
                "add element inet offhook_var_lib_offhook_17 banned6 { 2001:db8:1:2:: timeout 29s }"
            )
        );
        assert!(table.hooked().contains("th dport { 5060, 5061 } jump guard"));
        assert!(!table.made().contains("filter hook"), "while nobody is kept out, no packet pays for it");
        for order in [table.made(), table.hooked(), table.unhooked(), text, ban, table.count_question()] {
            assert!(!order.contains('\n'), "an order is one line: {order}");
        }
    }

    #[test]
    fn the_counter_is_read() {
        let answer = "table inet offhook_17 {\n\tcounter dropped {\n\t\tpackets 17 bytes 9\n\t}\n}\n";
        assert_eq!(count_in(answer), Some(17));
        assert_eq!(count_in(""), None);
    }
}
