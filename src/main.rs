//! The program: arguments in, exit code out.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A password hash takes 19 MiB: this allocator gives them back to the system, which others keep once a thread had them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    sidegate::cli::run(std::env::args_os())
}
