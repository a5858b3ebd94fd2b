//! The machine that a run measures on: what it is, and the one processor that a bench stays on.

use std::fs;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps this thread, and with it every thread and process that it starts from now on, on the last
/// processor that it may use. Interrupts mostly go to the first.
///
/// Both ends of a pipe on one processor leave the wake-up of another one out of the figures: it
/// costs several times the exchange itself and says nothing about either end.
pub(crate) fn pin_to_one_processor() -> std::io::Result<usize> {
    let allowed = sched_getaffinity(None)?;
    let last = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|at| allowed.is_set(*at))
        .unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one)?;
    Ok(last)
}

/// The machine in one line, for whoever compares two runs.
pub(crate) fn description() -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let model = field(&cpuinfo, "model name").unwrap_or("unknown processor");
    let n_processors = std::thread::available_parallelism().map_or(1, usize::from);
    let meminfo = read("/proc/meminfo");
    let memory_kb =
        field(&meminfo, "MemTotal").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    let memory_gb = memory_kb.unwrap_or(0.0) / 1e6;
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    format!(
        "{model}, {n_processors} processors, {memory_gb:.1} GB, Linux {}, load {}",
        kernel.trim(),
        load.join(" ")
    )
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// The value behind a name in a file of `name : value` lines.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

/// Resident memory in KB, from the text of `/proc/<pid>/status`.
pub(crate) fn resident_kb(status: &str) -> Option<f64> {
    field(status, "VmRSS")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let status = "Name:\tx\nVmRSS:\t    1234 kB\n";
        assert_eq!(resident_kb(status), Some(1234.0));
        assert_eq!(resident_kb("Name:\tx\n"), None);
        assert_eq!(field("model name\t: A: B\n", "model name"), Some("A: B"));
    }

    #[test]
    fn a_pinned_thread_has_one_processor() {
        std::thread::spawn(|| {
            pin_to_one_processor().unwrap();
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1);
        })
        .join()
        .unwrap();
    }
}
