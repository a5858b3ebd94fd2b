//! Lists the files of the Python SDK, so that they are carried in the binary, and works out the
//! digest that names their unpacked folder: done here it costs no start of a program anything.
#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script everything through the environment"
)]

use std::{
    env,
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_WORKER").is_none() {
        return Ok(());
    }
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../sdks/python/src");
    let root = fs::canonicalize(root)?;
    let mut names = Vec::new();
    list(&root, &root, &mut names)?;
    names.sort();
    let mut hash = Sha256::new();
    let mut table = String::from("const FILES: &[(&str, &str)] = &[\n");
    for name in &names {
        let file = root.join(name);
        // One by one: a folder would be watched with what Python leaves in it at every run. That a
        // file is new is noticed by a test.
        println!("cargo::rerun-if-changed={}", file.display());
        let text = fs::read_to_string(&file)?;
        // With the lengths in front no two sets of files give the same bytes.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(&text);
        let file = file.to_str().ok_or("the path of the SDK is no UTF-8")?;
        writeln!(table, "    ({name:?}, include_str!({file:?})),")?;
    }
    table.push_str("];\n");
    let mut digest = String::new();
    for byte in hash.finalize() {
        write!(digest, "{byte:02x}")?;
    }
    writeln!(table, "const DIGEST: &str = {digest:?};")?;
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("python_sdk.rs"),
        table,
    )?;
    Ok(())
}

/// Everything but what running or checking the SDK in place leaves behind.
fn list(root: &Path, folder: &Path, names: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name == "__pycache__" || name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            list(root, &path, names)?;
        } else {
            let name = path.strip_prefix(root)?;
            names.push(
                name.to_str()
                    .ok_or("a file of the SDK has no UTF-8 name")?
                    .to_owned(),
            );
        }
    }
    Ok(())
}
