//! A host that records what it is told and answers from a table.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kodex_plugin::{
    Clock, Context, Host, HostCall, HostError, Json, Permission, PluginName, host::LogLevel,
    wire::method,
};
use serde_json::json;

use crate::{HandClock, values::Values, work::Work};

/// How many log lines and requests are kept; a plugin that says more is told so by
/// [`FakeHost::n_dropped`], and the test does not run out of memory.
const KEPT: usize = 10_000;

type Answer = Arc<dyn Fn(&Json) -> Result<Json, HostError> + Send + Sync>;

/// One line that the plugin logged.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// How important.
    pub level: LogLevel,
    /// The text.
    pub message: String,
    /// Named values.
    pub fields: Json,
}

/// One request that the plugin made.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// Its parameters.
    pub params: Json,
}

/// A [`Host`] for tests. Clones share the same records, answers and clock.
///
/// It answers from the table that [`FakeHost::answer`] and [`FakeHost::refuse`] fill, then `clock/now`
/// from its [`HandClock`], `state/*`, `agent/*` and `job/*` from memory with a host's rules on the same
/// clock, and everything else with [`HostError::unknown_method`]. With the feature `sql` it also answers `db/*`,
/// from a real database that `FakeHost::upgrade` makes.
///
/// ```
/// use kodex_plugin::{Host, Json, host::LogLevel};
/// use kodex_testkit::{FakeHost, block_on, CALL_LIMIT};
/// use serde_json::json;
///
/// let host = FakeHost::new();
/// host.answer("state/fetch", json!({"value": 7}));
/// host.log(LogLevel::Info, "started", &Json::object());
/// let reply = block_on(host.request("state/fetch", json!({"key": "a"}).into()), CALL_LIMIT);
/// assert_eq!(reply, Some(Ok(Json::from(json!({"value": 7})))));
/// assert_eq!(host.messages(), ["started"]);
/// assert_eq!(host.asked()[0].method, "state/fetch");
/// ```
#[derive(Clone, Default)]
pub struct FakeHost {
    clock: HandClock,
    answers: Arc<Mutex<BTreeMap<String, Answer>>>,
    seen: Arc<Mutex<Seen>>,
    values: Arc<Mutex<Values>>,
    pub(crate) work: Arc<Mutex<Work>>,
    #[cfg(feature = "sql")]
    pub(crate) database: Arc<std::sync::OnceLock<crate::sql::Database>>,
}

#[derive(Default)]
struct Seen {
    lines: Vec<LogLine>,
    asked: Vec<Asked>,
    n_dropped: u64,
}

impl FakeHost {
    /// A host with a clock of its own and an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that shows the time of a clock that the test also holds.
    ///
    /// ```
    /// use kodex_testkit::{FakeHost, HandClock};
    /// let clock = HandClock::at_unix_ms(1);
    /// let host = FakeHost::with_clock(clock.clone());
    /// ```
    #[must_use]
    pub fn with_clock(clock: HandClock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// The clock behind `clock/now`.
    ///
    /// ```
    /// use std::time::Duration;
    /// let host = kodex_testkit::FakeHost::new();
    /// host.clock().advance(Duration::from_secs(1));
    /// ```
    #[must_use]
    pub fn clock(&self) -> &HandClock {
        &self.clock
    }

    /// Answers a method with the same document from now on, in place of an earlier answer.
    ///
    /// ```
    /// let host = kodex_testkit::FakeHost::new();
    /// host.answer("secret/read", serde_json::json!({"text": "s3cret"}));
    /// ```
    pub fn answer(&self, method: &str, answer: impl Into<Json>) {
        let answer = answer.into();
        self.answer_with(method, move |_| Ok(answer.clone()));
    }

    /// Answers a method from its parameters.
    ///
    /// ```
    /// use kodex_plugin::{HostError, Json};
    /// let host = kodex_testkit::FakeHost::new();
    /// host.answer_with("state/fetch", |params| match params.value()["key"].as_str() {
    ///     Some(key) => Ok(Json::from(serde_json::json!({"value": key.len()}))),
    ///     None => Err(HostError::new("params.invalid", "no key")),
    /// });
    /// ```
    pub fn answer_with(
        &self,
        method: &str,
        answer: impl Fn(&Json) -> Result<Json, HostError> + Send + Sync + 'static,
    ) {
        self.answers().insert(method.to_owned(), Arc::new(answer));
    }

    /// Refuses a method, for example for lack of a grant.
    ///
    /// ```
    /// use kodex_plugin::HostError;
    /// let host = kodex_testkit::FakeHost::new();
    /// host.refuse("state/fetch", HostError::new("permission.denied", "no grant for state"));
    /// ```
    pub fn refuse(&self, method: &str, error: HostError) {
        self.answer_with(method, move |_| Err(error.clone()));
    }

    /// A context to activate a plugin with: this host, no grants.
    ///
    /// ```
    /// use kodex_plugin::{Json, PluginName};
    /// use kodex_testkit::FakeHost;
    /// let context = FakeHost::new().context(PluginName::new("greeter")?, Json::object());
    /// assert!(context.grants.is_empty());
    /// # Ok::<(), kodex_plugin::NameError>(())
    /// ```
    #[must_use]
    pub fn context(&self, plugin: PluginName, config: Json) -> Context {
        self.context_with_grants(plugin, config, Vec::new())
    }

    /// A context with grants. This host does not check them; it is the plugin that is tested.
    ///
    /// ```
    /// use kodex_plugin::{Json, PluginName};
    /// use kodex_testkit::FakeHost;
    /// let grants = vec!["fs:read ${project}/**".parse()?];
    /// let name = PluginName::new("greeter")?;
    /// let context = FakeHost::new().context_with_grants(name, Json::object(), grants);
    /// assert_eq!(context.grants.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn context_with_grants(
        &self,
        plugin: PluginName,
        config: Json,
        grants: Vec<Permission>,
    ) -> Context {
        self.work().own(plugin.to_string());
        Context {
            plugin,
            config,
            grants,
            host: Arc::new(self.clone()),
        }
    }

