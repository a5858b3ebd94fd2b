//! The `kodex` program, built with the benches, so that what they start is never an older build. It
//! is the same one line as the program itself.

fn main() {
    std::process::exit(kodex_cli::main(std::env::args_os()).into());
}
