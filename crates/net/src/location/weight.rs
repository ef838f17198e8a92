//! The order of SRV records: priority first, then chance by weight (RFC 2782).

use offhook_base::Random;

use super::plan::SrvRecord;

/// Sorts `records` into the order in which they shall be tried. Within one priority a record comes first with the
/// probability of its weight among those not yet chosen; those of weight zero nearly never before others.
pub(super) fn order(mut records: Vec<SrvRecord>, random: &mut Random) -> Vec<SrvRecord> {
    // Weight zero to the front of its priority, as RFC 2782 asks: only a draw of zero then picks it.
    records.sort_by_key(|record| (record.priority, record.weight != 0));
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let peers = records.iter().take_while(|record| record.priority == first.priority);
        let total: u64 = peers.clone().map(|record| u64::from(record.weight)).sum();
        let drawn = random.below(total + 1);
        let mut sum = 0;
        let chosen = peers
            .map(|record| {
                sum += u64::from(record.weight);
                sum
            })
            .position(|sum| sum >= drawn);
        ordered.push(records.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, target: &str) -> SrvRecord {
        SrvRecord { priority, weight, port: 5060, target: target.to_owned() }
    }

    fn targets(records: Vec<SrvRecord>, random: &mut Random) -> Vec<String> {
        order(records, random).into_iter().map(|record| record.target).collect()
    }

    #[test]
    fn a_lower_priority_always_comes_first_whatever_the_weight() {
        let mut random = Random::from_number(1);
        for _ in 0..100 {
            let records = vec![record(20, 65_535, "c"), record(10, 0, "a"), record(15, 1, "b")];
            assert_eq!(targets(records, &mut random), ["a", "b", "c"]);
        }
    }

    /// RFC 2782's example: weights 1 and 3 share the load as 25 and 75 percent.
    #[test]
    fn weights_share_the_load_in_their_proportion() {
        let mut random = Random::from_number(2);
        let draws = 20_000;
        let slow = (0..draws)
            .filter(|_| {
                let records = vec![record(0, 100, "slow"), record(0, 300, "fast")];
                targets(records, &mut random)[0] == "slow"
            })
            .count();
        // 5,000 expected with a standard deviation of 61; RFC 2782's inclusive draw moves it by a quarter percent.
        assert!((4_700..5_300).contains(&slow), "{slow} of {draws}");
    }

    #[test]
    fn equal_priorities_of_weight_zero_are_all_kept() {
        let mut random = Random::from_number(3);
        let mut names = targets(vec![record(0, 0, "a"), record(0, 0, "b"), record(0, 9, "c")], &mut random);
        names.sort();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
