//! The one error of the CQL side, and what every failure of the driver becomes in it.
//!
//! The driver's enums are open (`non_exhaustive`), so what it may add later lands in [`Reason::Unknown`]; our own enums
//! are matched without a wildcard. No message carries a bound value: the server's own text is shown only where the
//! statement had none, or where the text is known to name no value.

use std::fmt;

use ringvault_proto::error::{ErrorKind, Failure};
use scylla::errors::{
    BadQuery, ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, MetadataFetchErrorKind, NewSessionError, NextPageError, NextRowError, PrepareError,
    RequestAttemptError, RequestError,
};

/// What the CQL side returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Longest text of the server that a message repeats, in characters.
const SERVER_TEXT_MAX: usize = 300;

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
        let (reason, why) = of_execution(error, values);
        Self::compose(what, reason, &why)
    }

    /// What preparing a statement for `what` met at the database.
    #[must_use]
    pub fn of_prepare(what: &str, error: &PrepareError) -> Self {
        let (reason, why) = of_prepare(error);
        Self::compose(what, reason, &why)
    }

    /// What reading the cluster's topology met.
    #[must_use]
    pub fn of_metadata(what: &str, error: &MetadataError) -> Self {
        let (reason, why) = of_metadata(error);
        Self::compose(what, reason, &why)
    }

    /// What opening a session met.
    #[must_use]
    pub fn of_session(what: &str, error: &NewSessionError) -> Self {
        let (reason, why) = of_session(error);
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
    of_execution(error, Values::Cells).0
}

fn of_execution(error: &ExecutionError, values: Values) -> (Reason, String) {
    match error {
        ExecutionError::BadQuery(bad) => of_bad_query(bad),
        ExecutionError::EmptyPlan => (Reason::Disconnected, "no node is connected".to_owned()),
        ExecutionError::PrepareError(error) => of_prepare(error),
        ExecutionError::ConnectionPoolError(error) => of_pool(error),
        ExecutionError::LastAttemptError(error) => of_attempt(error, values),
        ExecutionError::RequestTimeout(waited) => {
            (Reason::Timeout, format!("no answer within {} s", waited.as_secs_f32()))
        }
        ExecutionError::SchemaAgreementError(error) => {
            (Reason::Timeout, format!("the nodes did not agree on the schema: {error}"))
        }
        ExecutionError::MetadataError(error) => of_metadata(error),
        other => (Reason::Unknown, format!("the driver says: {}", clipped(&other.to_string()))),
    }
}

fn of_bad_query(bad: &BadQuery) -> (Reason, String) {
    match bad {
        BadQuery::ValuesTooLongForKey(length, longest) => (
            Reason::Rejected,
            format!("a partition key of {length} bytes is longer than the {longest} that CQL allows"),
        ),
        BadQuery::TooManyQueriesInBatchStatement(count) => {
            (Reason::Unknown, format!("a batch of {count} statements was made, CQL allows 65,535"))
        }
        // the text of a serialization error could name a value
        _ => (Reason::Unknown, "the values could not be put into the request".to_owned()),
    }
}

fn of_prepare(error: &PrepareError) -> (Reason, String) {
    match error {
        PrepareError::ConnectionPoolError(error) => of_pool(error),
        PrepareError::AllAttemptsFailed { first_attempt } => of_attempt(first_attempt, Values::None),
        PrepareError::PreparedStatementIdsMismatch => (
            Reason::Disconnected,
            "nodes of different versions disagree about a statement; wait until the upgrade is done".to_owned(),
        ),
        other => (Reason::Unknown, clipped(&other.to_string())),
    }
}

fn of_metadata(error: &MetadataError) -> (Reason, String) {
    match error {
        MetadataError::ConnectionPoolError(error) => of_pool(error),
        MetadataError::FetchError(fetch) => {
            let (reason, why) = match &fetch.error {
                MetadataFetchErrorKind::PrepareError(attempt) => of_attempt(attempt, Values::None),
                MetadataFetchErrorKind::NextRowError(NextRowError::NextPageError(NextPageError::RequestFailure(
                    request,
                ))) => of_request(request),
                other => (Reason::Unknown, clipped(&other.to_string())),
            };
            (reason, format!("reading {}: {why}", fetch.table))
        }
        MetadataError::Peers(error) => (Reason::Disconnected, format!("the ring is not complete: {error}")),
        other => (Reason::Unknown, clipped(&other.to_string())),
    }
}

