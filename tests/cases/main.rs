//! The end-to-end tests. `cargo test -p offhook-e2e` runs them; they need what `scripts/setup.sh test` installs.

mod sipp_calls;
