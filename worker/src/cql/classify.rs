//! What failures of driver and server mean, in words that name no value.

use scylla::errors::{
    BadQuery, ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, MetadataFetchErrorKind, NewSessionError, NextPageError, NextRowError, PrepareError,
    RequestAttemptError, RequestError,
};

use super::errors::{Reason, Values};

/// Longest text of the server that a message repeats, in characters.
const SERVER_TEXT_MAX: usize = 300;

pub(crate) fn of_execution(error: &ExecutionError, values: Values) -> (Reason, String) {
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

pub(crate) fn of_prepare(error: &PrepareError) -> (Reason, String) {
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

pub(crate) fn of_metadata(error: &MetadataError) -> (Reason, String) {
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

pub(crate) fn of_session(error: &NewSessionError) -> (Reason, String) {
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
                "the connection broke during the handshake: is it the CQL port, and is --ssl as the server wants it?"
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
const TEXTS_WITHOUT_VALUES: [&str; 10] = [
    "Batch too large",
    "Undefined column name",
    "Unknown identifier",
    "unconfigured table",
    "table ",
    "keyspace ",
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
    use super::*;

    #[test]
    fn long_texts_of_the_server_are_clipped_at_a_character() {
        assert_eq!(clipped(&"é".repeat(400)).chars().count(), SERVER_TEXT_MAX + 1);
        assert_eq!(clipped("a\n  b"), "a b");
    }
}
