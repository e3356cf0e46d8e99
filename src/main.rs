//! Parse arguments, run the subcommand, end with its exit code.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    countersign::platform::huge_pages::private();
    countersign::platform::huge_pages::small_pages();
    countersign::cli::main()
}
