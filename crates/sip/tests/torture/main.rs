//! The torture test messages of RFC 4475 and RFC 5118, as data with expected results.

mod outcome;
mod rfc4475;
mod rfc5118;
