//! Where the next hop is (RFC 3263).
