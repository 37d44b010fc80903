fn main() -> std::process::ExitCode {
    cutover::cli::cms::main()
}
