//! `offhook config`: is it sound, and what is in force?

use std::path::Path;

use offhook_node::config::{Config, show};

use crate::{cli::ConfigCommand, failure::Failure, output};

/// Checks or shows the configuration.
pub fn run(config: Option<&Path>, command: &ConfigCommand) -> Result<(), Failure> {
    let loaded = Config::load(config)?;
    match command {
        ConfigCommand::Show => output::print(&show(&loaded.config)),
        ConfigCommand::Check => {
            for warning in loaded.config.warnings() {
                output::note(&format!("warning: {warning}"));
            }
            match &loaded.file {
                Some(file) => output::line(&format!("{}: sound", file.display())),
                None => output::line("There is no offhook.toml here; the embedded defaults are in force."),
            }
        }
    }
}
