//! The command line: thin, everything testable is in the library.

use std::process::ExitCode;

/// Many threads share one heap: memory that one of them frees serves the others at once, so that the server stays small.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    entrepot::cli::run(std::env::args_os()).await
}
