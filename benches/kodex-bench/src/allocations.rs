//! Counts what a handler allocates beyond its reply. The program `kodex-bench-allocations` brings the
//! allocator that counts.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use kodex::{Json, Runtime};

use crate::native::{HOOK, payload, runtime};

/// Allocations so far, raised by the program's allocator.
pub static N_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

const N_HANDLERS: usize = 100;

/// Prints the number of allocations for each handler but the first.
///
/// # Errors
/// When a runtime cannot be built.
pub fn run() -> Result<()> {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let per_handler = tokio.block_on(async {
        let one = of_event(&runtime(1, 0).await?).await?;
        let many = of_event(&runtime(N_HANDLERS, 0).await?).await?;
        anyhow::Ok((many as f64 - one as f64) / (N_HANDLERS - 1) as f64)
    })?;
    #[expect(clippy::print_stdout, reason = "its output is what it is for")]
    {
        println!("{per_handler}");
    }
    Ok(())
}

/// The allocations of one event, after events that filled what is filled once.
async fn of_event(runtime: &Runtime) -> Result<u64> {
    let mut n_last = 0;
    for _ in 0..10 {
        let payload = Json::from(payload());
        let n_before = N_ALLOCATIONS.load(Ordering::Relaxed);
        let outcome = runtime.emit(HOOK, payload).await?;
        n_last = N_ALLOCATIONS.load(Ordering::Relaxed) - n_before;
        drop(outcome);
    }
    Ok(n_last)
}
