//! What a failure of the object store means: one total map from its errors to ours.

use std::{error::Error as _, io};

use object_store::client::{HttpError, HttpErrorKind};
use ringvault_proto::error::ErrorKind;

use super::Location;
use crate::error::Error;

/// Longest part of a server's own words in a message.
const REASON_CHARS_MAX: usize = 300;

/// The error of doing something (`action`, as in "write data/…") at `location`.
pub(super) fn of(location: &Location, action: &str, error: object_store::Error) -> Error {
    let (kind, reason) = explain(location, &error);
    Error::new(kind, format!("can't {action} in {location}: {reason}")).caused_by(error)
}

/// The error of an operation on the directory itself.
pub(super) fn of_io(location: &Location, action: &str, error: io::Error) -> Error {
    let (kind, reason) = explain_io(location, &error);
    Error::new(kind, format!("can't {action}: {reason}")).caused_by(error)
}

/// Whether the connection broke, so that nobody knows whether the request was carried out.
pub(super) fn is_broken_connection(error: &object_store::Error) -> bool {
    let kind = behind::<HttpError>(error).map(HttpError::kind);
    matches!(kind, Some(HttpErrorKind::Interrupted | HttpErrorKind::Request | HttpErrorKind::Unknown))
}

fn explain(location: &Location, error: &object_store::Error) -> (ErrorKind, String) {
    use object_store::Error as E;
    let told = || told_by_server(error);
    match error {
        E::NotFound { .. } | E::Generic { .. } if code_of(error).as_deref() == Some("NoSuchBucket") => {
            (ErrorKind::NotFound, "the bucket does not exist: create it, or correct the address".into())
        }
        E::NotFound { .. } => (ErrorKind::NotFound, "it is not there".into()),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            (ErrorKind::Invalid, format!("access is denied ({}): check the credentials and what they allow", told()))
        }
        E::AlreadyExists { .. } | E::Precondition { .. } | E::NotModified { .. } => {
            (ErrorKind::Conflict, format!("another process wrote it at the same time ({})", told()))
        }
        E::NotSupported { .. } | E::NotImplemented { .. } => {
            (ErrorKind::Invalid, format!("the store can't do that ({}); Ringvault needs create-if-absent", told()))
        }
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => (ErrorKind::Invalid, told()),
        E::JoinError { .. } => (ErrorKind::Unavailable, "the process is ending".into()),
        E::Generic { .. } => explain_generic(location, error),
        _ => (ErrorKind::Internal, told()),
    }
}

/// Of an error without a variant of its own: by what is behind it.
fn explain_generic(location: &Location, error: &object_store::Error) -> (ErrorKind, String) {
    if let Some(io) = behind::<io::Error>(error).filter(|_| matches!(location, Location::Directory(_))) {
        return explain_io(location, io);
    }
    let text = error.to_string();
    if text.contains("169.254.") {
        return (
            ErrorKind::Invalid,
            "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (no metadata service of a \
             cloud answers on this machine)"
                .into(),
        );
    }
    let told = told_by_server(error);
    if let Some(http) = behind::<HttpError>(error) {
        let reason = match http.kind() {
            HttpErrorKind::Connect => {
                format!("the store can't be reached ({told}): check AWS_ENDPOINT_URL and network")
            }
            HttpErrorKind::Timeout => format!("the store did not answer in time ({told})"),
            _ => format!("the connection to the store broke ({told})"),
        };
        return (ErrorKind::Unavailable, reason);
    }
    match status_of(&text) {
        Some(503 | 429) => (ErrorKind::Overloaded, format!("the store asks for fewer requests ({told})")),
        Some(507) => (ErrorKind::Invalid, no_space(location)),
        Some(408 | 500..=599) => (ErrorKind::Unavailable, format!("the store failed ({told})")),
        Some(400..=499) => (ErrorKind::Invalid, format!("the store refuses ({told})")),
        _ if text.contains("SlowDown") => {
            (ErrorKind::Overloaded, format!("the store asks for fewer requests ({told})"))
        }
        _ if text.contains("redirect") => {
            (ErrorKind::Invalid, format!("the store points elsewhere ({told}): set AWS_REGION to the bucket's region"))
        }
        _ => (ErrorKind::Unavailable, told),
    }
}

