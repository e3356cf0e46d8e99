//! Parse arguments, run the subcommand, end with its exit code.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    countersign::memory::private();
    countersign::memory::small_pages();
    countersign::cli::main()
}
