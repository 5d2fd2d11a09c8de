//! The program `resnet-rs`; everything is in the library.

fn main() -> std::process::ExitCode {
    resnet_rs::cli::main()
}
