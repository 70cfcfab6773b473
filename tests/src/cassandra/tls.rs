//! Certificates for a cluster that speaks TLS: an authority and one certificate for all nodes, made by the JDK's
//! `keytool`, so that the nodes get the key store format that every release reads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::node::address;

/// Files of a test cluster's certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate, PEM: what `--ca-cert` takes.
    pub authority: PathBuf,
    /// The nodes' key store, PKCS #12.
    pub(crate) keystore: PathBuf,
}

impl Certificates {
    /// Opens the key store.
    pub(crate) const PASSWORD: &'static str = "ringvault-tests";

    /// Makes an authority and a certificate for the first `nodes` loopback addresses in `directory`.
    pub(crate) fn make(directory: &Path, nodes: usize) -> Result<Self> {
        let addresses: Vec<String> = (0..nodes).map(|index| format!("ip:{}", address(index))).collect();
        let names = format!("san={}", addresses.join(","));
        let path = |name: &str| directory.join(name);
        let store = |name: &str, arguments: &[&str]| {
            let mut command = Command::new("keytool");
            command.arg(arguments[0]).arg("-keystore").arg(path(name));
            command.args(["-storetype", "PKCS12", "-storepass", Self::PASSWORD]).args(&arguments[1..]);
            keytool(&mut command)
        };
        let file = |name: &str| path(name).display().to_string();
        let key = ["-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650"];
        let make = |who: &str, store_name: &str, more: &[&str]| {
            let subject = format!("CN={who}");
            let first = ["-genkeypair", "-alias", who, "-dname", &subject];
            store(store_name, &[&first[..], &key[..], more].concat())
        };
        make("authority", "authority.p12", &["-ext", "bc:c", "-ext", "ku:c=keyCertSign,cRLSign"])?;
        store("authority.p12", &["-exportcert", "-alias", "authority", "-rfc", "-file", &file("authority.pem")])?;
        make("node", "node.p12", &[])?;
        store("node.p12", &["-certreq", "-alias", "node", "-file", &file("node.csr")])?;
        let sign =
            ["-gencert", "-alias", "authority", "-infile", &file("node.csr"), "-outfile", &file("node.pem"), "-rfc"];
        store(
            "authority.p12",
            &[&sign[..], &["-ext", &names, "-ext", "eku=serverAuth", "-validity", "3650"]].concat(),
        )?;
        let trust = ["-importcert", "-noprompt", "-alias", "authority", "-file", &file("authority.pem")];
        store("node.p12", &trust)?;
        store("node.p12", &["-importcert", "-noprompt", "-alias", "node", "-file", &file("node.pem")])?;
        Ok(Self { authority: path("authority.pem"), keystore: path("node.p12") })
    }

    /// A client that trusts this authority only.
    pub(crate) fn client_config(&self) -> Result<Arc<rustls::ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&self.authority).context("read the authority's certificate")?;
        roots.add(authority).context("trust the authority's certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choose TLS versions")?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

/// Makes an authority that no node knows; its certificate, PEM.
///
/// # Errors
/// If `keytool` fails.
pub fn other_authority(directory: &Path) -> Result<PathBuf> {
    let below = directory.join("other-authority");
    std::fs::create_dir_all(&below)?;
    Ok(Certificates::make(&below, 1)?.authority)
}

fn keytool(command: &mut Command) -> Result<()> {
    let output = command.output().context("run keytool: it comes with the JDK")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("keytool failed: {}", String::from_utf8_lossy(&output.stdout))
}
