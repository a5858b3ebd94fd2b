//! The documents of this repository as documentation tests: every Rust block in them is compiled and
//! run, as an embedder would have it.
//!
//! It holds no code. Commands in documents are run by `cargo xtask test docs`, which starts programs;
//! this crate links the libraries, which `xtask` must not.

/// One page; its Rust blocks become tests.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[cfg(doctest)]
        #[doc = include_str!(concat!("../../../", $file))]
        pub struct $name;
    };
}

page!(Readme, "README.md");
page!(EmbedGuide, "docs/guides/embed.md");
page!(DatabaseGuide, "docs/guides/database.md");
page!(ContributeGuide, "docs/guides/contribute.md");
page!(DurableWorkGuide, "docs/guides/durable-work.md");
