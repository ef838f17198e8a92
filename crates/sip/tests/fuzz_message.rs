//! Fuzz target: any octets as a datagram. What parses is answered or written again, and reads the same.

use bytes::{Bytes, BytesMut};
use offhook_sip::{
    header::HeaderName,
    message::{Message, ParseError, StatusCode, validate, validate_response},
    write::MessageWriter,
};

/// Messages that the edits of [`fuzz_message_edited`] start from: foldings, escapes, multipart, several faults.
const SEEDS: [&[u8]; 6] = [
    include_bytes!("vectors/rfc4475/wsinv.dat"),
    include_bytes!("vectors/rfc4475/intmeth.dat"),
    include_bytes!("vectors/rfc4475/mpart01.dat"),
    include_bytes!("vectors/rfc4475/multi01.dat"),
    include_bytes!("vectors/rfc4475/scalarlg.dat"),
    include_bytes!("vectors/rfc5118/mult-ip-in-header.dat"),
];

#[test]
fn fuzz_message() {
    bolero::check!().with_iterations(2_000).for_each(|octets: &[u8]| check(octets));
}

/// Random octets seldom get past the start line: here a few octets of a real message change instead.
#[test]
fn fuzz_message_edited() {
    bolero::check!().with_iterations(20_000).with_type::<(u8, Vec<(u16, u8)>)>().for_each(|(seed, edits)| {
        let mut octets = SEEDS[usize::from(*seed) % SEEDS.len()].to_vec();
        for (place, octet) in edits.iter().take(1 + usize::from(*seed) % 4) {
            let place = usize::from(*place) % octets.len();
            octets[place] = *octet;
        }
        check(&octets);
    });
}

fn check(octets: &[u8]) {
    let mut buf = BytesMut::new();
    match Message::parse(Bytes::copy_from_slice(octets)) {
        Ok(Message::Request(request)) => {
            let _ = validate(&request);
            let answer = request.respond(&mut buf, StatusCode::NOT_FOUND, Some("t")).finish();
            assert!(matches!(Message::parse(answer), Ok(Message::Response(_))), "our answer does not parse");
            let again = MessageWriter::request(&mut buf, request.method(), request.uri())
                .copy_lines(request.headers(), |known, _| known != Some(HeaderName::ContentLength))
                .body("", request.body())
                .finish();
            let Ok(Message::Request(again)) = Message::parse(again) else {
                panic!("our copy does not parse")
            };
            assert_eq!((again.uri(), again.body()), (request.uri(), request.body()));
        }
        Ok(Message::Response(response)) => drop(validate_response(&response)),
        Err(ParseError::Rejected(rejection)) => {
            let partial = rejection.request.as_ref().expect("the parser gives what it read");
            let answer = partial.respond(&mut buf, &rejection, Some("t")).finish();
            assert!(matches!(Message::parse(answer), Ok(Message::Response(_))), "our refusal does not parse");
        }
        Err(ParseError::Dropped(_)) => {}
    }
}
