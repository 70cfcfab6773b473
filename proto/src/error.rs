//! Kinds of errors and what each makes of the work: one total map to a [`Verdict`], one to gRPC codes, one from them.
//!
//! # On the wire
//! A call that fails has the code of [`ErrorKind::code`], the message for a person, and in the trailer
//! `grpc-status-details-bin` a `google.rpc.Status` with these details:
//!
//! | detail | holds |
//! | --- | --- |
//! | `google.rpc.ErrorInfo` | `reason`: the name of the kind (`ERROR_KIND_CONFLICT`, …; common.proto), `domain`: `ringvault` |
//! | `google.rpc.RetryInfo` | only where the same call may be made again: after how long |
//!
//! A client decides by `reason` alone; a failure without our `ErrorInfo` comes from something on the way (a proxy, gRPC
//! itself), and its code tells the kind ([`ErrorKind::of_code`]).

use std::{error::Error as _, fmt, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::v1;

/// Who says so, in `ErrorInfo.domain`.
pub const ERROR_DOMAIN: &str = "ringvault";
/// After how long a call that may be made again is best made again, in `RetryInfo.retry_delay`.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why something failed; the only thing that decides whether it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request or the settings are wrong.
    Invalid,
    /// A named thing does not exist.
    NotFound,
    /// The state of the world forbids it.
    Conflict,
    /// Something is down or unreachable.
    Unavailable,
    /// Something asks for less.
    Overloaded,
    /// The lease was lost: somebody else does this work.
    Fenced,
    /// Bytes at rest are not what was written.
    Corrupt,
    /// A defect of Ringvault.
    Internal,
}

/// What a failure means for the work that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after a pause.
    Retry,
    /// Drop the work silently: another does it.
    Abandon,
    /// Fail, and tell a person.
    Stop,
}

impl ErrorKind {
    /// What to do about it.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Unavailable | Self::Overloaded => Verdict::Retry,
            Self::Fenced => Verdict::Abandon,
            Self::Invalid | Self::NotFound | Self::Conflict | Self::Corrupt | Self::Internal => Verdict::Stop,
        }
    }

    /// The gRPC code that carries it.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::Invalid => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Conflict => Code::FailedPrecondition,
            Self::Unavailable => Code::Unavailable,
            Self::Overloaded => Code::ResourceExhausted,
            Self::Fenced => Code::Aborted,
            Self::Corrupt => Code::DataLoss,
            Self::Internal => Code::Internal,
        }
    }

    /// The kind behind a gRPC code, also of peers that are not ours.
    #[must_use]
    pub fn of_code(code: Code) -> Self {
        match code {
            Code::InvalidArgument | Code::OutOfRange | Code::PermissionDenied | Code::Unauthenticated => Self::Invalid,
            Code::NotFound => Self::NotFound,
            Code::FailedPrecondition | Code::AlreadyExists => Self::Conflict,
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Unavailable,
            Code::ResourceExhausted => Self::Overloaded,
            Code::Aborted => Self::Fenced,
            Code::DataLoss => Self::Corrupt,
            Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal => Self::Internal,
        }
    }

    /// The name on the wire, as in `ErrorInfo.reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        v1::ErrorKind::from(self).as_str_name()
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Fenced => "fenced",
            Self::Corrupt => "corrupt",
            Self::Internal => "internal",
        })
    }
}

impl From<ErrorKind> for v1::ErrorKind {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Invalid => Self::Invalid,
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::Conflict => Self::Conflict,
            ErrorKind::Unavailable => Self::Unavailable,
            ErrorKind::Overloaded => Self::Overloaded,
            ErrorKind::Fenced => Self::Fenced,
            ErrorKind::Corrupt => Self::Corrupt,
            ErrorKind::Internal => Self::Internal,
        }
    }
}

impl From<v1::ErrorKind> for ErrorKind {
    fn from(kind: v1::ErrorKind) -> Self {
        match kind {
            v1::ErrorKind::Invalid => Self::Invalid,
            v1::ErrorKind::NotFound => Self::NotFound,
            v1::ErrorKind::Conflict => Self::Conflict,
            v1::ErrorKind::Unavailable => Self::Unavailable,
            v1::ErrorKind::Overloaded => Self::Overloaded,
            v1::ErrorKind::Fenced => Self::Fenced,
            v1::ErrorKind::Corrupt => Self::Corrupt,
            v1::ErrorKind::Internal | v1::ErrorKind::Unspecified => Self::Internal,
        }
    }
}

