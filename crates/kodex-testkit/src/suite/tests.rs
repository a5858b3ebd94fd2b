//! A plugin that does everything well, and one for each way of doing something badly.

use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    time::Duration,
};

use kodex_plugin::{
    Call, Context, Define, Health, HookName, Json, Manifest, Plugin, PluginError, PluginName,
    Reply, Request, RequestKind, Tool,
    manifest::{PermissionRequest, Run, Subscription, Version},
};
use serde_json::{Value, json};

use super::PluginSuite;

type Answer = Box<dyn Fn(&Request<'_>) -> Call<'static, Reply> + Send + Sync>;

/// A plugin whose every part can be replaced by a bad one.
struct Plain {
    manifest: Manifest,
    answer: Answer,
    activate: Box<dyn Fn(u32) -> Result<(), PluginError> + Send + Sync>,
    n_activations: AtomicU32,
    health: fn() -> Health,
    deactivate: fn() -> Call<'static, ()>,
}

impl Plain {
    fn new() -> Self {
        let name = PluginName::new("plain").expect("a plain name");
        let mut manifest = Manifest::new(
            name,
            Version::new("1.2.3"),
            "Answers one hook and one tool.",
            Run::Native,
        );
        manifest
            .hooks
            .push(Subscription::new(HookName::new("h").expect("a hook name")));
        manifest.tools.push(tool("t", json!({"type": "object"})));
        Self {
            manifest,
            answer: Box::new(|request| {
                let known = matches!(
                    (request.kind, request.name),
                    (RequestKind::Hook, "h") | (RequestKind::Tool, "t")
                );
                Call::Ready(Ok(if known {
                    Reply::from(json!({"n": 1}))
                } else {
                    Reply::nothing()
                }))
            }),
            activate: Box::new(|_| Ok(())),
            n_activations: AtomicU32::new(0),
            health: Health::default,
            deactivate: || Call::Ready(Ok(())),
        }
    }

    fn declaring(change: impl FnOnce(&mut Manifest)) -> Self {
        let mut plugin = Self::new();
        change(&mut plugin.manifest);
        plugin
    }

    /// Answers the hook `h` badly and everything else well.
    fn answering(
        answer: impl Fn(&Request<'_>) -> Call<'static, Reply> + Send + Sync + 'static,
    ) -> Self {
        let mut plugin = Self::new();
        let well = std::mem::replace(
            &mut plugin.answer,
            Box::new(|_| Call::Ready(Ok(Reply::nothing()))),
        );
        plugin.answer = Box::new(move |request| match (request.kind, request.name) {
            (RequestKind::Hook, "h") => answer(request),
            _ => well(request),
        });
        plugin
    }

    fn activating(
        activate: impl Fn(u32) -> Result<(), PluginError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            activate: Box::new(activate),
            ..Self::new()
        }
    }
}

impl Plugin for Plain {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }
    fn activate(&self, _: Context) -> Call<'_, ()> {
        Call::Ready((self.activate)(
            self.n_activations.fetch_add(1, Ordering::SeqCst),
        ))
    }
    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        (self.answer)(&request)
    }
    fn deactivate(&self) -> Call<'_, ()> {
        (self.deactivate)()
    }
    fn health(&self) -> Health {
        (self.health)()
    }
}

fn tool(name: &str, schema: Value) -> Tool {
    let mut tool = Tool::new(name, "Does something.").expect("a tool name");
    tool.input_schema = Some(Json::from(schema));
    tool
}

fn well() -> Call<'static, Reply> {
    Call::Ready(Ok(Reply::from(json!({"n": 1}))))
}

/// Waits once, then answers.
fn after_one_wait(
    answer: impl FnOnce() -> Call<'static, Reply> + Send + 'static,
) -> Call<'static, Reply> {
    let mut waited = false;
    let wait = std::future::poll_fn(move |poller| {
        if waited {
            return Poll::Ready(());
        }
        waited = true;
        poller.waker().wake_by_ref();
        Poll::Pending
    });
    Call::pending(async move {
        wait.await;
        match answer() {
            Call::Ready(reply) => reply,
            Call::Pending(future) => future.await,
        }
    })
}

