//! The tests of `it` once more, with the scheduler's tables on Postgres.

#[path = "../it/beats.rs"]
mod beats;
#[path = "../it/crashes.rs"]
mod crashes;
#[path = "../it/edges.rs"]
mod edges;
#[path = "../it/faults.rs"]
mod faults;
#[path = "../it/many.rs"]
mod many;
#[path = "../it/model.rs"]
mod model;
#[path = "../it/passed.rs"]
mod passed;
#[path = "../it/people.rs"]
mod people;
#[path = "../it/report.rs"]
mod report;
mod stand;
#[path = "../it/steps.rs"]
mod steps;
#[path = "../it/together.rs"]
mod together;
#[path = "../it/tools.rs"]
mod tools;
#[path = "../it/world.rs"]
mod world;
