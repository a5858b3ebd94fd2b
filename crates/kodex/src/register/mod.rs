//! Stage three: who offers what. Builds the next [`Catalog`], which is swapped whole.

mod catalog;
mod order;
mod slot;

pub(crate) use catalog::{Catalog, Route, Subscriber};
pub(crate) use slot::{Activation, Cell, HISTOGRAM_BUCKETS, Slot, lock};
