//! Runs a suite of live tests the way `cargo test` prints them, with clusters shared between tests.
//!
//! A test names the cluster it needs. Tests of equal needs run one after another on one cluster; one cluster runs at a
//! time. A panic fails its test only. Arguments: words that a test's name must contain (any of them), `--exact`,
//! `--list`, `--long` (also `RINGVAULT_LONG=1`); others that `cargo test` passes are ignored.
#![allow(clippy::print_stdout, clippy::print_stderr)] // the one place where tests speak

use std::future::Future;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::{Result, anyhow};
use futures::FutureExt as _;

use crate::cassandra::{ClusterSpec, TestCluster};

/// What a running test gets.
#[derive(Clone, Debug)]
pub struct TestContext {
    cluster: Option<Arc<TestCluster>>,
    /// Full sizes were asked for.
    pub long: bool,
    notes: Arc<Mutex<Vec<String>>>,
}

impl TestContext {
    /// The cluster that the test asked for.
    ///
    /// # Panics
    /// If it asked for none.
    pub fn cluster(&self) -> &Arc<TestCluster> {
        self.cluster.as_ref().expect("a test that uses a cluster names it by `on`")
    }

    /// Prints a figure below the test's line; for what a test measures.
    pub fn note(&self, text: impl Into<String>) {
        self.notes.lock().expect("notes are only pushed").push(text.into());
    }
}

type Body = Box<dyn Fn(TestContext) -> Pin<Box<dyn Future<Output = Result<()>>>>>;

/// One test of a suite.
pub struct Test {
    name: String,
    needs: Option<ClusterSpec>,
    long_only: bool,
    body: Body,
}

impl std::fmt::Debug for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Test").field("name", &self.name).field("needs", &self.needs).finish_non_exhaustive()
    }
}

impl Test {
    /// A test without a cluster.
    pub fn new<F, Fut>(name: impl Into<String>, body: F) -> Self
    where
        F: Fn(TestContext) -> Fut + 'static,
        Fut: Future<Output = Result<()>> + 'static,
    {
        let body: Body = Box::new(move |context| Box::pin(body(context)));
        Self { name: name.into(), needs: None, long_only: false, body }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same test, on a cluster.
    #[must_use]
    pub fn on(mut self, spec: ClusterSpec) -> Self {
        self.needs = Some(spec);
        self
    }

    /// The same test, run only with `--long`.
    #[must_use]
    pub fn long_only(mut self) -> Self {
        self.long_only = true;
        self
    }
}

/// Says a line on stderr at once: what takes long, and why a run waits.
pub fn say(line: &str) {
    eprintln!("    {line}");
}

#[derive(Debug, Default)]
struct Arguments {
    words: Vec<String>,
    exact: bool,
    list: bool,
    long: bool,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self { long: std::env::var("RINGVAULT_LONG").is_ok_and(|v| v == "1"), ..Self::default() };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                "--exact" => read.exact = true,
                "--list" => read.list = true,
                "--long" | "--include-ignored" => read.long = true,
                other if other.starts_with('-') => {}
                word => read.words.push(word.to_owned()),
            }
        }
        read
    }

    fn wants(&self, name: &str) -> bool {
        let matches = |word: &String| if self.exact { name == word } else { name.contains(word.as_str()) };
        self.words.is_empty() || self.words.iter().any(matches)
    }
}

/// Runs a suite and prints its result. The exit code is a failure if any test failed.
pub fn run(tests: Vec<Test>) -> ExitCode {
    let arguments = Arguments::read();
    let all = tests.len();
    let wanted: Vec<Test> = tests.into_iter().filter(|test| arguments.wants(&test.name)).collect();
    if arguments.list {
        for test in &wanted {
            println!("{}: test", test.name);
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let begun = Instant::now();
    println!("\nrunning {} tests", wanted.len());
    let filtered_out = all - wanted.len();
    let mut tally = Tally::default();
    for (needs, group) in by_needs(wanted) {
        let (now, later): (Vec<Test>, Vec<Test>) =
            group.into_iter().partition(|test| arguments.long || !test.long_only);
        for test in later {
            println!("test {} ... ignored (runs with --long)", test.name);
            tally.ignored += 1;
        }
        if !now.is_empty() {
            run_group(&runtime, needs, &now, arguments.long, &mut tally);
        }
    }
    if !tally.failures.is_empty() {
        println!("\nfailures:");
        for (name, why) in &tally.failures {
            println!("\n---- {name} ----\n{why}");
        }
    }
    println!(
        "\ntest result: {}. {} passed; {} failed; {} ignored; 0 measured; {filtered_out} filtered out; finished in {:.2}s\n",
        if tally.failures.is_empty() { "ok" } else { "FAILED" },
        tally.passed,
        tally.failures.len(),
        tally.ignored,
        begun.elapsed().as_secs_f64()
    );
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    ignored: usize,
    failures: Vec<(String, String)>,
}

/// Groups tests by what they need, in the order in which the needs first appear.
fn by_needs(tests: Vec<Test>) -> Vec<(Option<ClusterSpec>, Vec<Test>)> {
    let mut groups: Vec<(Option<ClusterSpec>, Vec<Test>)> = Vec::new();
    for test in tests {
        match groups.iter_mut().find(|(needs, _)| *needs == test.needs) {
            Some((_, group)) => group.push(test),
            None => groups.push((test.needs.clone(), vec![test])),
        }
    }
    groups
}

fn run_group(
    runtime: &tokio::runtime::Runtime,
    needs: Option<ClusterSpec>,
    tests: &[Test],
    long: bool,
    tally: &mut Tally,
) {
    let cluster = match needs {
        None => None,
        Some(spec) => {
            let begun = Instant::now();
            let name = spec.to_string();
            match runtime.block_on(TestCluster::start(spec)) {
                Ok(cluster) => {
                    println!("cluster up: {name} ({:.1} s)", begun.elapsed().as_secs_f64());
                    Some(Arc::new(cluster))
                }
                Err(error) => {
                    for test in tests {
                        println!("test {} ... FAILED", test.name);
                        let why = format!("{name} could not be started: {}", causes(&error));
                        tally.failures.push((test.name.clone(), why));
                    }
                    return;
                }
            }
        }
    };
    for test in tests {
        print!("test {} ... ", test.name);
        std::io::stdout().flush().ok();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let context = TestContext { cluster: cluster.clone(), long, notes: Arc::clone(&notes) };
        let begun = Instant::now();
        let outcome = runtime.block_on(AssertUnwindSafe(async { (test.body)(context).await }).catch_unwind());
        let outcome = outcome.unwrap_or_else(|panic| Err(anyhow!("panicked: {}", panic_text(panic.as_ref()))));
        let seconds = begun.elapsed().as_secs_f64();
        match outcome {
            Ok(()) => {
                println!("ok ({seconds:.1} s)");
                tally.passed += 1;
            }
            Err(error) => {
                println!("FAILED ({seconds:.1} s)");
                let mut why = causes(&error);
                if let Some(cluster) = &cluster {
                    why.push_str(&format!("\n{}", cluster.complaints(8)));
                }
                tally.failures.push((test.name.clone(), why));
            }
        }
        for note in notes.lock().expect("notes are only pushed").iter() {
            println!("    {note}");
        }
    }
}

/// An error and its causes, a line each; without the backtrace, which only shows the runner.
fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join("\n  because: ")
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("with something that is no text").to_owned()
}
