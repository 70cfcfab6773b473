//! The one error of the CQL side, and what every failure of the driver becomes in it.
//!
//! The driver's enums are open (`non_exhaustive`), so what it may add later lands in [`Reason::Unknown`]; our own enums
//! are matched without a wildcard. No message carries a bound value: the server's own text is shown only where the
//! statement had none, or where the text is known to name no value.

use std::fmt;

use ringvault_proto::error::{ErrorKind, Failure};
use scylla::errors::{ExecutionError, MetadataError, NewSessionError, PrepareError};

use super::classify;

/// What the CQL side returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened at the database, finer than the kind: it decides how a statement is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Too few replicas are alive for the consistency level; nothing was done.
    TooFewReplicas,
    /// No answer in time, from the replicas or from the coordinator; a write may have happened.
    Timeout,
    /// Replicas answered that they failed, as they do beyond `tombstone_failure_threshold`; a write may have happened.
    ReplicasFailed,
    /// The server asks for less; nothing was done.
    Overloaded,
    /// No connection, or it broke; a write may have happened.
    Disconnected,
    /// The login was refused.
    LoginRefused,
    /// The role lacks a grant.
    Unauthorized,
    /// The server rejects the statement: syntax, names, values, sizes.
    Rejected,
    /// What was to be created exists.
    AlreadyExists,
    /// The named thing is not there.
    Missing,
    /// The state of the cluster forbids it.
    Conflict,
    /// Neither the driver nor the server should have said this.
    Unknown,
}

impl Reason {
    /// What it means for the work.
    #[must_use]
    pub fn kind(self) -> ErrorKind {
        match self {
            Self::TooFewReplicas | Self::Timeout | Self::ReplicasFailed | Self::Disconnected => ErrorKind::Unavailable,
            Self::Overloaded => ErrorKind::Overloaded,
            Self::LoginRefused | Self::Unauthorized | Self::Rejected => ErrorKind::Invalid,
            Self::AlreadyExists | Self::Conflict => ErrorKind::Conflict,
            Self::Missing => ErrorKind::NotFound,
            Self::Unknown => ErrorKind::Internal,
        }
    }

    /// Whether asking for fewer rows at once may help.
    #[must_use]
    pub fn asks_for_smaller_pages(self) -> bool {
        match self {
            Self::Timeout | Self::ReplicasFailed | Self::Overloaded => true,
            Self::TooFewReplicas
            | Self::Disconnected
            | Self::LoginRefused
            | Self::Unauthorized
            | Self::Rejected
            | Self::AlreadyExists
            | Self::Missing
            | Self::Conflict
            | Self::Unknown => false,
        }
    }

    /// Whether a write that failed so may have been applied all the same.
    #[must_use]
    pub fn leaves_writes_unknown(self) -> bool {
        match self {
            Self::Timeout | Self::ReplicasFailed | Self::Disconnected | Self::Unknown => true,
            Self::TooFewReplicas
            | Self::Overloaded
            | Self::LoginRefused
            | Self::Unauthorized
            | Self::Rejected
            | Self::AlreadyExists
            | Self::Missing
            | Self::Conflict => false,
        }
    }

    fn advice(self) -> Option<&'static str> {
        match self {
            Self::TooFewReplicas => Some("start the nodes that are down, or choose a lower consistency level"),
            Self::Timeout => Some("the database is slow: lower --parallel or --fetch-size, or raise --timeout"),
            Self::ReplicasFailed => Some(
                "look into the nodes' logs; if they name tombstone_failure_threshold, compact the table or raise it",
            ),
            Self::Overloaded => Some("lower --parallel or set --rate"),
            Self::Disconnected => Some("check that the nodes are up and reachable from here"),
            Self::LoginRefused => Some("check --username and the password"),
            Self::Unauthorized
            | Self::Rejected
            | Self::AlreadyExists
            | Self::Missing
            | Self::Conflict
            | Self::Unknown => None,
        }
    }
}

/// Whether a statement carried values that the server's text could repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// None, or only tokens and names of the schema: the server's text may be shown.
    None,
    /// Cells: the server's text is shown only where it is known to name no value.
    Cells,
}