fn codes(suite: &PluginSuite, plugin: Plain) -> String {
    let plugin: Arc<dyn Plugin> = Arc::new(plugin);
    let found = suite.run(&plugin);
    for finding in &found {
        assert_eq!(
            finding.plugin.as_deref(),
            Some(plugin.manifest().name.as_str())
        );
        assert!(finding.hint.is_some(), "{finding:?} gives no advice");
    }
    let codes: Vec<_> = found.into_iter().map(|finding| finding.code).collect();
    codes.join(" ")
}

/// Plugins that answer are tested with the usual, generous limit.
fn check(plugin: Plain, want: &str) {
    assert_eq!(codes(&PluginSuite::new(), plugin), want);
}

fn check_declared(want: &str, change: impl FnOnce(&mut Manifest)) {
    check(Plain::declaring(change), want);
}

/// Plugins that never answer are tested with a short one, so that only they wait for it.
fn check_stuck(plugin: Plain, want: &str) {
    let suite = PluginSuite::new().with_limit(Duration::from_secs(1));
    assert_eq!(codes(&suite, plugin), want);
}

#[test]
fn a_good_plugin_passes() {
    check(Plain::new(), "");
    check(Plain::answering(|_| after_one_wait(well)), "");
    check(
        Plain::answering(|_| Call::Ready(Err(PluginError::raised("not today")))),
        "",
    );
    check(
        Plain::activating(|n| {
            if n == 0 {
                Ok(())
            } else {
                Err(PluginError::raised("again"))
            }
        }),
        "",
    );
}

#[test]
fn declarations_are_judged() {
    check_declared("name.plugin.invalid", |m| {
        m.name = PluginName::lenient("My Plugin").expect("a lenient name");
    });
    check_declared("manifest.version.normalised", |m| {
        m.version = Version::new("v1")
    });
    check_declared("manifest.version.invalid", |m| {
        m.version = Version::new("soon")
    });
    check_declared("manifest.description.blank", |m| {
        m.description = String::new()
    });
    check_declared("suite.manifest.canonical", |m| {
        m.description = " blanks ".into()
    });
    check_declared("manifest.description.long", |m| {
        m.description = "x".repeat(301)
    });
    check_declared("suite.manifest.canonical", |m| {
        let name = |text: &str| text.parse().expect("a capability");
        m.capabilities = vec![name("b"), name("a")];
    });
    check_declared("suite.manifest.idle", |m| {
        m.hooks.clear();
        m.tools.clear();
    });
}

#[test]
fn hooks_tools_and_permissions_are_judged() {
    check_declared("manifest.hook.duplicate", |m| {
        m.hooks.push(m.hooks[0].clone())
    });
    check_declared("suite.manifest.names_beside_all", |m| {
        m.hooks
            .push(Subscription::new(HookName::new("*").expect("a hook name")));
    });
    check_declared("manifest.timeout.zero", |m| {
        m.hooks[0].timeout = Some(Duration::ZERO)
    });
    check_declared("manifest.tool.duplicate", |m| {
        m.tools.push(m.tools[0].clone())
    });
    check_declared("manifest.tool.description", |m| {
        m.tools[0].description = "  ".into()
    });
    check_declared("manifest.timeout.zero", |m| m.tools[0].timeout_ms = Some(0));
    check_declared("suite.tool.schema", |m| {
        m.tools[0].input_schema = Some(Json::from(json!({"type": "object", "required": ["x"]})))
    });
    check_declared("suite.tool.schema", |m| {
        m.tools[0].output_schema = Some(Json::from(json!({"type": "nonsense"})));
    });
    let wish = |reason: &str| PermissionRequest {
        allow: "fs:read ${project}/**".parse().expect("a permission"),
        reason: reason.to_owned(),
    };
    check(
        Plain::declaring(|m| m.permissions = vec![wish(" ")]),
        "manifest.reason.missing",
    );
    check(
        Plain::declaring(|m| m.permissions = vec![wish("a"), wish("b")]),
        "manifest.permission.duplicate",
    );
}

