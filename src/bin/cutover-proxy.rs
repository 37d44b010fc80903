fn main() -> std::process::ExitCode {
    cutover::cli::proxy::main()
}
