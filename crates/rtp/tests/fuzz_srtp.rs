//! Any bytes as an SRTP or SRTCP packet: no panic, and nothing without the key is accepted.

use std::{cell::RefCell, time::Duration};

use offhook_base::{CryptoSuite, MasterKey};
use offhook_rtp::srtp::{Protector, SrtcpMode, Unprotector};

const TIME_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn fuzz_srtp() {
    let ends: Vec<_> = CryptoSuite::ALL
        .into_iter()
        .flat_map(|suite| [SrtcpMode::Encrypted, SrtcpMode::Unencrypted].map(|mode| (suite, mode)))
        .map(|(suite, mode)| {
            let master = MasterKey::new(suite, &[7; 46][..suite.master_len()]).unwrap();
            RefCell::new((Protector::new(&master, mode), Unprotector::new(&master, mode)))
        })
        .collect();
    let ends = std::panic::AssertUnwindSafe(ends);
    bolero::check!().with_test_time(TIME_LIMIT).for_each(|bytes: &[u8]| {
        for ends in ends.iter() {
            let (sender, receiver) = &mut *ends.borrow_mut();
            let mut packet = bytes.to_vec();
            assert!(receiver.unprotect_rtp(&mut packet).is_err());
            packet.copy_from_slice(bytes);
            assert!(receiver.unprotect_rtcp(&mut packet).is_err());
            let mut buffer = bytes.to_vec();
            let _ = sender.protect_rtp(&mut buffer, bytes.len() / 2);
            let _ = sender.protect_rtcp(&mut buffer, bytes.len());
            let _ = sender.protect_rtcp(&mut buffer, bytes.len() / 2);
        }
    });
}
