//! The end-to-end tests. `cargo test -p offhook-e2e` runs them; they need what `scripts/setup.sh test` installs.

mod backup;
mod baresip_phones;
mod built_in;
mod faults;
mod hostile;
mod kamailio_peer;
mod kernel_plane;
mod lasting;
mod load;
mod load_forms;
mod load_links;
mod load_ports;
mod looked_at;
mod outage;
mod routed;
mod ruled;
mod scanned;
mod services;
mod sipp_calls;
mod transcoding;
mod transports;
mod upgrade;
