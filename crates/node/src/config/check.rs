//! The second pass: values that are right alone and wrong together.

use std::{collections::BTreeMap, net::SocketAddr};

use offhook_net::tls::{CertificateFiles, ClientTls, ClientTlsConfig, ServerTls, TlsError};
use offhook_sip::transport::Transport;
use offhook_switch::service::NUMBER_CHARS_MAX;

use super::{Config, error::Complaint};
use crate::lists;

impl Config {
    /// Everything that is wrong, in the order of the sections.
    pub(super) fn faults(&self) -> Vec<Complaint> {
        let mut faults = Vec::new();
        self.check_listeners(&mut faults);
        self.check_durations(&mut faults);
        self.check_media(&mut faults);
        self.check_services(&mut faults);
        self.check_files(&mut faults);
        faults
    }

    /// What is allowed and yet deserves a word to the operator.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.http.listen.ip().is_loopback() {
            warnings.push(format!(
                "http.listen: {} is reachable from outside and speaks plain HTTP: the token and all answers can be read \
                 on the way",
                self.http.listen
            ));
        }
        if self.sip.listen.is_empty() {
            warnings.push(format!(
                "sip.listen: empty: phones reach the node by SIP over WebSocket at {} only",
                self.http.listen
            ));
        }
        if self.sip.emergency_numbers.is_empty() {
            warnings.push(
                "sip.emergency_numbers: empty: a line may call for help only if it may call outside".into(),
            );
        }
        if self.log.unmasked {
            warnings.push("log.unmasked: the log shows numbers, names and addresses in clear".into());
        }
        if !self.tls.verify {
            warnings.push("tls.verify: the certificates of others are not checked".into());
        }
        warnings
    }

    /// What is wrong inside the files that the configuration names: certificates that are none, keys that do not fit.
    pub(super) fn file_faults(&self) -> Vec<Complaint> {
        let mut faults = Vec::new();
        if let (Some(certificate), Some(key)) = (&self.tls.certificate, &self.tls.key) {
            let files = CertificateFiles { certificate: certificate.clone(), key: key.clone() };
            if let Err(error) = ServerTls::load(files) {
                let of_key = match &error {
                    TlsError::Read { path, .. } | TlsError::Malformed { path } => path == key,
                    TlsError::NoKey { .. } | TlsError::Mismatch { .. } => true,
                    _ => false,
                };
                let name = if of_key { "tls.key" } else { "tls.certificate" };
                complain(&mut faults, name, &error.to_string(), error.hint());
            }
        }
        for (name, files) in
            [("edge.allow_files", &self.edge.allow_files), ("edge.deny_files", &self.edge.deny_files)]
        {
            for (index, file) in files.iter().enumerate() {
                if let Err(fault) = lists::read_file(file) {
                    complain(&mut faults, &format!("{name}.{index}"), &fault, lists::HINT);
                }
            }
        }
        if let Some(authorities) = &self.tls.authorities {
            let alone = ClientTlsConfig {
                extra_roots: vec![authorities.clone()],
                only_extra_roots: true,
                certificate: None,
            };
            if let Err(error) = ClientTls::new(&alone) {
                // Alone in its list, an empty file looks like a system without authorities.
                let error = match error {
                    TlsError::NoRoots => TlsError::NoCertificate { path: authorities.clone() },
                    other => other,
                };
                let hint = match error {
                    TlsError::NoCertificate { .. } => {
                        "it must hold the authorities as BEGIN CERTIFICATE blocks"
                    }
                    _ => error.hint(),
                };
                complain(&mut faults, "tls.authorities", &error.to_string(), hint);
            }
        }
        faults
    }

    fn check_listeners(&self, faults: &mut Vec<Complaint>) {
        if self.sip.listen.is_empty() && !self.http.websocket_sip {
            complain(
                faults,
                "sip.listen",
                "nothing listens for SIP",
                "name at least one, as in \"udp://0.0.0.0:5060\"",
            );
        }
        // UDP and the stream transports have port spaces of their own.
        let mut taken: BTreeMap<(bool, SocketAddr), String> = BTreeMap::new();
        taken.insert((false, self.http.listen), "http.listen".into());
        for (index, listener) in self.sip.listen.iter().enumerate() {
            let key = format!("sip.listen.{index}");
            let address = listener.address;
            if address.socket.port() == 0 {
                continue;
            }
            let datagram = address.transport == Transport::Udp;
            if let Some(other) = taken.insert((datagram, address.socket), key.clone()) {
                complain(
                    faults,
                    &key,
                    &format!("{address} is taken by {other}"),
                    "give one of them another port",
                );
            }
        }
    }

    fn check_durations(&self, faults: &mut Vec<Complaint>) {
        let (sip, limits, signalling, edge) = (&self.sip, &self.limits, &self.signalling, &self.edge);
        let ordered = [
            ("sip.ring_secs", sip.ring_secs.get(), "sip.no_answer_secs", sip.no_answer_secs.get()),
            (
                "sip.session_expires_min_secs",
                sip.session_expires_min_secs.get(),
                "sip.session_expires_secs",
                sip.session_expires_secs.get(),
            ),
            (
                "limits.expires_min_secs",
                limits.expires_min_secs.get(),
                "limits.expires_default_secs",
                limits.expires_default_secs.get(),
            ),
            (
                "limits.expires_default_secs",
                limits.expires_default_secs.get(),
                "limits.expires_max_secs",
                limits.expires_max_secs.get(),
            ),
            ("edge.ban_first_secs", edge.ban_first_secs.get(), "edge.ban_max_secs", edge.ban_max_secs.get()),
            ("signalling.t1_ms", signalling.t1_ms.get(), "signalling.t2_ms", signalling.t2_ms.get()),
        ];
        for (small_key, small, large_key, large) in ordered {
            if small > large {
                complain(
                    faults,
                    small_key,
                    &format!("{small} is more than {large_key}, which is {large}"),
                    &format!("lower it to {large}, or raise {large_key}"),
                );
            }
        }
    }

    fn check_media(&self, faults: &mut Vec<Complaint>) {
        for (index, listener) in self.sip.listen.iter().enumerate() {
            let address = listener.address;
            if address.transport == Transport::Udp && self.media.ports.contains(address.socket.port()) {
                complain(
                    faults,
                    &format!("sip.listen.{index}"),
                    &format!("{address} lies in media.ports, {}", self.media.ports),
                    "choose a port outside of it",
                );
            }
        }
        if self.media.advertise.is_some_and(|address| address.is_unspecified()) {
            complain(
                faults,
                "media.advertise",
                "nobody can send to an unspecified address",
                "write the address that phones reach the node at, or leave the key out",
            );
        }
    }

    fn check_services(&self, faults: &mut Vec<Complaint>) {
        let services = &self.services;
        let mut taken: BTreeMap<&str, String> = BTreeMap::new();
        for (key, number) in services.keys() {
            let fits = (1..=NUMBER_CHARS_MAX).contains(&number.len())
                && number.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+*#-._".contains(&byte));
            if !fits {
                complain(faults, &key, "not a number", "write digits or letters, as in \"*43\"");
            } else if self.sip.emergency_numbers.contains(number) {
                complain(faults, &key, "an emergency number", "take another number");
            } else if let Some(other) = taken.insert(number, key.clone()) {
                complain(faults, &key, &format!("{number} is taken by {other}"), "take another number");
            }
        }
        for (number, room) in &services.rooms {
            let key = format!("services.rooms.{number}");
            if room.pin.is_some() && room.pin == room.moderator_pin {
                complain(faults, &key, "everybody is a moderator", "give moderators another PIN");
            }
            if room.only_moderators_talk && room.moderator_pin.is_none() {
                complain(faults, &key, "nobody may talk", "give moderators a moderator_pin");
            }
        }
        if let Some(directory) = &services.sounds
            && !directory.is_dir()
        {
            let what = format!("there is no directory {}", directory.display());
            complain(faults, "services.sounds", &what, "correct the path, or make the directory");
        }
    }

    fn check_files(&self, faults: &mut Vec<Complaint>) {
        let (certificate, key) = (&self.tls.certificate, &self.tls.key);
        match (certificate, key) {
            (Some(_), None) => {
                complain(
                    faults,
                    "tls.certificate",
                    "has no tls.key",
                    "name the file of its private key, too",
                );
            }
            (None, Some(_)) => {
                complain(
                    faults,
                    "tls.key",
                    "has no tls.certificate",
                    "name the file of its certificate chain, too",
                );
            }
            _ => {}
        }
        let named =
            [("tls.certificate", certificate), ("tls.key", key), ("tls.authorities", &self.tls.authorities)];
        for (name, file) in named {
            if let Some(file) = file
                && !file.is_file()
            {
                let what = format!("there is no file {}", file.display());
                complain(faults, name, &what, "correct the path, or put the file there");
            }
        }
        if self.sip.product.is_empty() || !self.sip.product.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
            let what = "not fit for a header";
            complain(faults, "sip.product", what, "write printable ASCII characters, as in \"Offhook\"");
        }
        for (name, files) in
            [("edge.allow_files", &self.edge.allow_files), ("edge.deny_files", &self.edge.deny_files)]
        {
            for (index, file) in files.iter().enumerate().filter(|(_, file)| !file.is_file()) {
                let what = format!("there is no file {}", file.display());
                complain(
                    faults,
                    &format!("{name}.{index}"),
                    &what,
                    "correct the path, or put the file there",
                );
            }
        }
        for (index, number) in self.sip.emergency_numbers.iter().enumerate() {
            if number.is_empty()
                || !number.bytes().all(|byte| byte.is_ascii_digit() || b"+*#".contains(&byte))
            {
                let key = format!("sip.emergency_numbers.{index}");
                complain(faults, &key, "not a number", "write digits, as in \"112\"");
            }
        }
    }
}

fn complain(faults: &mut Vec<Complaint>, key: &str, what: &str, hint: &str) {
    faults.push(Complaint { key: key.into(), what: what.into(), hint: hint.into() });
}