/// A failure as it is told to a peer or a person: a kind and a message without secrets or cell values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What it means for the work.
    pub kind: ErrorKind,
    /// What failed, on what, why, and what to do.
    pub message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// As a gRPC status with `google.rpc.ErrorInfo`, and `google.rpc.RetryInfo` where it may be tried again.
    #[must_use]
    pub fn to_status(&self) -> Status {
        let mut details = ErrorDetails::with_error_info(self.kind.name(), ERROR_DOMAIN, []);
        if self.kind.verdict() == Verdict::Retry {
            details.set_retry_info(Some(RETRY_AFTER));
        }
        Status::with_error_details(self.kind.code(), self.message.clone(), details)
    }

    /// From a gRPC status; the kind comes from the details where they are ours. What the transport met is `Unavailable`;
    /// else the code tells.
    #[must_use]
    pub fn of_status(status: &Status) -> Self {
        let named = status
            .get_details_error_info()
            .filter(|info| info.domain == ERROR_DOMAIN)
            .and_then(|info| v1::ErrorKind::from_str_name(&info.reason))
            .map(ErrorKind::from);
        // What no peer said but the transport met has a source: a connection that broke in the middle of a call.
        let broken = status.source().is_some().then_some(ErrorKind::Unavailable);
        let kind = named.or(broken).unwrap_or_else(|| ErrorKind::of_code(status.code()));
        Self::new(kind, status.message())
    }

    /// How long the peer asked to wait before the call is made again; nothing where it did not say.
    #[must_use]
    pub fn retry_after(status: &Status) -> Option<Duration> {
        status.get_details_retry_info().and_then(|info| info.retry_delay)
    }
}

impl From<Failure> for v1::Failure {
    fn from(failure: Failure) -> Self {
        Self { kind: v1::ErrorKind::from(failure.kind).into(), message: failure.message }
    }
}

impl From<v1::Failure> for Failure {
    fn from(failure: v1::Failure) -> Self {
        Self { kind: failure.kind().into(), message: failure.message }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        failure.to_status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [ErrorKind; 8] = [
        ErrorKind::Invalid,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Unavailable,
        ErrorKind::Overloaded,
        ErrorKind::Fenced,
        ErrorKind::Corrupt,
        ErrorKind::Internal,
    ];

    #[test]
    fn a_failure_survives_the_wire() {
        for kind in KINDS {
            let failure = Failure::new(kind, "the reason");
            assert_eq!(Failure::of_status(&failure.to_status()), failure);
            assert_eq!(ErrorKind::of_code(kind.code()), kind);
            assert_eq!(Failure::from(v1::Failure::from(failure.clone())), failure);
        }
    }

    #[test]
    fn details_name_the_kind_for_every_language_and_say_when_to_try_again() {
        for kind in KINDS {
            let status = Failure::new(kind, "the reason").to_status();
            let info = status.get_details_error_info().expect("ErrorInfo");
            assert_eq!((info.domain.as_str(), info.reason.as_str()), ("ringvault", kind.name()));
            assert!(info.reason.starts_with("ERROR_KIND_"), "{}", info.reason);
            let retried = kind.verdict() == Verdict::Retry;
            assert_eq!(Failure::retry_after(&status), retried.then_some(RETRY_AFTER), "{kind}");
        }
    }

    #[test]
    fn a_status_of_somebody_else_tells_its_kind_by_its_code() {
        let foreign = ErrorDetails::with_error_info("ERROR_KIND_CORRUPT", "example.org", []);
        let status = Status::with_error_details(Code::Unavailable, "no healthy upstream", foreign);
        assert_eq!(Failure::of_status(&status).kind, ErrorKind::Unavailable);
        assert_eq!(Failure::retry_after(&status), None);
        let unknown = ErrorDetails::with_error_info("ERROR_KIND_OF_TOMORROW", ERROR_DOMAIN, []);
        let status = Status::with_error_details(Code::NotFound, "no such job", unknown);
        assert_eq!(Failure::of_status(&status).kind, ErrorKind::NotFound);
    }

    #[test]
    fn a_connection_that_broke_in_the_middle_of_a_call_may_be_tried_again() {
        let status = Status::from_error(Box::from("transport error"));
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(Failure::of_status(&status).kind, ErrorKind::Unavailable);
        assert_eq!(Failure::of_status(&Status::unknown("said by a peer")).kind, ErrorKind::Internal);
    }
}