    /// What was logged, in order.
    ///
    /// ```
    /// use kodex_plugin::{Host, Json, host::LogLevel};
    /// let host = kodex_testkit::FakeHost::new();
    /// host.log(LogLevel::Error, "broken", &Json::object());
    /// assert_eq!(host.log_lines()[0].level, LogLevel::Error);
    /// ```
    #[must_use]
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.seen().lines.clone()
    }

    /// The texts of what was logged, in order.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let seen = self.seen();
        seen.lines.iter().map(|line| line.message.clone()).collect()
    }

    /// What was asked, in order, answered or not.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.seen().asked.clone()
    }

    /// Log lines and requests beyond the 10,000 of each that are kept.
    #[must_use]
    pub fn n_dropped(&self) -> u64 {
        self.seen().n_dropped
    }

    pub(crate) fn record(&self, method: &str, params: &Json) {
        let mut seen = self.seen();
        if seen.asked.len() < KEPT {
            seen.asked.push(Asked {
                method: method.to_owned(),
                params: params.clone(),
            });
        } else {
            seen.n_dropped += 1;
        }
    }

    fn reply(&self, method: &str, params: &Json) -> Result<Json, HostError> {
        // Cloned out of the table first, because an answer may ask this host again.
        let answer = self.answers().get(method).cloned();
        if let Some(answer) = answer {
            return answer(params);
        }
        if method == method::CLOCK_NOW {
            return Ok(Json::from(json!({"unix_ms": self.clock.unix_ms()})));
        }
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = values.serve(method, params, self.clock.unix_ms()) {
            return answer;
        }
        let answer = self.work().serve(method, params, self.clock.unix_ms());
        answer.unwrap_or_else(|| Err(HostError::unknown_method(method)))
    }

    // A panic of a plugin or of an answer poisons nothing worth protecting here, and the records
    // are wanted most just then.
    fn answers(&self) -> MutexGuard<'_, BTreeMap<String, Answer>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FakeHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen();
        f.debug_struct("FakeHost")
            .field("clock", &self.clock)
            .field("lines", &seen.lines)
            .field("asked", &seen.asked)
            .finish_non_exhaustive()
    }
}

impl Host for FakeHost {
    fn request<'a>(&'a self, method: &'a str, params: Json) -> HostCall<'a> {
        // Everything happens at the first poll, as with a real host: a call that nobody awaits
        // does nothing.
        Box::pin(async move {
            self.record(method, &params);
            #[cfg(feature = "sql")]
            if method.starts_with("db/") && !self.answers().contains_key(method) {
                let database = self.database.get().ok_or_else(crate::sql::behind)?;
                return database.serve(method, &params).await;
            }
            self.reply(method, &params)
        })
    }

