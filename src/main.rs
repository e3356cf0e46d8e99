//! Parse arguments, run the subcommand, end with its exit code.

fn main() -> std::process::ExitCode {
    countersign::cli::main()
}
