//! Where a repository is: the address as people write it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::error::{Error, Result};

/// A directory, or an object-store prefix. Holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Location {
    /// Absolute.
    Directory(PathBuf),
    /// `s3://bucket/prefix`
    S3 {
        /// The bucket's name.
        bucket: String,
        /// Without slashes at either end; may be empty.
        prefix: String,
    },
    /// In this process only; for tests and simulation. No address names it.
    Memory,
}

impl FromStr for Location {
    type Err = Error;

    /// `s3://bucket[/prefix]`, `file:///directory`, or a directory, which a relative path makes absolute from here.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid("the repository has no address: name a directory or s3://bucket/prefix"));
        }
        match text.split_once("://") {
            None => directory(Path::new(text)),
            Some(("s3", rest)) => s3(rest),
            Some(("file", _)) => {
                let url = url::Url::parse(text).ok().and_then(|url| url.to_file_path().ok());
                let path = url.ok_or_else(|| {
                    Error::invalid(format!("{text:?} names no directory: write file:///absolute/path"))
                })?;
                directory(&path)
            }
            Some((scheme, _)) => Err(Error::invalid(format!(
                "there is no repository of kind {scheme:?}: name a directory or s3://bucket/prefix"
            ))),
        }
    }
}

fn directory(path: &Path) -> Result<Location> {
    let absolute = std::path::absolute(path)
        .map_err(|e| Error::invalid(format!("{} can't be made an absolute path: {e}", path.display())).caused_by(e))?;
    // Of what `std::path::absolute` leaves alone: a trailing slash, which would make two addresses of one directory.
    Ok(Location::Directory(absolute.components().collect()))
}

fn s3(rest: &str) -> Result<Location> {
    if rest.contains('@') {
        return Err(Error::invalid(
            "credentials don't belong into a repository's address, where lists of processes show them: set \
             AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ));
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_matches('/');
    let bucket_fits = !bucket.is_empty()
        && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && !bucket.starts_with('.');
    if !bucket_fits {
        return Err(Error::invalid(format!("{bucket:?} is no name of a bucket: write s3://bucket/prefix")));
    }
    let prefix_fits = prefix.is_empty()
        || prefix.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['?', '#']))
            && !prefix.contains(char::is_control);
    if !prefix_fits {
        return Err(Error::invalid(format!(
            "{prefix:?} is no prefix in a bucket: it has an empty part, '.', '..', '?', '#' or a control character"
        )));
    }
    Ok(Location::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Memory => f.write_str("memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Location {
        text.parse().expect("an address")
    }

    #[test]
    fn addresses_are_read_and_written_in_one_form() {
        assert_eq!(parse("s3://b"), parse("s3://b/"));
        assert_eq!(parse("s3://b/a/c/").to_string(), "s3://b/a/c");
        assert_eq!(parse("/x/y/").to_string(), "/x/y");
        assert_eq!(parse("file:///x/a%20b"), parse("/x/a b"));
        let here = std::env::current_dir().expect("a directory");
        assert_eq!(parse("./backups"), Location::Directory(here.join("backups")));
        assert_eq!(parse("/a/100%/ü#1").to_string(), "/a/100%/ü#1");
    }

    #[test]
    fn what_is_no_address_is_refused_and_no_secret_is_repeated() {
        for text in ["", "s3://", "s3:///x", "s3://b/a//c", "s3://b/../c", "http://x/y", "gs://b", "s3://b/x?y=1"] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
        let error = "s3://AKIAX:hunter2@bucket/x".parse::<Location>().expect_err("credentials");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