    #[cfg(feature = "sql")]
    fn ended(&self, number: u64) {
        if let Some(database) = self.database.get() {
            database.door.ended(number);
        }
    }

    fn log(&self, level: LogLevel, message: &str, fields: &Json) {
        let mut seen = self.seen();
        if seen.lines.len() < KEPT {
            seen.lines.push(LogLine {
                level,
                message: message.to_owned(),
                fields: fields.clone(),
            });
        } else {
            seen.n_dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kodex_plugin::state::State;

    use super::*;
    use crate::{CALL_LIMIT, block_on, capture};

    fn ask(host: &FakeHost, method: &str, params: serde_json::Value) -> Result<Json, HostError> {
        block_on(host.request(method, params.into()), CALL_LIMIT).expect("the fake host answers")
    }

    fn check(host: &FakeHost, method: &str, want: Result<serde_json::Value, &str>) {
        let got = ask(host, method, json!({}));
        assert_eq!(
            got.map(Json::into_value).map_err(|error| error.code),
            want.map_err(str::to_owned),
            "{method}"
        );
    }

    #[test]
    fn methods_are_answered_from_table_and_clock() {
        let host = FakeHost::with_clock(HandClock::at_unix_ms(500));
        host.answer("a", json!(1));
        host.refuse("b", HostError::new("permission.denied", "no"));
        host.answer_with("c", |params| Ok(params.clone()));
        check(&host, "a", Ok(json!(1)));
        check(&host, "a", Ok(json!(1)));
        check(&host, "b", Err("permission.denied"));
        check(&host, "c", Ok(json!({})));
        check(&host, "d", Err("host.method.unknown"));
        check(&host, "clock/now", Ok(json!({"unix_ms": 500})));
        host.clock().advance(Duration::from_millis(20));
        check(&host, "clock/now", Ok(json!({"unix_ms": 520})));
        host.answer("clock/now", json!({"unix_ms": "noon"}));
        check(&host, "clock/now", Ok(json!({"unix_ms": "noon"})));
        let methods: Vec<_> = host.asked().into_iter().map(|asked| asked.method).collect();
        assert_eq!(methods.join(" "), "a a b c d clock/now clock/now clock/now");
    }

    #[test]
    fn records_are_shared_by_clones_and_bounded() {
        let host = FakeHost::new();
        let other = host.clone();
        for n in 0..KEPT + 3 {
            other.log(LogLevel::Debug, &format!("line {n}"), &Json::object());
        }
        assert_eq!((host.log_lines().len(), host.n_dropped()), (KEPT, 3));
        assert_eq!(host.messages()[2], "line 2");
    }

    #[test]
    fn values_are_kept_for_the_time_that_the_clock_shows() {
        let host = FakeHost::new();
        let state = State::new(Arc::new(host.clone()));
        let set = state.set_if_absent("k", &7, Some(10));
        assert_eq!(block_on(set, CALL_LIMIT), Some(Ok(true)));
        let get = || block_on(state.get::<u64>("k"), CALL_LIMIT).expect("it answers");
        assert_eq!(get(), Ok(Some(7)));
        host.clock().advance(Duration::from_millis(10));
        assert_eq!(get(), Ok(None));
        host.answer("state/get", json!({"value": 8, "version": 1}));
        assert_eq!(get(), Ok(Some(8)));
    }

    #[test]
    fn an_answer_may_ask_the_host_again() {
        let host = FakeHost::new();
        let other = host.clone();
        host.answer_with("outer", move |params| {
            block_on(other.request("inner", params.clone()), CALL_LIMIT).expect("it answers")
        });
        host.answer("inner", json!("from inside"));
        let (sender, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || sender.send(ask(&host, "outer", json!({}))));
        let answer = answer.recv_timeout(CALL_LIMIT).expect("no lock is held");
        assert_eq!(answer, Ok(Json::from(json!("from inside"))));
    }

    #[test]
    fn an_answer_that_panics_leaves_the_records_readable() {
        let host = FakeHost::new();
        host.answer_with("bad", |_| panic!("in the answer"));
        assert!(capture(|| ask(&host, "bad", json!({}))).is_err());
        host.log(LogLevel::Error, "still here", &Json::object());
        assert_eq!(host.messages(), ["still here"]);
        check(&host, "other", Err("host.method.unknown"));
    }
}
