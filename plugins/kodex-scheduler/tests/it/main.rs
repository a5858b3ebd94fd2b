//! The scheduler over a real database, with agent runs that the test decides about.

mod beats;
mod crashes;
mod edges;
mod faults;
mod many;
mod model;
mod passed;
mod people;
mod report;
mod stand;
mod steps;
mod together;
mod tools;
mod world;
