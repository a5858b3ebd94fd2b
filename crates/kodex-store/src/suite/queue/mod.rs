//! What every engine keeps of durable work: one module per part of the seam, and a model to compare with.

pub(super) mod add;
mod board;
pub(super) mod claim;
pub(super) mod end;
pub(super) mod history;
mod model;
pub(super) mod people;
pub(super) mod race;
pub(super) mod recover;
pub(super) mod small;
mod step;
