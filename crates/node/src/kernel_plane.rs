//! The in-kernel media plane, as the configuration wants it.

use std::path::Path;

use offhook_media::kernel::{Hook, KernelConfig, clear_pins};

use crate::config::{Config, KernelPlane};

/// What the media engine is to load; none where it is to do without. Then what another run of the node left is ended.
pub fn wanted(config: &Config) -> Option<KernelConfig> {
    let pins = config.media.kernel_pins.join(own(&config.storage.data));
    let hook = match config.media.kernel {
        KernelPlane::Auto => Hook::Auto,
        KernelPlane::Tc => Hook::Tc,
        KernelPlane::Off => {
            clear_pins(&pins);
            return None;
        }
    };
    Some(KernelConfig { pins: Some(pins), hook })
}

/// The name of this node's own pins, after its data directory: others may run on the host.
pub fn own(data: &Path) -> String {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    // That file system takes no dots.
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = data.to_string_lossy().chars().map(plain).collect();
    name.trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_of_a_host_pins_at_a_place_of_its_own() {
        assert_eq!(own(Path::new("/nowhere/off.hook")), "nowhere-off-hook");
    }
}
