//! The flags of a node's JVM: what the distribution's `jvm17-server.options` opens, and what makes a start fast.

use std::ffi::OsString;
use std::path::Path;

use super::install::Installation;
use super::{CassandraVersion, JMX_PORT_FIRST, lane};

/// Packages of the JDK that Cassandra reaches into, for code compiled against them.
const EXPORTS: &[&str] = &[
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.rmi/sun.rmi.transport.tcp",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.unsupported/sun.misc",
];

/// Packages that it reaches into by reflection.
const OPENS: &[&str] = &[
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.nio.charset",
    "java.base/java.nio.file.spi",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util",
    "java.base/jdk.internal.util.jar",
    "java.base/jdk.internal.vm",
    "java.base/sun.nio.ch",
    "java.base/sun.util.locale",
    "java.rmi/sun.rmi.transport.tcp",
    "jdk.management/com.sun.management",
    "jdk.management/com.sun.management.internal",
];

/// All arguments behind `java`, up to and with the main class.
pub(crate) fn arguments(installation: &Installation, node: usize, directory: &Path, heap_mb: u32) -> Vec<OsString> {
    let version = installation.version;
    let mut flags: Vec<String> = vec![
        format!("-Xms{heap_mb}M"),
        format!("-Xmx{heap_mb}M"),
        "-Xss512k".into(),
        "-XX:MaxDirectMemorySize=384M".into(),
        "-XX:+UseG1GC".into(),
        "-XX:MaxGCPauseMillis=200".into(),
        "-XX:+PerfDisableSharedMem".into(),
        "-XX:TieredStopAtLevel=4".into(),
        format!("-javaagent:{}", installation.jamm.display()),
        format!("-Dcassandra.config=file://{}/conf/cassandra.yaml", directory.display()),
        format!("-Dcassandra.storagedir={}/data", directory.display()),
        format!("-Dcassandra.logdir={}", directory.display()),
        format!("-Dlogback.configurationFile={}/conf/logback.xml", directory.display()),
        format!("-Djava.io.tmpdir={}/tmp", directory.display()),
        format!(
            "-Dcassandra.jmx.local.port={}",
            JMX_PORT_FIRST + 4 * u16::from(lane()) + u16::try_from(node).expect("few nodes")
        ),
        "-Dcassandra.ring_delay_ms=2000".into(),
        "-Dcassandra.skip_wait_for_gossip_to_settle=0".into(),
        "-Dcassandra.superuser_setup_delay_ms=0".into(),
        "-Dcassandra.consistent.rangemovement=false".into(),
        "-Djava.net.preferIPv4Stack=true".into(),
        "-Dcassandra-foreground=yes".into(),
        "-Djdk.attach.allowAttachSelf=true".into(),
        "-Dio.netty.tryReflectionSetAccessible=true".into(),
    ];
    if version != CassandraVersion::V3_11 {
        flags.push("-Djava.security.manager=allow".into());
    }
    if version == CassandraVersion::V5_0 {
        flags.push("--add-modules=ALL-SYSTEM".into());
    }
    let known_to_java_11 =
        |package: &&&str| version != CassandraVersion::V3_11 || !UNKNOWN_TO_JAVA_11.contains(*package);
    for package in EXPORTS.iter().filter(known_to_java_11) {
        flags.push(format!("--add-exports={package}=ALL-UNNAMED"));
    }
    for package in OPENS.iter().filter(known_to_java_11) {
        flags.push(format!("--add-opens={package}=ALL-UNNAMED"));
    }
    flags.push("-cp".into());
    flags.push(format!("{}/conf:{}/*", directory.display(), installation.jars.display()));
    flags.push("org.apache.cassandra.service.CassandraDaemon".into());
    flags.into_iter().map(OsString::from).collect()
}

/// Named only to keep the JVM from warning about them.
const UNKNOWN_TO_JAVA_11: &[&str] = &["java.base/jdk.internal.util", "jdk.attach/sun.tools.attach"];
