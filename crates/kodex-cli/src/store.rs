//! From the text that names a store to the store. The engines are chosen here and nowhere else.

use std::{path::Path, sync::Arc};

use kodex::{
    SystemClock,
    store::{
        Engine, LazyStore, Place, Store, StoreError, Work,
        postgres::{Isolation, PgOptions, PgStore},
        sqlite::{SqliteOptions, SqliteStore},
    },
};

use crate::problem::Problem;

/// What the configuration says of stores besides their place.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StoreSettings {
    /// Whether plugins share one role on Postgres.
    pub(crate) schema_only: bool,
    /// Whether every commit on SQLite reaches the disk before it is reported.
    pub(crate) full_sync: bool,
}

/// A store that is opened at its first use: nothing is connected or made before.
///
/// # Errors
/// A text that names no store.
pub(crate) fn lazy(
    text: &str,
    cwd: &Path,
    settings: StoreSettings,
) -> Result<Arc<dyn Store>, Problem> {
    let place = Place::parse(text).map_err(|error| unusable(&error))?;
    let place = match place {
        Place::Sqlite(folder) => Place::Sqlite(cwd.join(folder)),
        place @ Place::Postgres(_) => place,
    };
    let engine = match &place {
        Place::Sqlite(_) => Engine::Sqlite,
        Place::Postgres(_) => Engine::Postgres,
    };
    let shown = place.to_string();
    Ok(Arc::new(LazyStore::new(engine, shown, move || {
        open(place.clone(), settings)
    })))
}

fn open(place: Place, settings: StoreSettings) -> Work<'static, Arc<dyn Store>> {
    Box::pin(async move {
        let store: Arc<dyn Store> = match place {
            Place::Sqlite(folder) => Arc::new(sqlite(&folder, settings).await?),
            Place::Postgres(url) => {
                let isolation = match settings.schema_only {
                    true => Isolation::SchemaOnly,
                    false => Isolation::Roles,
                };
                let options = PgOptions {
                    isolation,
                    ..PgOptions::new(url)
                };
                Arc::new(PgStore::open(options).await?)
            }
        };
        Ok(store)
    })
}

/// Opens a folder of SQLite files.
pub(crate) async fn sqlite(
    folder: &Path,
    settings: StoreSettings,
) -> Result<SqliteStore, StoreError> {
    let options = SqliteOptions {
        full_sync: settings.full_sync,
        ..SqliteOptions::new(folder, Arc::new(SystemClock))
    };
    SqliteStore::open(options).await
}

/// A store that cannot be named is a matter of configuration.
pub(crate) fn unusable(error: &StoreError) -> Problem {
    Problem::usage(error.code(), error.to_string())
        .help("the place comes from --store, KODEX_DATABASE_URL, `url` under [store] in .kodex/config.toml, or the usual folder")
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = Self::failed(error.code(), error.to_string());
        match error {
            StoreError::Unreachable { .. } => {
                problem.help("is the server up, and are host, user and password right?")
            }
            error if error.is_retryable() => problem.help("try again"),
            _ => problem,
        }
    }
}
