//! Writes a node's configuration directory: `cassandra.yaml`, the rack file of the snitch, and `logback.xml`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cluster::ClusterSpec;
use super::{CQL_PORT, CassandraVersion, Certificates, STORAGE_PORT, STORAGE_PORT_TLS};

/// Writes `<directory>/conf/*` for the node at `address`.
pub(crate) fn write(spec: &ClusterSpec, directory: &Path, address: &str, tls: Option<&Certificates>) -> Result<()> {
    let conf = directory.join("conf");
    for path in [&conf, &directory.join("tmp"), &directory.join("data")] {
        fs::create_dir_all(path).with_context(|| format!("create {}", path.display()))?;
    }
    let file = |name: &str, text: &str| {
        fs::write(conf.join(name), text).with_context(|| format!("write {name} of the node at {address}"))
    };
    file("cassandra.yaml", &yaml(spec, directory, address, tls))?;
    file("cassandra-rackdc.properties", &format!("dc={}\nrack=rack1\n", spec.data_center))?;
    file("logback.xml", LOGBACK)
}

fn yaml(spec: &ClusterSpec, directory: &Path, address: &str, tls: Option<&Certificates>) -> String {
    let mut yaml = String::new();
    // What a test sets stands instead of what is set here: a node refuses a key that comes twice.
    let mut set = |key: &str, value: &str| {
        if !spec.settings.iter().any(|(own, _)| own == key) {
            writeln!(yaml, "{key}: {value}").expect("writing to a string does not fail");
        }
    };
    let data = directory.join("data");
    set("cluster_name", "ringvault tests");
    set("num_tokens", "16");
    set("partitioner", "org.apache.cassandra.dht.Murmur3Partitioner");
    set("auto_bootstrap", "false");
    set("endpoint_snitch", "GossipingPropertyFileSnitch");
    set("listen_address", address);
    set("rpc_address", address);
    set("storage_port", &STORAGE_PORT.to_string());
    set("ssl_storage_port", &STORAGE_PORT_TLS.to_string());
    set("start_native_transport", "true");
    set("native_transport_port", &CQL_PORT.to_string());
    set("data_file_directories", &format!("[\"{}\"]", data.join("data").display()));
    set("commitlog_directory", &format!("\"{}\"", data.join("commitlog").display()));
    set("saved_caches_directory", &format!("\"{}\"", data.join("saved_caches").display()));
    set("hints_directory", &format!("\"{}\"", data.join("hints").display()));
    set("cdc_raw_directory", &format!("\"{}\"", data.join("cdc_raw").display()));
    set("commitlog_sync", "periodic");
    set("disk_failure_policy", "stop");
    set("commit_failure_policy", "stop");
    set("auto_snapshot", "false");
    set("hinted_handoff_enabled", "true");
    set("concurrent_reads", "16");
    set("concurrent_writes", "32");
    set("concurrent_compactors", "1");
    set("memtable_flush_writers", "1");
    set(
        "seed_provider",
        &format!(
            "[{{class_name: org.apache.cassandra.locator.SimpleSeedProvider, parameters: [{{seeds: \"{}\"}}]}}]",
            spec.seed()
        ),
    );
    if spec.auth {
        set("authenticator", "PasswordAuthenticator");
        set("authorizer", "CassandraAuthorizer");
        set("role_manager", "CassandraRoleManager");
    }
    // Timeouts are generous: a test machine is busy, and a timeout that is no part of a test only makes it flaky.
    let v41 = spec.version >= CassandraVersion::V4_1;
    for (old, new, value) in [
        ("read_request_timeout_in_ms", "read_request_timeout", 20_000),
        ("range_request_timeout_in_ms", "range_request_timeout", 20_000),
        ("write_request_timeout_in_ms", "write_request_timeout", 20_000),
        ("counter_write_request_timeout_in_ms", "counter_write_request_timeout", 20_000),
        ("truncate_request_timeout_in_ms", "truncate_request_timeout", 60_000),
        ("request_timeout_in_ms", "request_timeout", 20_000),
        ("commitlog_sync_period_in_ms", "commitlog_sync_period", 10_000),
    ] {
        if v41 { set(new, &format!("{value}ms")) } else { set(old, &value.to_string()) }
    }
    for (old, new) in [
        ("enable_materialized_views", "materialized_views_enabled"),
        ("enable_user_defined_functions", "user_defined_functions_enabled"),
    ] {
        set(if v41 { new } else { old }, "true");
    }
    match spec.version {
        CassandraVersion::V3_11 => {
            set("start_rpc", "false");
            set("memtable_heap_space_in_mb", "128");
            set("memtable_offheap_space_in_mb", "128");
            set("commitlog_segment_size_in_mb", "16");
            set("commitlog_total_space_in_mb", "512");
            set("file_cache_size_in_mb", "64");
        }
        CassandraVersion::V4_0 => {
            set("enable_sasi_indexes", "true");
            set("memtable_heap_space_in_mb", "128");
            set("memtable_offheap_space_in_mb", "128");
            set("commitlog_segment_size_in_mb", "16");
            set("commitlog_total_space_in_mb", "512");
            set("file_cache_size_in_mb", "64");
            set("networking_cache_size_in_mb", "32");
        }
        CassandraVersion::V4_1 | CassandraVersion::V5_0 => {
            set("sasi_indexes_enabled", "true");
            set("memtable_heap_space", "128MiB");
            set("memtable_offheap_space", "128MiB");
            set("commitlog_segment_size", "16MiB");
            set("commitlog_total_space", "512MiB");
            set("file_cache_size", "64MiB");
            set("networking_cache_size", "32MiB");
        }
    }
    if let Some(certificates) = tls {
        let password = Certificates::PASSWORD;
        let own = format!("keystore: \"{}\", keystore_password: \"{password}\"", certificates.keystore.display());
        let trusted = certificates.truststore.as_ref().map(|store| {
            let store = store.display();
            format!(", require_client_auth: true, truststore: \"{store}\", truststore_password: \"{password}\"")
        });
        let trusted = trusted.unwrap_or_default();
        set("client_encryption_options", &format!("{{enabled: true, optional: false, {own}{trusted}}}"));
    }
    for (key, value) in &spec.settings {
        writeln!(yaml, "{key}: {value}").expect("writing to a string does not fail");
    }
    yaml
}

const LOGBACK: &str = r#"<configuration>
  <appender name="OUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="OUT"/></root>
  <logger name="org.apache.cassandra.db.compaction" level="WARN"/>
</configuration>
"#;
