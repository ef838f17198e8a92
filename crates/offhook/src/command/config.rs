//! `offhook config`: is it sound, and what is in force?

use std::path::Path;

use offhook_node::config::{Config, show};
use serde_json::Value;

use crate::{cli::ConfigCommand, client::Client, failure::Failure, output};

/// Checks or shows the configuration.
pub fn run(config: Option<&Path>, command: &ConfigCommand) -> Result<(), Failure> {
    let loaded = Config::load(config)?;
    match command {
        ConfigCommand::Show => output::print(&show(&loaded.config)),
        ConfigCommand::Check => {
            loaded.check_files()?;
            for warning in loaded.config.warnings() {
                output::note(&format!("warning: {warning}"));
            }
            match &loaded.file {
                Some(file) => output::line(&format!("{}: sound", file.display()))?,
                None => output::line("There is no offhook.toml here; the embedded defaults are in force.")?,
            }
            site_warnings(&loaded.config);
            Ok(())
        }
    }
}

/// What the lines and peers of the node that runs here lack. They are data, so only the node can tell; without one there
/// is nothing to say.
fn site_warnings(config: &Config) {
    let (Ok(runtime), Ok(client)) =
        (tokio::runtime::Builder::new_current_thread().enable_all().build(), Client::new(config, None))
    else {
        return;
    };
    if let Ok(status) = runtime.block_on(client.get::<Value>("/status", &[])) {
        output::warnings(&status);
    }
}