fn explain_io(location: &Location, error: &io::Error) -> (ErrorKind, String) {
    use io::ErrorKind as K;
    match error.kind() {
        K::StorageFull | K::QuotaExceeded => (ErrorKind::Invalid, no_space(location)),
        // EPERM, what Linux answers for a hard link on FAT; a lack of permission is EACCES.
        K::PermissionDenied if error.raw_os_error() == Some(1) => (ErrorKind::Invalid, no_hard_links(error)),
        K::Unsupported => (ErrorKind::Invalid, no_hard_links(error)),
        K::PermissionDenied | K::ReadOnlyFilesystem => {
            (ErrorKind::Invalid, format!("{error}: let this user write there, or name another directory"))
        }
        K::NotFound => (ErrorKind::NotFound, format!("{error}: is the directory still mounted?")),
        K::NotADirectory | K::IsADirectory | K::InvalidFilename | K::FileTooLarge => {
            (ErrorKind::Invalid, error.to_string())
        }
        _ => match error.raw_os_error() {
            Some(28 | 122) => (ErrorKind::Invalid, no_space(location)), // ENOSPC, EDQUOT
            _ => (ErrorKind::Unavailable, error.to_string()),
        },
    }
}

fn no_hard_links(error: &io::Error) -> String {
    format!(
        "{error}: this file system seems to lack hard links, by which Ringvault creates files as a whole; use another \
         (ext4, XFS, NFS)"
    )
}

fn no_space(location: &Location) -> String {
    format!("no space left at {location}; free some and run the same command again: what is stored is kept")
}

/// The first error of type `T` among those behind `error`.
fn behind<T: std::error::Error + 'static>(error: &object_store::Error) -> Option<&T> {
    let mut source = error.source();
    while let Some(current) = source {
        if let Some(found) = current.downcast_ref() {
            return Some(found);
        }
        source = current.source();
    }
    None
}

/// The HTTP status in the text of an error; the crate doesn't let one ask for it.
fn status_of(text: &str) -> Option<u16> {
    let at = text.find("status code: ")? + "status code: ".len();
    text.get(at..at + 3)?.parse().ok()
}

/// What the innermost error says, or the code and message of an S3 answer; one line, bounded.
fn told_by_server(error: &object_store::Error) -> String {
    let text = error.to_string();
    let words = match (element(&text, "Code"), element(&text, "Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => {
            let mut innermost: &dyn std::error::Error = error;
            while let Some(source) = innermost.source() {
                innermost = source;
            }
            innermost.to_string()
        }
    };
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS_MAX).collect()
}

/// The error code of an S3 answer.
fn code_of(error: &object_store::Error) -> Option<String> {
    element(&error.to_string(), "Code").map(String::from)
}

/// The text of the first XML element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!("<{name}>"))? + name.len() + 2;
    let end = text[start..].find(&format!("</{name}>"))?;
    Some(&text[start..start + end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> (ErrorKind, String) {
        let error = object_store::Error::Generic { store: "any", source: source.into() };
        let failure = of(&Location::Directory("/mnt/bk".into()), "write data/x", error);
        (failure.kind(), failure.to_string())
    }

    #[test]
    fn a_full_disk_says_so_and_what_to_do() {
        for errno in [28, 122] {
            let (kind, message) = kind_of(io::Error::from_raw_os_error(errno));
            assert_eq!(kind, ErrorKind::Invalid);
            assert_eq!(
                message,
                "can't write data/x in /mnt/bk: no space left at /mnt/bk; free some and run the same command again: \
                 what is stored is kept"
            );
        }
        assert_eq!(kind_of(io::Error::from_raw_os_error(30)).0, ErrorKind::Invalid);
        assert_eq!(kind_of(io::Error::from_raw_os_error(5)).0, ErrorKind::Unavailable);
    }

    #[test]
    fn an_answer_of_the_store_is_told_by_its_code() {
        let answer = |status: &str, code: &str| {
            kind_of(format!(
                "Error performing PUT http://h/b/o in 1s - Server returned non-2xx status code: {status}: <?xml \
                 version=\"1.0\"?><Error><Code>{code}</Code><Message>The words</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>"
            ))
        };
        assert_eq!(answer("503 Service Unavailable", "SlowDown").0, ErrorKind::Overloaded);
        assert_eq!(answer("500 Internal Server Error", "InternalError").0, ErrorKind::Unavailable);
        assert_eq!(answer("507 Insufficient Storage", "XMinioStorageFull").0, ErrorKind::Invalid);
        let (kind, message) = answer("400 Bad Request", "InvalidArgument");
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(message.ends_with("the store refuses (InvalidArgument: The words)"), "{message}");
    }

    #[test]
    fn a_broken_connection_can_be_tried_again() {
        for kind in [HttpErrorKind::Connect, HttpErrorKind::Timeout, HttpErrorKind::Interrupted] {
            assert_eq!(kind_of(HttpError::new(kind, io::Error::other("reset"))).0, ErrorKind::Unavailable);
        }
    }
}