fn of_request(error: &RequestError) -> (Reason, String) {
    match error {
        RequestError::EmptyPlan => (Reason::Disconnected, "no node is connected".to_owned()),
        RequestError::ConnectionPoolError(error) => of_pool(error),
        RequestError::RequestTimeout(waited) => {
            (Reason::Timeout, format!("no answer within {} s", waited.as_secs_f32()))
        }
        RequestError::LastAttemptError(error) => of_attempt(error, Values::None),
        other => (Reason::Unknown, clipped(&other.to_string())),
    }
}

fn of_session(error: &NewSessionError) -> (Reason, String) {
    match error {
        NewSessionError::FailedToResolveAnyHostname(names) => {
            (Reason::Disconnected, format!("no address is known for {}; check the host name", names.join(", ")))
        }
        NewSessionError::EmptyKnownNodesList => (Reason::Rejected, "no host is named".to_owned()),
        NewSessionError::MetadataError(error) => of_metadata(error),
        other => (Reason::Unknown, clipped(&other.to_string())),
    }
}

fn of_pool(error: &ConnectionPoolError) -> (Reason, String) {
    match error {
        ConnectionPoolError::Broken { last_connection_error } => of_connection(last_connection_error),
        ConnectionPoolError::Initializing => (Reason::Disconnected, "the connection is being opened".to_owned()),
        other => (Reason::Disconnected, clipped(&other.to_string())),
    }
}

fn of_connection(error: &ConnectionError) -> (Reason, String) {
    match error {
        ConnectionError::ConnectTimeout => (Reason::Disconnected, "no answer to the connection attempt".to_owned()),
        ConnectionError::IoError(error) => (Reason::Disconnected, clipped(&error.to_string())),
        ConnectionError::ConnectionSetupRequestError(setup) => match setup.get_error() {
            ConnectionSetupRequestErrorKind::DbError(DbError::AuthenticationError, text) => {
                (Reason::LoginRefused, clipped(text))
            }
            ConnectionSetupRequestErrorKind::MissingAuthentication => {
                (Reason::LoginRefused, "the cluster asks for a login and none is given".to_owned())
            }
            ConnectionSetupRequestErrorKind::DbError(error, text) => of_database(error, text, Values::None),
            ConnectionSetupRequestErrorKind::BrokenConnection(_) => (
                Reason::Disconnected,
                "the connection broke during the handshake; does the port speak CQL, and is --ssl as the server wants it?"
                    .to_owned(),
            ),
            other => (Reason::Disconnected, clipped(&other.to_string())),
        },
        other => (Reason::Disconnected, clipped(&other.to_string())),
    }
}

fn of_attempt(error: &RequestAttemptError, values: Values) -> (Reason, String) {
    match error {
        RequestAttemptError::DbError(error, text) => of_database(error, text, values),
        RequestAttemptError::BrokenConnectionError(error) => (Reason::Disconnected, clipped(&error.to_string())),
        RequestAttemptError::UnableToAllocStreamId => {
            (Reason::Overloaded, "too many requests are under way on a connection".to_owned())
        }
        RequestAttemptError::RepreparedIdChanged { .. } => {
            (Reason::Disconnected, "a statement changed its id when it was prepared again".to_owned())
        }
        // texts of serialization errors could name a value
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            (Reason::Unknown, "the request could not be written".to_owned())
        }
        // parse errors of the driver name types and columns only
        other => (Reason::Unknown, clipped(&other.to_string())),
    }
}

