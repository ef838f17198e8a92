//! Compiles the in-kernel relay plane (`bpf/`) for the kernel's own machine. Without clang the engine is built without it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Names tried where `$BPF_CLANG` names none, that of scripts/setup.sh first.
const CLANGS: [&str; 4] = ["clang-16", "clang", "clang-15", "clang-14"];

fn main() {
    println!("cargo::rerun-if-changed=bpf");
    println!("cargo::rerun-if-env-changed=BPF_CLANG");
    println!("cargo::rustc-check-cfg=cfg(kernel_plane)");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let Some(clang) = clang() else {
        println!(
            "cargo::warning=clang is missing: built without the in-kernel relay plane (apt install clang-16)"
        );
        return;
    };
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR")).join("relay.bpf.o");
    match compile(&clang, &object) {
        Ok(()) => println!("cargo::rustc-cfg=kernel_plane"),
        Err(why) => println!("cargo::warning=built without the in-kernel relay plane: {why}"),
    }
}

fn clang() -> Option<String> {
    let names = env::var("BPF_CLANG").map_or_else(|_| CLANGS.map(String::from).to_vec(), |name| vec![name]);
    names.into_iter().find(|name| {
        let version =
            Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

fn compile(clang: &str, object: &Path) -> Result<(), String> {
    let mut command = Command::new(clang);
    // Type information (-g) is how the loader learns of the maps; v3 has 32-bit arithmetic, which Linux knows since 5.1.
    command.args(["-O2", "-g", "-Wall", "-Wextra", "-Werror", "-target", "bpf", "-mcpu=v3", "-c"]);
    // The compiler's own target has no machine, but linux/types.h leads to asm/types.h of one.
    for folder in headers_of_the_machine() {
        command.arg("-I").arg(folder);
    }
    let output = command.arg("bpf/relay.bpf.c").arg("-o").arg(object).output();
    let output = output.map_err(|error| format!("{clang} does not run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(said
        .lines()
        .find(|line| line.contains("error"))
        .unwrap_or("clang refuses bpf/relay.bpf.c")
        .to_owned())
}

/// On Debian one per architecture; elsewhere `asm` lies in `/usr/include` itself.
fn headers_of_the_machine() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/include")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("asm/types.h").is_file())
        .collect();
    folders.sort();
    folders
}
