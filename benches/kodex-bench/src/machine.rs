//! The machine that a run measures on: what it is, and the one processor that a bench stays on.

use std::fs;

use rustix::{
    io::Errno,
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// The processors that a bench uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    /// The one that everything is on.
    pub(crate) near: usize,
    /// The one for workers that are to be on another; none where there is only one.
    pub(crate) far: Option<usize>,
}

/// Keeps this thread, and with it every thread and process that it starts from now on, on the last
/// processor that it may use. Interrupts mostly go to the first.
///
/// Both ends of a pipe on one processor leave the wake-up of another one out of the figures: it
/// costs several times the exchange itself and says nothing about either end.
pub(crate) fn pin_to_one_processor() -> std::io::Result<Processors> {
    let allowed = sched_getaffinity(None)?;
    let mut last_first = (0..CpuSet::MAX_CPU).rev().filter(|at| allowed.is_set(*at));
    let processors = Processors {
        near: last_first.next().unwrap_or(0),
        far: last_first.next(),
    };
    sched_setaffinity(None, &only(processors.near))?;
    Ok(processors)
}

/// Moves a process with all its threads to one processor.
pub(crate) fn move_process(pid: u32, processor: usize) -> std::io::Result<()> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = thread?.file_name();
        let thread = name
            .to_str()
            .and_then(|name| Pid::from_raw(name.parse().ok()?));
        match sched_setaffinity(thread, &only(processor)) {
            // It ended since.
            Err(Errno::SRCH) => {}
            moved => moved?,
        }
    }
    Ok(())
}

fn only(processor: usize) -> CpuSet {
    let mut one = CpuSet::new();
    one.set(processor);
    one
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
            let before = sched_getaffinity(None).unwrap();
            let Processors { near, far } = pin_to_one_processor().unwrap();
            let now = sched_getaffinity(None).unwrap();
            assert!(now.is_set(near) && now.count() == 1);
            assert_eq!(far.is_some(), before.count() > 1);
            assert!(far.is_none_or(|far| far != near && before.is_set(far)));
        })
        .join()
        .unwrap();
    }
}
