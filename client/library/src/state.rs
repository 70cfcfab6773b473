//! What a job's state means for somebody who waits for it.

use ringvault_proto::v1::{Job, JobState};

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
