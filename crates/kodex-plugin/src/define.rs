//! Defining a native plugin from closures, without a type of one's own.

use std::sync::Arc;

use crate::{
    Call, HookName, Json, Manifest, NameError, Plugin, PluginError, PluginName, Reply, Request,
    RequestKind, Tool, ToolName, capability,
    manifest::{Database, Run, Subscription, Version},
};

type Answer = Box<dyn for<'a> Fn(Request<'a>) -> Call<'a, Reply> + Send + Sync>;

/// One hook or tool and its code. The first one of a name counts.
struct Handler {
    kind: RequestKind,
    name: String,
    answer: Answer,
}

/// Builds a native plugin. Handlers run on the caller's thread and must not block; a plugin that
/// waits for something implements [`Plugin`] itself and answers with [`Call::pending`].
///
/// See the example at the [crate root](crate).
pub struct Define {
    manifest: Result<Manifest, NameError>,
    handlers: Vec<Handler>,
    migrations: &'static [(&'static str, &'static str)],
}

impl std::fmt::Debug for Define {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Define")
            .field("manifest", &self.manifest)
            .finish_non_exhaustive()
    }
}

impl Define {
    /// Starts a plugin with its name, version and description. A bad name is reported by
    /// [`Define::build`].
    pub fn new(name: &str, version: &str, description: &str) -> Self {
        let manifest = PluginName::new(name).map(|name| {
            Manifest::new(name, Version::new(version), description.trim(), Run::Native)
        });
        Self {
            manifest,
            handlers: Vec::new(),
            migrations: &[],
        }
    }

    /// Declares what the plugin offers, for routing.
    #[must_use]
    pub fn capabilities<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        if let Ok(manifest) = &mut self.manifest {
            manifest.capabilities = capability::normalise(names);
        }
        self
    }

    /// Answers a hook with priority 0 and the hook's usual timeout.
    #[must_use]
    pub fn hook<F>(self, name: &str, answer: F) -> Self
    where
        F: for<'a> Fn(Request<'a>) -> Result<Reply, PluginError> + Send + Sync + 'static,
    {
        match HookName::new(name) {
            Ok(name) => self.subscribe(Subscription::new(name), answer),
            Err(error) => Self {
                manifest: Err(error),
                ..self
            },
        }
    }

    /// Answers a hook with a subscription of your own making.
    #[must_use]
    pub fn subscribe<F>(mut self, subscription: Subscription, answer: F) -> Self
    where
        F: for<'a> Fn(Request<'a>) -> Result<Reply, PluginError> + Send + Sync + 'static,
    {
        if let Ok(manifest) = &mut self.manifest {
            let name = subscription.on.to_string();
            self.handlers.push(Handler {
                kind: RequestKind::Hook,
                name,
                answer: at_once(answer),
            });
            manifest.hooks.push(subscription);
        }
        self
    }

    /// Offers a tool.
    #[must_use]
    pub fn tool<F>(mut self, tool: Tool, answer: F) -> Self
    where
        F: for<'a> Fn(&'a Json) -> Result<Json, PluginError> + Send + Sync + 'static,
    {
        if let Ok(manifest) = &mut self.manifest {
            let name = tool.name.to_string();
            let answer = move |request: Request<'_>| answer(request.payload).map(Reply::from);
            self.handlers.push(Handler {
                kind: RequestKind::Tool,
                name,
                answer: at_once(answer),
            });
            manifest.tools.push(tool);
        }
        self
    }

    /// Answers a data step of the plugin's journal, by the name of its file up to the first dot.
    #[must_use]
    pub fn step<F>(mut self, name: &str, answer: F) -> Self
    where
        F: for<'a> Fn(Request<'a>) -> Result<Reply, PluginError> + Send + Sync + 'static,
    {
        self.handlers.push(Handler {
            kind: RequestKind::Step,
            name: name.to_owned(),
            answer: at_once(answer),
        });
        self
    }

    /// Declares a database with its migrations: the names of the files and their texts, most often by
    /// `include_str!`.
    #[must_use]
    pub fn database(mut self, migrations: &'static [(&'static str, &'static str)]) -> Self {
        self.migrations = migrations;
        if let Ok(manifest) = &mut self.manifest {
            manifest.database = Some(Database {
                migrations: "migrations".to_owned(),
                renamed_from: None,
            });
        }
        self
    }

    /// Finishes the plugin.
    ///
    /// # Errors
    /// [`NameError`] when the plugin's or a hook's name breaks its rule.
    pub fn build(self) -> Result<Arc<dyn Plugin>, NameError> {
        Ok(Arc::new(Defined {
            manifest: self.manifest?,
            handlers: self.handlers,
            migrations: self.migrations,
        }))
    }
}

impl Tool {
    /// A tool with a name and a description, taking and giving any object.
    ///
    /// # Errors
    /// [`NameError`] when the name breaks the rule of [`ToolName`].
    pub fn new(name: &str, description: &str) -> Result<Self, NameError> {
        Ok(Self {
            name: ToolName::new(name)?,
            description: description.to_owned(),
            input_schema: None,
            output_schema: None,
            annotations: crate::tool::Annotations::default(),
            timeout_ms: None,
            needs_caller: false,
        })
    }
}

/// A closure as the trait wants it. Its reply comes into being where the caller wants it, because
/// moving what was written a moment ago costs more than the call.
fn at_once<F>(answer: F) -> Answer
where
    F: for<'a> Fn(Request<'a>) -> Result<Reply, PluginError> + Send + Sync + 'static,
{
    Box::new(move |request| Call::Ready(answer(request)))
}

struct Defined {
    manifest: Manifest,
    handlers: Vec<Handler>,
    migrations: &'static [(&'static str, &'static str)],
}

impl Plugin for Defined {
    fn migrations(&self) -> &'static [(&'static str, &'static str)] {
        self.migrations
    }

    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn call<'a>(&'a self, request: Request<'a>) -> Call<'a, Reply> {
        // A plugin has a handful of handlers: a scan beats building a key to look one up.
        let answers = |handler: &&Handler| {
            handler.kind == request.kind && (handler.name == request.name || handler.name == "*")
        };
        match self.handlers.iter().find(answers) {
            Some(handler) => (handler.answer)(request),
            None => Call::Ready(Ok(Reply::nothing())),
        }
    }
}
