fn main() -> std::process::ExitCode {
    cutover::cli::probe::main()
}
