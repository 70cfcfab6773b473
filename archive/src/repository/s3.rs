//! An S3 bucket as a store, by the usual `AWS_*` variables.

use object_store::{
    BackoffConfig, ClientConfigKey, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
};
use std::time::Duration;

use crate::error::{Error, Result};

/// Longest request, body included: 16 MiB at 1 Mbit/s and some patience. `AWS_TIMEOUT` sets another.
const REQUEST_TIMEOUT: &str = "180 seconds";
/// Longest wait for a connection. `AWS_CONNECT_TIMEOUT` sets another.
const CONNECT_TIMEOUT: &str = "10 seconds";
/// Attempts beyond the first that the client makes by itself, within [`RETRY_TIMEOUT`]. Beyond these the caller retries,
/// with more patience and in sight of the user.
const RETRIES_MAX: usize = 6;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_PAUSE_FIRST: Duration = Duration::from_millis(100);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(5);

/// A client of `bucket`, by these variables (those of the process, but in tests).
pub(super) fn connect(bucket: &str, variables: impl Iterator<Item = (String, String)>) -> Result<AmazonS3> {
    builder(bucket, variables)?.build().map_err(|e| {
        Error::invalid(format!("the AWS_* variables are not enough to use the bucket {bucket}: {e}")).caused_by(e)
    })
}

fn builder(bucket: &str, variables: impl Iterator<Item = (String, String)>) -> Result<AmazonS3Builder> {
    let client = |key, value: &str| (AmazonS3ConfigKey::Client(key), value.to_owned());
    let mut settings = vec![
        client(ClientConfigKey::Timeout, REQUEST_TIMEOUT),
        client(ClientConfigKey::ConnectTimeout, CONNECT_TIMEOUT),
    ];
    let mut profile = None;
    let mut has_credentials = false;
    for (name, value) in variables.filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty()) {
        has_credentials |= is_credential(&name);
        if name == "AWS_PROFILE" {
            profile = Some(value);
        } else if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            // An endpoint that is written as http:// is meant so.
            let plain = matches!(key, AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint)
                && value.starts_with("http://");
            settings.extend(plain.then(|| client(ClientConfigKey::AllowHttp, "true")));
            settings.push((key, value));
        }
    }
    if let Some(profile) = profile.filter(|_| !has_credentials) {
        return Err(Error::invalid(format!(
            "AWS_PROFILE is set ({profile}), but Ringvault reads no profiles; put its keys into the environment: eval \
             \"$(aws configure export-credentials --profile {profile} --format env)\""
        )));
    }
    let mut builder = AmazonS3Builder::new();
    for (key, value) in settings {
        builder = builder.with_config(key, value);
    }
    Ok(builder.with_bucket_name(bucket).with_retry(RetryConfig {
        backoff: BackoffConfig { init_backoff: RETRY_PAUSE_FIRST, max_backoff: RETRY_PAUSE_MAX, base: 2. },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    }))
}

/// Whether this variable is a way of having credentials that the client knows.
fn is_credential(name: &str) -> bool {
    matches!(
        name,
        "AWS_ACCESS_KEY_ID"
            | "AWS_WEB_IDENTITY_TOKEN_FILE"
            | "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
            | "AWS_CONTAINER_CREDENTIALS_FULL_URI"
            | "AWS_SKIP_SIGNATURE"
    )
}

#[cfg(test)]
mod tests {
    use ringvault_proto::error::ErrorKind;

    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<AmazonS3Builder> {
        builder("b", variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn a_profile_without_keys_is_an_error_that_names_the_fix() {
        let error = with(&[("AWS_PROFILE", "prod")]).expect_err("no keys");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("export-credentials --profile prod --format env"), "{error}");
        assert!(with(&[("AWS_PROFILE", "prod"), ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]).is_ok());
        assert!(with(&[("AWS_PROFILE", "")]).is_ok());
    }

    #[test]
    fn the_usual_variables_are_taken_and_http_only_where_it_is_written() {
        let value = |builder: &AmazonS3Builder, key| builder.get_config_value(&key);
        let allow_http = AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp);
        let minio =
            with(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9000"), ("AWS_REGION", "eu-central-1")]).expect("usual");
        assert_eq!(value(&minio, AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(value(&minio, AmazonS3ConfigKey::Region).as_deref(), Some("eu-central-1"));
        assert_eq!(value(&minio, AmazonS3ConfigKey::Bucket).as_deref(), Some("b"));
        assert_eq!(value(&minio, allow_http).as_deref(), Some("true"));
        let timeout = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
        assert_eq!(value(&minio, timeout).as_deref(), Some("180 seconds"));
        let own = with(&[("AWS_TIMEOUT", "7 seconds"), ("AWS_ENDPOINT_URL_S3", "https://s3.example")]).expect("usual");
        assert_eq!(value(&own, timeout).as_deref(), Some("7 seconds"));
        assert_ne!(value(&own, allow_http).as_deref(), Some("true"));
    }

    #[test]
    fn half_a_pair_of_keys_is_refused() {
        let variables = [("AWS_ACCESS_KEY_ID".to_owned(), "AKIA".to_owned())];
        let error = connect("b", variables.into_iter()).expect_err("no secret");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
