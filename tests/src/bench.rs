//! What the benchmarks share: arguments, the machine in words, alternating runs, medians, tables, and time spent on a core.
//!
//! A figure of these benchmarks is a ratio of two things measured in the same process run, in turn, so that whatever else the
//! machine does falls on both. The tables are markdown and are pasted into `docs/performance.md` as they are.

use anyhow::Context;
use std::{fmt, process::Command, str::FromStr, time::Duration};

/// The value of `--name value` on the command line, else `default`.
///
/// # Panics
/// The value is given and can't be read.
pub fn argument<T: FromStr>(name: &str, default: T) -> T {
    match text_argument(name) {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_| panic!("--{name} can't be `{text}`")),
    }
}

/// The value of `--name value` on the command line as text.
pub fn text_argument(name: &str) -> Option<String> {
    let flag = format!("--{name}");
    let mut arguments = std::env::args().skip(1);
    arguments.by_ref().find(|argument| *argument == flag)?;
    arguments.next()
}

/// Processor, cores, kernel and compiler in one line.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()))
        .unwrap_or_else(|| "unknown processor".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    let kernel = kernel.trim();
    let rustc = Command::new("rustc").arg("--version").output().map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    format!("{processor}, {cores} cores, Linux {kernel}, {}", rustc.unwrap_or_else(|_| "rustc unknown".to_owned()))
}

/// How long the calling thread has run on a core.
pub fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// How long all threads of a process have run, in user and in kernel mode, in steps of 10 ms.
///
/// # Errors
/// There is no such process.
pub fn process_time(pid: u32) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
    // The second field is the program's name in brackets, which may hold spaces; user and system time are the 14th and 15th.
    let fields: Vec<&str> = text.rsplit_once(')').context("no stat line")?.1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// The same measurement, repeated.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds one run's figure.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The run in the middle.
    pub fn median(&self) -> f64 {
        let half = self.0.len() / 2;
        if self.0.is_empty() {
            f64::NAN
        } else if self.0.len() % 2 == 1 {
            self.0[half]
        } else {
            (self.0[half - 1] + self.0[half]) / 2.0
        }
    }

    /// The least and the greatest.
    pub fn spread(&self) -> (f64, f64) {
        (self.0.first().copied().unwrap_or(f64::NAN), self.0.last().copied().unwrap_or(f64::NAN))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.spread();
        let digits = usize::from(self.median() < 100.0);
        write!(f, "{:.digits$} ({least:.digits$} – {most:.digits$})", self.median())
    }
}

/// One of the things compared: runs once and tells its figure.
pub type Contestant<'a> = (&'a str, Box<dyn FnMut() -> anyhow::Result<f64> + 'a>);

/// Runs all contestants in turn, `runs` times, after one turn that does not count. Every other turn is in reverse order.
///
/// # Errors
/// The first error of a contestant.
pub fn alternate(runs: usize, contestants: &mut [Contestant<'_>]) -> anyhow::Result<Vec<Series>> {
    let mut series = vec![Series::default(); contestants.len()];
    for turn in 0..=runs {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if turn % 2 == 1 {
            order.reverse();
        }
        for i in order {
            let value = contestants[i].1()?;
            if turn > 0 {
                series[i].push(value);
            }
        }
    }
    Ok(series)
}

/// What a benchmark prints, in markdown.
#[derive(Debug)]
pub struct Report {
    /// What was measured.
    pub title: String,
    /// What it was measured on.
    pub data: String,
    /// How to do it again.
    pub command: String,
    /// The table's header.
    pub columns: Vec<String>,
    /// The table's rows.
    pub rows: Vec<Vec<String>>,
    /// Sentences below the table: the ratio first.
    pub notes: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(f, "* Machine: {}", machine())?;
        writeln!(f, "* Data: {}", self.data)?;
        writeln!(f, "* Command: `{}`\n", self.command)?;
        writeln!(f, "| {} |", self.columns.join(" | "))?;
        writeln!(f, "|{}", "---|".repeat(self.columns.len()))?;
        for row in &self.rows {
            writeln!(f, "| {} |", row.join(" | "))?;
        }
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.roll() % n.max(1)
    }

    /// True in `percent` of 100 cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).unwrap_or_default()]
    }
}
