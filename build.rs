//! Links the C++ runtime statically into fully static Linux binaries (`make dist`).
//!
//! whisper-rs-sys asks for `dylib=stdc++`. In a static link the linker would still prefer
//! `libstdc++.so` for it, which makes a binary that crashes at its start. A folder that holds only
//! `libstdc++.a`, searched before the compiler's own folders, leaves it no choice.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=CXX");
    if !is_static_gnu_linux() {
        return Ok(());
    }
    let target = env::var("TARGET")?;
    let for_target = format!("CXX_{}", target.replace('-', "_"));
    println!("cargo::rerun-if-env-changed={for_target}");
    let compiler = env::var(for_target).or_else(|_| env::var("CXX")).unwrap_or_else(|_| "g++".to_owned());

    let library = static_libstdcxx(&compiler)?;
    let folder = Path::new(&env::var("OUT_DIR")?).join("libstdcxx");
    fs::create_dir_all(&folder)?;
    fs::copy(&library, folder.join("libstdc++.a"))?;
    println!("cargo::rerun-if-changed={}", library.display());
    println!("cargo::rustc-link-search=native={}", folder.display());
    Ok(())
}

/// Whether this build is a static one for Linux with glibc. Cargo describes the target here, not the host.
fn is_static_gnu_linux() -> bool {
    let is = |key: &str, value: &str| env::var(key).is_ok_and(|list| list.split(',').any(|one| one == value));
    is("CARGO_CFG_TARGET_OS", "linux")
        && is("CARGO_CFG_TARGET_ENV", "gnu")
        && is("CARGO_CFG_TARGET_FEATURE", "crt-static")
}

/// The `libstdc++.a` that belongs to the compiler.
fn static_libstdcxx(compiler: &str) -> Result<PathBuf, Box<dyn Error>> {
    // CXX may carry a launcher or flags ("ccache g++").
    let mut words = compiler.split_whitespace();
    let program = words.next().ok_or("CXX is empty")?;
    let output = Command::new(program)
        .args(words)
        .arg("-print-file-name=libstdc++.a")
        .output()
        .map_err(|error| format!("can't run the C++ compiler `{compiler}`: {error}"))?;
    let path = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    // The compiler answers with the bare name when it has no such file.
    if !path.is_absolute() {
        return Err(format!("`{compiler}` has no libstdc++.a; a static build needs it").into());
    }
    Ok(path)
}
