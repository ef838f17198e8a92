//! Which keys of `[services]` stand for what the node does.

use offhook_switch::service::Service;

use super::Services;

impl Services {
    /// The numbers of each service.
    pub fn by_service(&self) -> [(Service, &[String]); 4] {
        [
            (Service::Echo, &self.echo),
            (Service::Clock, &self.clock),
            (Service::Tones, &self.tones),
            (Service::Menu, &self.menu),
        ]
    }

    /// The same by the names of the keys.
    pub(super) fn by_name(&self) -> [(&'static str, &[String]); 4] {
        self.by_service().map(|(service, numbers)| {
            let name = match service {
                Service::Echo => "echo",
                Service::Clock => "clock",
                Service::Tones => "tones",
                Service::Menu => "menu",
            };
            (name, numbers)
        })
    }
}
