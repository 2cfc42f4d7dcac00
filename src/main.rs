//! Arguments in, exit code out.

fn main() -> std::process::ExitCode {
    stanch::cli::main()
}
