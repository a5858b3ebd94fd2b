//! The backend suite over every backend, and over the standard plugin in several languages.

use std::sync::Arc;

use kodex_backend::{
    Backend, Command, Launch, NativeBackend, Package, WorkerBackend,
    suite::{BackendSuite, Subject, standard},
};
use kodex_plugin::{
    Limits, Manifest, Plugin, PluginName,
    manifest::{Run, Version},
};

use crate::support::{RealClock, fixture, options, python};

fn package(launch: Launch) -> Package {
    let name = PluginName::new("suite").expect("a name");
    let run = Run::Process {
        command: Vec::new(),
        env: Vec::new(),
    };
    Package {
        manifest: Manifest::new(name, Version::new("0.1.0"), "", run),
        root: fixture("suite"),
        limits: Limits::default(),
        launch,
    }
}

async fn check(open: &(dyn Fn() -> Arc<dyn Plugin> + Send + Sync)) {
    let failed = BackendSuite
        .run(&Subject {
            open,
            clock: Arc::new(RealClock),
        })
        .await;
    assert!(failed.is_empty(), "{failed:#?}");
}

async fn check_worker(command: Command) {
    let backend = WorkerBackend::new(options());
    check(&|| {
        let package = package(Launch::Command(command.clone()));
        backend.open(package).expect("a worker")
    })
    .await;
}

#[tokio::test]
async fn native_plugins_pass() {
    check(&|| {
        let plugin = standard::native().expect("a plugin");
        let package = package(Launch::Native(plugin));
        NativeBackend.open(package).expect("a native plugin")
    })
    .await;
}

#[tokio::test]
async fn workers_in_rust_pass() {
    check_worker(Command {
        program: env!("CARGO_BIN_EXE_kodex-suite-plugin").into(),
        ..Command::default()
    })
    .await;
}

#[tokio::test]
async fn workers_in_python_pass() {
    check_worker(python(&fixture("suite/suite.py"), &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_pass_on_several_threads() {
    check_worker(Command {
        program: env!("CARGO_BIN_EXE_kodex-suite-plugin").into(),
        ..Command::default()
    })
    .await;
}

#[test]
fn a_backend_refuses_what_is_not_its_kind() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _inside = runtime.enter();
    let native = standard::native().expect("a plugin");
    let worker = WorkerBackend::new(options());
    let refused = [
        NativeBackend.open(package(Launch::Command(Command::default()))),
        worker.open(package(Launch::Native(native))),
        worker.open(Package {
            root: "relative".into(),
            ..package(Launch::Command(Command::default()))
        }),
    ];
    let codes = refused.map(|refused| refused.map(drop).expect_err("refused").code());
    assert_eq!(
        codes,
        [
            "backend.open.launch",
            "backend.open.launch",
            "backend.open.relative_root"
        ]
    );
}

#[test]
fn a_plugin_that_is_wrong_fails_by_name() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let failed = runtime.block_on(async {
        let open = || {
            let plugin = kodex_plugin::Define::new("suite", "0.1.0", "Answers everything with 1.");
            let plugin = plugin.hook("*", |_| Ok(kodex_plugin::Reply::from(serde_json::json!(1))));
            plugin.build().expect("a plugin")
        };
        BackendSuite
            .run(&Subject {
                open: &open,
                clock: Arc::new(RealClock),
            })
            .await
    });
    let names: Vec<_> = failed.iter().map(|(name, _)| *name).collect();
    assert!(names.contains(&"a_hook_is_answered"), "{names:?}");
    assert!(names.contains(&"null_is_a_reply"), "{names:?}");
    assert!(names.len() > 12 && names.len() <= BackendSuite.cases().len());
}
