//! The worker: standard input and output are the wire, standard error is the log.

use std::{
    io::{stdin, stdout},
    process::ExitCode,
};

use changelog_rust::{plugin, serve::serve};

fn main() -> ExitCode {
    let ended = plugin()
        .map_err(std::io::Error::other)
        .and_then(|plugin| serve(&*plugin, stdin().lock(), stdout()));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // Broken pipes: the host is gone, and with it everybody who could read a message.
        Err(_) => ExitCode::FAILURE,
    }
}
