//! The `kodex` program. Everything is in the library beside it, where tests and code generation can
//! reach it; this file only gives the process its exit status.

fn main() {
    // Leaving by `exit` skips destructors that would only give memory back; processes that were
    // started have been ended before.
    std::process::exit(kodex_cli::main(std::env::args_os()).into());
}