#[test]
fn bad_answers_are_found_once_each() {
    check(
        Plain::answering(|request| {
            assert!(request.payload.value().is_object(), "no object");
            well()
        }),
        "suite.hook.panicked",
    );
    check(
        Plain::answering(|_| Call::pending(async { panic!("while it was polled") })),
        "suite.hook.panicked",
    );
    check(
        Plain::answering(|_| Call::Ready(Ok(Reply::from(json!("x".repeat(2 << 20)))))),
        "suite.hook.too_large",
    );
    check(
        Plain::answering(|_| {
            let deep = (0..80).fold(json!(1), |inner, _| json!([inner]));
            Call::Ready(Ok(Reply::from(deep)))
        }),
        "suite.hook.too_large",
    );
    check(
        Plain::answering(|_| {
            let unknown = PluginError::new(kodex_plugin::Failure::Raised, "method.unknown", "none");
            Call::Ready(Err(unknown))
        }),
        "suite.hook.missing",
    );
    check(
        Plain::declaring(|m| m.tools.push(tool("unwritten", json!({"type": "object"})))),
        "suite.tool.missing",
    );
}

#[test]
fn replies_must_fit_their_hook() {
    let replying = |hook: &'static str, reply: Value| Plain {
        answer: Box::new(move |request| {
            let is_meant = request.kind == RequestKind::Hook && request.name == hook;
            Call::Ready(Ok(if is_meant {
                Reply::from(reply.clone())
            } else {
                Reply::nothing()
            }))
        }),
        ..Plain::declaring(|m| {
            m.hooks[0].on = HookName::new(hook).expect("a hook name");
            m.tools.clear();
        })
    };
    check(replying("tool.before", json!({"decision": "deny"})), "");
    check(
        replying("tool.before", json!({"decision": "block"})),
        "suite.hook.reply",
    );
    check(
        replying("prompt.submit", json!({"prompt": "mine"})),
        "suite.hook.reply",
    );
    check(replying("some.other", json!({"prompt": "mine"})), "");
}

#[test]
fn endless_waits_are_found() {
    check_stuck(
        Plain::answering(|_| Call::pending(std::future::pending())),
        "suite.hook.stuck",
    );
    // Blocks the thread itself until the test is over.
    let (gate, closed) = mpsc::channel::<()>();
    let closed = Mutex::new(closed);
    check_stuck(
        Plain::answering(move |_| {
            let closed = closed.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = closed.recv();
            well()
        }),
        "suite.hook.stuck",
    );
    drop(gate);
}

#[test]
fn answers_to_undeclared_names_are_found() {
    let plugin = Plain {
        answer: Box::new(|_| well()),
        ..Plain::new()
    };
    check(
        plugin,
        "suite.tool.undeclared suite.tool.undeclared suite.hook.undeclared suite.hook.undeclared",
    );
    let plugin = Plain {
        answer: Box::new(|request| match request.name {
            "h" | "t" => well(),
            name => panic!("no {name}"),
        }),
        ..Plain::new()
    };
    check(
        plugin,
        "suite.tool.undeclared suite.tool.undeclared suite.hook.undeclared suite.hook.undeclared",
    );
}

#[test]
fn the_life_of_a_plugin_is_judged() {
    check(
        Plain::activating(|_| Err(PluginError::raised("no key"))),
        "suite.activate.failed",
    );
    check(
        Plain::activating(|_| panic!("no key")),
        "suite.activate.panicked",
    );
    check(
        Plain::activating(|n| {
            assert_eq!(n, 0, "only once");
            Ok(())
        }),
        "suite.activate.repeat",
    );
    check(
        Plain {
            health: || panic!("unwell"),
            ..Plain::new()
        },
        "suite.health.failed",
    );
    let ending = |deactivate| Plain {
        deactivate,
        ..Plain::new()
    };
    check(
        ending(|| Call::Ready(Err(PluginError::raised("busy")))),
        "suite.deactivate.failed",
    );
    check(ending(|| panic!("busy")), "suite.deactivate.failed");
    check_stuck(
        ending(|| Call::pending(std::future::pending())),
        "suite.deactivate.failed",
    );
}

