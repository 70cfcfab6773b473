//! What a job's state means for somebody who waits for it, and the words that people and `--json` read.

use ringvault_proto::v1::{Job, JobState, Pace, Priority, TableState};

/// Whether a job in this state moves no more by itself. `Interrupted` ends a watch too: it goes on only when somebody
/// submits it again.
#[must_use]
pub fn has_ended(state: JobState) -> bool {
    match state {
        JobState::Done | JobState::Failed | JobState::Cancelled | JobState::Interrupted => true,
        JobState::Unspecified
        | JobState::Preparing
        | JobState::Running
        | JobState::Publishing
        | JobState::Verifying
        | JobState::Paused => false,
    }
}

/// The state in one word, as people and `--json` read it.
#[must_use]
pub fn word(state: JobState) -> &'static str {
    match state {
        JobState::Unspecified => "unknown",
        JobState::Preparing => "preparing",
        JobState::Running => "running",
        JobState::Publishing => "publishing",
        JobState::Verifying => "verifying",
        JobState::Done => "done",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
        JobState::Interrupted => "interrupted",
        JobState::Paused => "paused",
    }
}

/// Whether an ended job can go on when it is submitted again: it failed or was interrupted.
#[must_use]
pub fn can_go_on(job: &Job) -> bool {
    matches!(job.state(), JobState::Failed | JobState::Interrupted)
}

/// Where a table stands, in one word.
#[must_use]
pub fn table_word(state: TableState) -> &'static str {
    match state {
        TableState::Unspecified => "unknown",
        TableState::Waiting => "waiting",
        TableState::Running => "running",
        TableState::Done => "done",
        TableState::Failed => "failed",
    }
}

/// A priority in one word; one that was not chosen is normal.
#[must_use]
pub fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Unspecified | Priority::Normal => "normal",
        Priority::High => "high",
    }
}

/// A pace in one word; one that was not chosen is polite.
#[must_use]
pub fn pace_word(pace: Pace) -> &'static str {
    match pace {
        Pace::Unspecified | Pace::Polite => "polite",
        Pace::Full => "full",
    }
}
