//! The repository, from outside: a contract that every kind of it keeps, backups written and read back, damage found,
//! golden files.

#[path = "repository/backups.rs"]
mod backups;
#[path = "repository/contract.rs"]
mod contract;
#[path = "repository/damage.rs"]
mod damage;
#[path = "repository/golden.rs"]
mod golden;
#[path = "repository/s3.rs"]
mod s3;
#[path = "repository/sample.rs"]
mod sample;

use ringvault_archive::repository::{Location, Repository};

/// Runs a test on a directory, in memory, and, where `RINGVAULT_TEST_S3` names a bucket, on S3: see `s3.rs`.
macro_rules! on_every_repository {
    ($($name:ident),* $(,)?) => {
        mod directory {
            $(#[tokio::test]
            async fn $name() {
                let scratch = tempfile::tempdir().expect("a directory");
                super::$name(crate::in_directory(scratch.path()).await).await;
            })*
        }
        mod bucket {
            $(#[tokio::test]
            #[ignore = "run by s3.rs, or by a person with RINGVAULT_TEST_S3=s3://bucket/prefix and AWS_* variables"]
            async fn $name() {
                super::$name(crate::s3::new_repository().await).await;
            })*
        }
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(ringvault_archive::repository::Repository::in_memory()).await;
            })*
        }
    };
}
pub(crate) use on_every_repository;

async fn in_directory(path: &std::path::Path) -> Repository {
    Repository::open_or_create(&Location::Directory(path.to_owned())).await.expect("an empty directory")
}
