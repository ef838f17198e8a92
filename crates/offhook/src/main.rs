//! `offhook`: the node and everything that steers it.
#![forbid(unsafe_code)]

mod cli;
mod client;
mod command;
mod failure;
mod output;
mod pages;
mod sse;
mod try_call;

use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    // Two crates below could each bring a provider; rustls refuses to guess between them.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::try_parse().unwrap_or_else(|error| cli::refuse(&error));
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            failure.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        // The node brings its own threads and runtime.
        Command::Serve(args) => command::serve::run(cli.config.as_deref(), &args),
        Command::Config(command) => command::config::run(cli.config.as_deref(), &command),
        command => {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
                    Failure::new(format!("cannot start: {error}"), "free memory or file descriptors")
                })?;
            runtime.block_on(command::run(cli.config.as_deref(), cli.url.as_deref(), command))
        }
    }
}
