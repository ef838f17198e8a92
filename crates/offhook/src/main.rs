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

/// A call takes a hundred and fifty blocks of memory and gives them back, each in a few instructions with this allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Two crates below could each bring a provider; rustls refuses to guess between them.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    // Its options are SIPp's: one dash, long names. clap reads no such thing.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == "load") {
        return load(arguments.collect());
    }
    let cli = Cli::try_parse().unwrap_or_else(|error| cli::refuse(&error));
    if let Command::Load { arguments } = cli.command {
        return load(arguments);
    }
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            failure.exit_code()
        }
    }
}

fn load(arguments: Vec<std::ffi::OsString>) -> ExitCode {
    match offhook_load::run::main(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(refusal) => {
            output::note(&format!("error: {refusal}"));
            ExitCode::from(refusal.code)
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
