//! The `trainer` program for the tests of this crate; see `Cargo.toml` for the reason.

fn main() -> std::process::ExitCode {
    trainer::cli::main()
}
