//! Requests within the call that are the other side's business: INFO and MESSAGE pass through with their bodies.

use offhook_base::Moment;
use offhook_sip::{
    header::HeaderName,
    message::{Response, StatusCode},
    transaction::ClientKey,
};

use super::{CALLER, Call, leg::Pending};
use crate::{
    border::Border,
    exchange::{
        owners::{ClientUse, LegIndex},
        services::Services,
    },
};

/// Requests of one call that may wait for the other side at once. Each DTMF digit by INFO is one; nobody types faster.
const RELAYS_MAX: usize = 16;

/// A request that waits for the other side.
#[derive(Debug)]
pub struct Relay {
    /// The leg that answers.
    leg: LegIndex,
    from: Pending,
    pub(super) client: ClientKey,
}

impl Call {
    /// Passes a request of `leg` on to the other leg.
    pub(super) fn handle_relay(
        &mut self,
        services: &mut Services,
        leg: LegIndex,
        pending: Pending,
        now: Moment,
    ) {
        let Some(other) = self.other(leg) else {
            return services.refuse(&pending, StatusCode::REQUEST_PENDING, now);
        };
        if self.relays.len() >= RELAYS_MAX {
            return services.refuse(&pending, StatusCode::SERVER_INTERNAL_ERROR, now);
        }
        let (from, to) = (self.party_of(leg), self.party_of(other));
        let target = &mut self.legs[usize::from(other)];
        let Some(dialog) = target.dialog.as_mut() else {
            return services.refuse(&pending, StatusCode::REQUEST_PENDING, now);
        };
        let request = &pending.request;
        let transaction = services.layer.new_branch();
        let via = services.via(&target.destination, transaction);
        let contact = services.contact(&target.destination, None);
        let border = Border::new(from, to, || services.own_host(&target.destination));
        let mut writer = dialog.request(request.method(), via, &mut services.buffer);
        writer.header(&HeaderName::Contact, contact);
        border.copy(request.headers(), &mut writer);
        if let Some(content_type) = request.headers().first(&HeaderName::ContentType) {
            writer.body(content_type, request.body());
        }
        let bytes = writer.finish();
        match self.send_within(services, other, ClientUse::Relay, &transaction, bytes, now) {
            Some(client) => self.relays.push(Relay { leg: other, from: pending, client }),
            None => services.refuse(&pending, StatusCode::SERVICE_UNAVAILABLE, now),
        }
    }

    /// The other side's answer, or the status that stands for its silence.
    pub(super) fn relay_answered(
        &mut self,
        services: &mut Services,
        client: ClientKey,
        status: StatusCode,
        response: Option<&Response>,
        now: Moment,
    ) {
        if status.is_provisional() {
            return;
        }
        let Some(position) = self.relays.iter().position(|relay| relay.client == client) else { return };
        let Relay { leg, from, .. } = self.relays.swap_remove(position);
        if self.press_instead(services, leg, &from.request, status) {
            return services.refuse(&from, StatusCode::OK, now);
        }
        let asker = self.other(leg).unwrap_or(CALLER);
        let destination = &self.legs[usize::from(asker)].destination;
        let border = Border::new(self.party_of(leg), self.party_of(asker), || services.own_host(destination));
        let mut writer = from.request.respond(&mut services.buffer, status, None);
        if let Some(response) = response {
            border.copy(response.headers(), &mut writer);
            if let Some(content_type) = response.headers().first(&HeaderName::ContentType) {
                writer.body(content_type, response.body());
            }
        }
        let bytes = writer.finish();
        services.respond(from.key, bytes, now);
    }

    /// The call ends: nobody will answer what still waits.
    pub(super) fn drop_relays(&mut self, services: &mut Services, now: Moment) {
        for relay in std::mem::take(&mut self.relays) {
            services.refuse(&relay.from, StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST, now);
        }
    }
}
