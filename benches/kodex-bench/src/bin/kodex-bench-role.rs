//! The small programs that the benches start: workers, limits, an idle runtime.

fn main() -> anyhow::Result<()> {
    kodex_bench::roles::run()
}