fn of_database(error: &DbError, text: &str, values: Values) -> (Reason, String) {
    let told = told(text, values);
    match error {
        DbError::Unavailable { consistency, required, alive } => {
            (Reason::TooFewReplicas, format!("{alive} of the {required} replicas that {consistency} needs are alive"))
        }
        DbError::ReadTimeout { consistency, received, required, .. } => {
            (Reason::Timeout, format!("{received} of {required} replicas answered in time at {consistency}"))
        }
        DbError::WriteTimeout { consistency, received, required, write_type } => (
            Reason::Timeout,
            format!("{received} of {required} replicas acknowledged a {write_type} write in time at {consistency}"),
        ),
        DbError::ReadFailure { consistency, required, numfailures, .. } => (
            Reason::ReplicasFailed,
            format!("{numfailures} replicas failed where {consistency} needs {required}: {told}"),
        ),
        DbError::WriteFailure { consistency, required, numfailures, .. } => (
            Reason::ReplicasFailed,
            format!("{numfailures} replicas failed to write where {consistency} needs {required}: {told}"),
        ),
        DbError::Overloaded => (Reason::Overloaded, format!("the coordinator is overloaded: {told}")),
        DbError::RateLimitReached { .. } => (Reason::Overloaded, "the partition's rate limit is reached".to_owned()),
        DbError::IsBootstrapping => (Reason::Disconnected, "the node is still joining the ring".to_owned()),
        DbError::TruncateError => (Reason::TooFewReplicas, format!("a truncate failed: {told}")),
        DbError::Unprepared { .. } => (Reason::Disconnected, "the node has forgotten the statement".to_owned()),
        DbError::AuthenticationError => (Reason::LoginRefused, told),
        DbError::Unauthorized => (Reason::Unauthorized, format!("{told}; {}", grant_for(text))),
        DbError::SyntaxError => (Reason::Rejected, format!("the server can't parse the statement: {told}")),
        DbError::Invalid | DbError::ConfigError => (Reason::Rejected, format!("the server rejects it: {told}")),
        DbError::AlreadyExists { keyspace, table } => {
            let name = if table.is_empty() { keyspace.clone() } else { format!("{keyspace}.{table}") };
            (Reason::AlreadyExists, format!("{name} exists already"))
        }
        DbError::FunctionFailure { keyspace, function, .. } => {
            (Reason::Rejected, format!("function {keyspace}.{function} failed at the server"))
        }
        // NullPointerExceptions of a server under stress and transient states: worth another attempt elsewhere
        DbError::ServerError => (Reason::ReplicasFailed, format!("the server failed: {told}")),
        DbError::ProtocolError => (Reason::Unknown, format!("the server calls the request malformed: {told}")),
        other => (Reason::Unknown, clipped(&other.to_string())),
    }
}

/// Texts of the server that name sizes, tables and settings, never a value.
const TEXTS_WITHOUT_VALUES: [&str; 9] = [
    "Batch too large",
    "Undefined column name",
    "Unknown identifier",
    "unconfigured table",
    "table ",
    "Operation failed",
    "Operation timed out",
    "Cannot achieve consistency level",
    "Not enough nodes",
];

fn told(text: &str, values: Values) -> String {
    let shown = match values {
        Values::None => true,
        Values::Cells => TEXTS_WITHOUT_VALUES.iter().any(|start| text.starts_with(start)),
    };
    if shown {
        clipped(text)
    } else {
        "its text is left out here, since it may repeat a value; see the node's log".to_owned()
    }
}

fn clipped(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SERVER_TEXT_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The statement that would help, from texts like
/// `User bk has no SELECT permission on <table shop.orders> or any of its parents`.
fn grant_for(text: &str) -> String {
    let user = text.strip_prefix("User ").and_then(|rest| rest.split_whitespace().next());
    let permission = text.split("has no ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let resource = text.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inside, _)| inside);
    match (user, permission, resource) {
        (Some(user), Some(permission), Some(resource)) => {
            let resource = match resource {
                "all keyspaces" | "all tables" => "ALL KEYSPACES".to_owned(),
                "all functions" => "ALL FUNCTIONS".to_owned(),
                "all roles" => "ALL ROLES".to_owned(),
                named => match named.split_once(' ') {
                    Some((sort, name)) => format!("{} {name}", sort.to_uppercase()),
                    None => named.to_owned(),
                },
            };
            format!("an administrator can run: GRANT {permission} ON {resource} TO {user}")
        }
        _ => "ask an administrator for the grant".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use scylla::{errors::WriteType, statement::Consistency};

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

    #[test]
    fn long_texts_of_the_server_are_clipped_at_a_character() {
        assert_eq!(clipped(&"é".repeat(400)).chars().count(), SERVER_TEXT_MAX + 1);
        assert_eq!(clipped("a\n  b"), "a b");
    }
}
