//! A phone whose connection was lost with the process before this one: it connects again, or its call ends.
//!
//! A stream cannot be opened towards a phone: it stands behind a NAT, or in a browser. It notices that its connection is gone,
//! opens another and registers by it (RFC 5626 §4.4.1); or it goes on with the call itself. Until then the call is adrift:
//! what is sent to that leg fails.

use offhook_base::Moment;
use offhook_sip::{
    message::{Request, StatusCode},
    transport::{Destination, Flow},
    uri::Uri,
};

use super::{CALLER, Call, Leg, LegState};
use crate::{
    directory::LineId,
    exchange::{owners::LegIndex, services::Services},
    record::{EndCause, EndedBy},
};

impl Call {
    /// Waits for the phones whose connections are gone.
    pub(super) fn await_connections(&mut self, services: &mut Services, now: Moment) {
        let until = now.instant + services.settings.reconnect;
        for index in 0..self.legs.len() {
            let leg = &mut self.legs[index];
            if !leg.is_cut_off() || leg.state != LegState::Up {
                continue;
            }
            leg.adrift_until = Some(until);
            if let Some(line) = self.line_of(index) {
                services.adrift.wait(line, self.key);
            }
        }
    }

    /// No phone of this call has to connect again any more.
    pub(super) fn stop_drifting(&self, services: &mut Services) {
        for index in 0..self.legs.len() {
            if let Some(line) = self.line_of(index) {
                services.adrift.leave(line, self.key);
            }
        }
    }

    /// A device of `line` has registered by a new connection: the leg that it left goes on there. `is_only`: it is the only
    /// device of its line.
    pub fn device_reconnected(
        &mut self,
        services: &mut Services,
        line: LineId,
        register: &Request,
        flow: Flow,
        is_only: bool,
    ) {
        let left = (0..self.legs.len()).find(|&index| {
            let leg = &self.legs[index];
            let of_line = self.line_of(index) == Some(line) && leg.adrift_until.is_some();
            of_line
                && (is_same_phone(leg, register)
                    || (is_only && leg.destination.remote().ip() == flow.remote.ip()))
        });
        if let Some(index) = left {
            let number = self.legs[index].index;
            self.is_heard_by(services, number, flow);
        }
    }

    /// A leg that was adrift is heard by this flow.
    pub(super) fn is_heard_by(&mut self, services: &mut Services, index: LegIndex, flow: Flow) {
        let leg = self.leg(index);
        if leg.adrift_until.take().is_none() {
            return;
        }
        leg.destination = Destination::Flow(flow);
        if !self.legs.iter().any(|leg| leg.adrift_until.is_some()) {
            self.stop_drifting(services);
        }
    }

    /// Ends the call of a phone that did not come back in time.
    pub(super) fn run_drift(&mut self, services: &mut Services, index: LegIndex, now: Moment) {
        if self.leg(index).adrift_until.take_if(|until| now.instant >= *until).is_some() {
            let status = StatusCode::REQUEST_TIMEOUT;
            self.hang_up_both(services, EndedBy::Node, EndCause::Outage, status, now);
        }
    }

    fn line_of(&self, index: usize) -> Option<LineId> {
        let leg = &self.legs[index];
        match &leg.branch {
            Some(branch) => branch.way.line().map(|line| line.id),
            None if leg.index == CALLER => self.who.line().map(|line| line.id),
            None => None,
        }
    }
}

impl Leg {
    /// Whether its messages came by a stream that was lost with the process before this one.
    pub(super) const fn is_cut_off(&self) -> bool {
        matches!(self.destination, Destination::Flow(flow) if flow.transport.is_reliable() && flow.connection.is_none())
    }
}

/// Whether who registers is who the leg's dialog is with: the user and host of its contact are those it gave there. The port
/// is not compared: many phones write that of their connection.
fn is_same_phone(leg: &Leg, register: &Request) -> bool {
    let Some(target) = leg.dialog.as_ref().map(|dialog| &*dialog.state().remote_target) else { return false };
    let (Ok(known), Ok(contacts)) = (Uri::parse(target), register.headers().contacts()) else { return false };
    contacts.as_slice().iter().any(|contact| {
        contact.name_addr.parsed_uri().is_ok_and(|uri| {
            uri.user == known.user && uri.host_without_brackets() == known.host_without_brackets()
        })
    })
}
