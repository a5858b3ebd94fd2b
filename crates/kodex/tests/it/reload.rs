//! Reload swaps the catalog whole, keeps what did not change, and lets calls in flight end.

use std::fs;

use kodex::{Runtime, Status};

use crate::{json, plugin};

#[tokio::test]
async fn a_directory_that_changes_changes_the_ledger_and_keeps_native_plugins() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = Runtime::builder()
        .native(plugin("stays", "h", "echo"))
        .plugin_dir(folder.path())
        .build()
        .await
        .expect("a runtime");
    assert!(runtime.reload().await.expect("a reload").is_empty());
    let manifest = folder.path().join("bad.toml");
    fs::write(&manifest, "manifest = 1\n[plugin]\nname = \"Bad\"\n").expect("written");
    assert!(
        runtime.reload().await.expect("a reload").is_empty(),
        "a broken plugin changes no catalog"
    );
    let ledger = runtime.ledger();
    let record = ledger
        .iter()
        .find(|record| record.source.ends_with("bad.toml"))
        .expect("a line");
    assert_eq!(record.status, Status::Error);
    assert!(record.diagnostics.iter().all(|found| found.file.is_some()));
    fs::remove_file(manifest).expect("removed");
    runtime.reload().await.expect("a reload");
    assert!(
        runtime
            .ledger()
            .iter()
            .all(|record| record.status == Status::Loaded)
    );
    assert_eq!(
        runtime
            .emit("h", json("{}"))
            .await
            .expect("an outcome")
            .replies()
            .count(),
        1
    );
    assert_eq!(runtime.doctor().generation, 4);
}

#[tokio::test]
async fn places_that_are_no_plugin_directory_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("written");
    let missing = folder.path().join("missing");
    let runtime = Runtime::builder()
        .plugin_dir(&file)
        .plugin_dir(&missing)
        .build()
        .await
        .expect("a runtime");
    let codes: Vec<_> = runtime
        .ledger()
        .to_vec()
        .into_iter()
        .map(|record| {
            (
                record.status,
                record.message,
                record.diagnostics[0].code.clone(),
            )
        })
        .collect();
    assert_eq!(
        codes,
        [
            (
                Status::Error,
                "plugin directory is a file".into(),
                "discover.directory.is_a_file".into()
            ),
            (
                Status::Skipped,
                "plugin directory missing".into(),
                "discover.directory.missing".into()
            ),
        ]
    );
}
