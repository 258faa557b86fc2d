//! The `spooky` command. Everything it does is in the library; here only the allocator and the exit code.
#![forbid(unsafe_code)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    spooky::cli::main()
}