#[test]
fn calls_that_hurt_each_other_are_found() {
    // Whether somebody is inside, and the bell of whoever comes meanwhile.
    let inside = Arc::new((Mutex::new(false), Condvar::new()));
    check(
        Plain::answering(move |request| {
            if request.payload != &Json::object() {
                return well();
            }
            let (taken, bell) = &*inside;
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            if *taken {
                bell.notify_all();
                drop(taken);
                panic!("only one at once");
            }
            *taken = true;
            // Long enough for the others of the same start to come in.
            let waited = bell.wait_timeout(taken, Duration::from_millis(250));
            *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
            well()
        }),
        "suite.concurrent.panicked",
    );
    // Four places, given back only by calls that come to their end.
    let n_places = Arc::new(AtomicUsize::new(4));
    check_stuck(
        Plain::answering(move |_| {
            let n_places = Arc::clone(&n_places);
            let take = |n: usize| n.checked_sub(1);
            if n_places
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                .is_err()
            {
                return Call::pending(std::future::pending());
            }
            after_one_wait(move || {
                n_places.fetch_add(1, Ordering::SeqCst);
                well()
            })
        }),
        "suite.cancel.broken",
    );
}

#[test]
fn the_authors_samples_must_be_accepted() {
    let picky = || {
        Plain::answering(|request| match request.payload.value()["text"].as_str() {
            Some(_) => well(),
            None => Call::Ready(Err(PluginError::domain("no text"))),
        })
    };
    let suite = PluginSuite::new();
    let good = suite
        .clone()
        .with_payload("h", json!({"text": "a"}))
        .with_input("t", json!({}));
    assert_eq!(codes(&good, picky()), "");
    let bad = suite.with_payload("h", json!({"words": "a"}));
    assert_eq!(codes(&bad, picky()), "suite.hook.refused");
}

#[test]
fn a_manifest_that_changes_is_found() {
    /// Shows another manifest once it was called.
    struct Fickle(Plain, Manifest, AtomicBool);
    impl Plugin for Fickle {
        fn manifest(&self) -> &Manifest {
            if self.2.load(Ordering::SeqCst) {
                &self.1
            } else {
                self.0.manifest()
            }
        }
        fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
            self.2.store(true, Ordering::SeqCst);
            self.0.call(request)
        }
    }
    let other = Plain::declaring(|m| m.description = "Something else.".into()).manifest;
    let fickle: Arc<dyn Plugin> = Arc::new(Fickle(Plain::new(), other, AtomicBool::new(false)));
    let found = PluginSuite::new().run(&fickle);
    let codes: Vec<_> = found.into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["suite.manifest.changed"]);
}

#[test]
fn configuration_reaches_the_plugin() {
    struct Configured(Manifest);
    impl Plugin for Configured {
        fn manifest(&self) -> &Manifest {
            &self.0
        }
        fn activate(&self, context: Context) -> Call<'_, ()> {
            let key = context.config.value()["key"].as_str();
            Call::Ready(key.map(drop).ok_or_else(|| PluginError::raised("no key")))
        }
        fn call<'a>(&'a self, _: Request<'a>) -> Call<'a, Reply> {
            well()
        }
    }
    let manifest = Plain::declaring(|m| {
        m.hooks[0].on = HookName::new("*").expect("a hook name");
        m.tools.clear();
    })
    .manifest;
    let plugin: Arc<dyn Plugin> = Arc::new(Configured(manifest));
    let codes = |suite: PluginSuite| -> Vec<String> {
        suite
            .run(&plugin)
            .into_iter()
            .map(|finding| finding.code)
            .collect()
    };
    assert_eq!(codes(PluginSuite::new()), ["suite.activate.failed"]);
    // It answers every hook, as it declares, and every tool, which it does not.
    assert_eq!(
        codes(PluginSuite::new().with_config(json!({"key": "a"}))),
        ["suite.tool.undeclared", "suite.tool.undeclared"]
    );
}

#[test]
fn a_plugin_made_of_closures_passes() {
    let plugin = Define::new("closures", "0.1.0", "Answers from closures.")
        .hook("prompt.submit", |_| Ok(Reply::nothing()))
        .tool(tool("echo", json!({"type": "object"})), |input| {
            Ok(input.clone())
        })
        .build()
        .expect("good names");
    assert_eq!(PluginSuite::new().run(&plugin), []);
}
