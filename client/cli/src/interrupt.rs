//! Ctrl-C and SIGTERM: the first asks to stop, the second stops at once.

use std::time::Duration;

use ringvault_runtime::tasks::Tasks;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, output::terminal};

/// Signals this close to the first are the first: a terminal and a wrapper such as `timeout` may both send one.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

/// Fires when the process was asked to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt(CancellationToken);

impl Interrupt {
    /// Listens for signals from now on. `what_happens` is told at the first one.
    pub(crate) fn listen(tasks: &Tasks, what_happens: &'static str) -> anyhow::Result<Self> {
        let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let fired = CancellationToken::new();
        tasks.spawn(wait(signals, fired.clone(), tasks.cancelled().clone(), what_happens));
        Ok(Self(fired))
    }

    /// Ready once the process was asked to stop.
    pub(crate) async fn asked(&self) {
        self.0.cancelled().await;
    }

    /// The same as a token, for what shuts down by one.
    pub(crate) fn token(&self) -> CancellationToken {
        self.0.clone()
    }
}

async fn wait(
    (mut interrupt, mut terminate): (Signal, Signal),
    fired: CancellationToken,
    ended: CancellationToken,
    what_happens: &'static str,
) {
    tokio::select! {
        () = either(&mut interrupt, &mut terminate) => {}
        () = ended.cancelled() => return,
    }
    terminal::tell(what_happens);
    fired.cancel();
    let echoes = async {
        loop {
            either(&mut interrupt, &mut terminate).await;
        }
    };
    let _ = tokio::time::timeout(SAME_SIGNAL, echoes).await;
    either(&mut interrupt, &mut terminate).await;
    terminal::tell("stopped at once");
    std::process::exit(Exit::Interrupted as i32);
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
