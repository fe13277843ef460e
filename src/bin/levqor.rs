//! The command line `levqor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(levqor::cli::main(std::env::args_os()))
}
