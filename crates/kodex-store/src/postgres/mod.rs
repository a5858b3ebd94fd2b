//! The Postgres dialect.