/// A failure of talking CQL. The message names what failed, on what, why, and what to do; never a cell or a secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    reason: Reason,
    message: String,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error for this reason.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { kind: reason.kind(), reason, message: message.into(), source: None }
    }

    /// The settings or the request are wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Reason::Rejected, message)
    }

    /// Something named is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Reason::Missing, message)
    }

    /// The state of the cluster forbids it.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(Reason::Conflict, message)
    }

    /// Something can't be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Reason::Disconnected, message)
    }

    /// A defect of Ringvault, or an answer that breaks the protocol.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Reason::Unknown, message)
    }

    /// What `what` ("reading shop.orders") met at the database.
    #[must_use]
    pub fn of_execution(what: &str, error: &ExecutionError, values: Values) -> Self {
        let (reason, why) = classify::of_execution(error, values);
        Self::compose(what, reason, &why)
    }

    /// What preparing a statement for `what` met at the database.
    #[must_use]
    pub fn of_prepare(what: &str, error: &PrepareError) -> Self {
        let (reason, why) = classify::of_prepare(error);
        Self::compose(what, reason, &why)
    }

    /// What reading the cluster's topology met.
    #[must_use]
    pub fn of_metadata(what: &str, error: &MetadataError) -> Self {
        let (reason, why) = classify::of_metadata(error);
        Self::compose(what, reason, &why)
    }

    /// What opening a session met.
    #[must_use]
    pub fn of_session(what: &str, error: &NewSessionError) -> Self {
        let (reason, why) = classify::of_session(error);
        Self::compose(what, reason, &why)
    }

    /// An answer that is not what the statement asked for.
    #[must_use]
    pub fn of_answer(what: &str, why: impl fmt::Display) -> Self {
        Self::internal(format!("{what}: the server's answer can't be understood: {why}"))
    }

    /// No answer within the time that we waited.
    #[must_use]
    pub fn of_elapsed(what: &str, waited: std::time::Duration) -> Self {
        Self::compose(what, Reason::Timeout, &format!("no answer within {} s", waited.as_secs_f32()))
    }

    fn compose(what: &str, reason: Reason, why: &str) -> Self {
        let advice = reason.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
        Self::new(reason, format!("{what} failed: {why}{advice}"))
    }

    /// The same error with the error behind it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error with more to do about it behind its message.
    #[must_use]
    pub fn advise(mut self, advice: &str) -> Self {
        self.message = format!("{}; {advice}", self.message);
        self
    }

    /// The same, not to be tried again by anybody.
    #[must_use]
    pub fn finally(mut self) -> Self {
        self.kind = ErrorKind::Conflict;
        self
    }

    /// What it means for the work.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened at the database.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new(error.kind, error.message)
    }
}

impl From<ringvault_archive::Error> for Error {
    fn from(error: ringvault_archive::Error) -> Self {
        let reason = match error.kind() {
            ErrorKind::Invalid => Reason::Rejected,
            ErrorKind::NotFound => Reason::Missing,
            ErrorKind::Conflict => Reason::Conflict,
            ErrorKind::Unavailable => Reason::Disconnected,
            ErrorKind::Overloaded => Reason::Overloaded,
            ErrorKind::Fenced | ErrorKind::Corrupt | ErrorKind::Internal => Reason::Unknown,
        };
        Self { kind: error.kind(), reason, message: error.to_string(), source: Some(Box::new(error)) }
    }
}

/// What a failed request means.
#[must_use]
pub fn reason_of(error: &ExecutionError) -> Reason {
    classify::of_execution(error, Values::Cells).0
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use scylla::{
        errors::{ConnectionError, ConnectionPoolError, DbError, RequestAttemptError, WriteType},
        statement::Consistency,
    };

    use super::*;

    fn database(error: DbError, text: &str) -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, text.to_owned()))
    }

    #[test]
    fn what_may_pass_by_itself_is_retried_and_what_will_not_is_told() {
        let cl = Consistency::LocalQuorum;
        let cases = [
            (DbError::Unavailable { consistency: cl, required: 2, alive: 1 }, ErrorKind::Unavailable),
            (DbError::Overloaded, ErrorKind::Overloaded),
            (DbError::IsBootstrapping, ErrorKind::Unavailable),
            (DbError::ServerError, ErrorKind::Unavailable),
            (
                DbError::ReadTimeout { consistency: cl, received: 1, required: 2, data_present: false },
                ErrorKind::Unavailable,
            ),
            (
                DbError::WriteTimeout { consistency: cl, received: 1, required: 2, write_type: WriteType::Simple },
                ErrorKind::Unavailable,
            ),
            (
                DbError::ReadFailure { consistency: cl, received: 0, required: 1, numfailures: 1, data_present: false },
                ErrorKind::Unavailable,
            ),
            (DbError::Unauthorized, ErrorKind::Invalid),
            (DbError::Invalid, ErrorKind::Invalid),
            (DbError::SyntaxError, ErrorKind::Invalid),
            (DbError::ProtocolError, ErrorKind::Internal),
            (DbError::AlreadyExists { keyspace: "k".into(), table: String::new() }, ErrorKind::Conflict),
        ];
        for (error, kind) in cases {
            let shown = format!("{error:?}");
            assert_eq!(Error::of_execution("x", &database(error, "t"), Values::None).kind(), kind, "{shown}");
        }
        assert_eq!(reason_of(&ExecutionError::EmptyPlan), Reason::Disconnected);
        assert_eq!(reason_of(&ExecutionError::RequestTimeout(Duration::from_secs(1))), Reason::Timeout);
        let refused = ConnectionError::IoError(Arc::new(std::io::Error::other("refused")));
        let broken = ConnectionPoolError::Broken { last_connection_error: refused };
        assert_eq!(reason_of(&ExecutionError::ConnectionPoolError(broken)), Reason::Disconnected);
    }

    #[test]
    fn a_missing_grant_is_told_as_the_statement_that_gives_it() {
        let text = "User bk has no SELECT permission on <table shop.orders> or any of its parents";
        let error = Error::of_execution("reading shop.orders", &database(DbError::Unauthorized, text), Values::None);
        assert!(error.to_string().ends_with("GRANT SELECT ON TABLE shop.orders TO bk"), "{error}");
        assert_eq!(error.reason(), Reason::Unauthorized);
    }

    #[test]
    fn the_servers_text_is_left_out_where_it_may_repeat_a_value() {
        let secret = database(DbError::Invalid, "Expected 4 or 0 byte int (11) for 4711-secret");
        let error = Error::of_execution("writing shop.orders", &secret, Values::Cells).to_string();
        assert!(!error.contains("4711"), "{error}");
        let size = database(DbError::Invalid, "Batch too large");
        assert!(Error::of_execution("writing", &size, Values::Cells).to_string().contains("Batch too large"));
    }
}
