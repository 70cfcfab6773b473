//! The format version, and the JSON documents that carry it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// The version that this crate writes, and the newest that it reads (FORMAT.md, "Versions").
pub(crate) const FORMAT_VERSION: u32 = 1;

#[derive(Deserialize)]
struct Versioned {
    format: u32,
}

/// Parses a document, its format version first, so that a newer document is called newer and not damaged. `what` names
/// it in messages.
///
/// # Errors
/// `Invalid` for a newer format, else `Corrupt`.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| damaged(what, &e))?;
    if versioned.format > FORMAT_VERSION {
        return Err(Error::invalid(format!(
            "{what} was written by a newer ringvault (format {}; this one reads up to {FORMAT_VERSION}): use a newer \
             ringvault",
            versioned.format
        )));
    }
    if versioned.format == 0 {
        return Err(Error::corrupt(format!("{what} is damaged: there is no format 0")));
    }
    serde_json::from_slice(bytes).map_err(|e| damaged(what, &e))
}

/// Two spaces of indentation, members in the order of the struct, a newline at the end.
pub(crate) fn pretty<T: Serialize>(value: &T, what: &str) -> Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| unwritable(what, e))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// What stands in a document isn't what its format says. JSON's own message holds a position and names, no cells.
pub(crate) fn damaged(what: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::corrupt(format!("{what} is damaged: {reason}"))
}

/// A value that JSON can't express: a defect.
pub(crate) fn unwritable(what: &str, source: serde_json::Error) -> Error {
    Error::internal(format!("{what} can't be written as JSON: {source}")).caused_by(source)
}

#[cfg(test)]
mod tests {
    use ringvault_proto::error::ErrorKind;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Document {
        #[allow(dead_code)]
        name: String,
    }

    #[test]
    fn a_newer_document_is_called_newer_even_if_it_has_other_members() {
        let error = parse::<Document>(br#"{"format":2,"names":[]}"#, "the thing").expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("the thing was written by a newer ringvault"), "{error}");
        for damaged in ["", "{}", "{\"format\":1}", "{\"format\":0,\"name\":\"x\"}", "{\"format\":-1}", "\u{0}"] {
            let error = parse::<Document>(damaged.as_bytes(), "the thing").expect_err("damaged");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        }
    }
}
