//! Fuzz target: any text as a URI and as an address header. What parses is written back and equals itself.

use offhook_sip::{header::NameAddr, uri::Uri};

#[test]
fn fuzz_uri() {
    bolero::check!().with_iterations(4_000).for_each(|octets: &[u8]| {
        let Ok(text) = std::str::from_utf8(octets) else { return };
        if let Ok(uri) = Uri::parse(text) {
            let written = uri.to_string();
            let again = Uri::parse(&written).expect("what was written parses");
            assert!(again == uri && again.to_string() == written);
            let changed = uri.to_owned_uri().with_user("ä b").with_param("x", Some("; y")).without_headers();
            assert!(Uri::parse(changed.as_str()).is_ok());
        }
        if let Some(address) = NameAddr::parse(text) {
            let written = address.to_string();
            assert_eq!(NameAddr::parse(&written).map(|again| again.uri), Some(address.uri));
        }
    });
}
