//! Certificates for a cluster that speaks TLS: an authority and one certificate for all nodes, made by the JDK's
//! `keytool`, so that the nodes get the key store format that every release reads; and the authority of its clients.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::node::address;
use crate::authority::{Authority, Signed, Wanted};

/// How nodes speak TLS to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeTls {
    /// The only name in the nodes' certificate; none: it holds their addresses.
    pub host_name: Option<&'static str>,
    /// A client must show a certificate of [`Certificates::clients`].
    pub clients_certified: bool,
}

/// Files of a test cluster's certificates.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate, PEM: what `--ca-cert` takes.
    pub authority: PathBuf,
    /// A client's certificate that the nodes take, where they want to see one.
    pub client: Option<Signed>,
    /// The nodes' key store, PKCS #12.
    pub(crate) keystore: PathBuf,
    /// Authorities of their clients, where they want to see certificates.
    pub(crate) truststore: Option<PathBuf>,
    /// A name that their certificate holds.
    name: String,
}

impl Certificates {
    /// Opens the key store.
    pub(crate) const PASSWORD: &'static str = "ringvault-tests";

    /// Makes an authority and a certificate for the first `nodes` loopback addresses in `directory`.
    pub(crate) fn make(directory: &Path, nodes: usize, tls: NodeTls) -> Result<Self> {
        let addresses: Vec<String> = (0..nodes).map(|index| format!("ip:{}", address(index))).collect();
        let names = tls.host_name.map_or_else(|| addresses.join(","), |name| format!("dns:{name}"));
        let names = format!("san={names}");
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
        let mut truststore = None;
        let mut client = None;
        if tls.clients_certified {
            let clients = Authority::new(&path("clients"), "the clients' authority")?;
            client = Some(clients.sign("client", &Wanted::default())?);
            let ca = clients.ca().display().to_string();
            store("clients.p12", &["-importcert", "-noprompt", "-alias", "clients", "-file", &ca])?;
            truststore = Some(path("clients.p12"));
        }
        let name = tls.host_name.map_or_else(|| address(0), ToOwned::to_owned);
        Ok(Self { authority: path("authority.pem"), client, keystore: path("node.p12"), truststore, name })
    }

    /// A client that trusts this authority only, and takes the certificate of any node for every node's.
    pub(crate) fn client_config(&self) -> Result<Arc<rustls::ClientConfig>> {
        let mut roots = rustls::RootCertStore::empty();
        let authority = CertificateDer::from_pem_file(&self.authority).context("read the authority's certificate")?;
        roots.add(authority).context("trust the authority's certificate")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        let name = ServerName::try_from(self.name.clone()).context("a name of the nodes")?;
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("choose TLS versions")?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OneName { chain, name }));
        let config = match &self.client {
            None => config.with_no_client_auth(),
            Some(Signed { cert, key }) => {
                let cert = CertificateDer::from_pem_file(cert).context("read the client's certificate")?;
                let key = PrivateKeyDer::from_pem_file(key).context("read the client's key")?;
                config.with_client_auth_cert(vec![cert], key).context("use the client's certificate")?
            }
        };
        Ok(Arc::new(config))
    }
}

/// The driver calls a node by its address; its certificate may hold another name only.
#[derive(Debug)]
struct OneName {
    chain: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for OneName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let check = |name| self.chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        check(server_name).or_else(|_| check(&self.name))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Makes an authority that no node knows; its certificate, PEM.
///
/// # Errors
/// If `keytool` fails.
pub fn other_authority(directory: &Path) -> Result<PathBuf> {
    let below = directory.join("other-authority");
    std::fs::create_dir_all(&below)?;
    Ok(Certificates::make(&below, 1, NodeTls::default())?.authority)
}

fn keytool(command: &mut Command) -> Result<()> {
    let output = command.output().context("run keytool: it comes with the JDK")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("keytool failed: {}", String::from_utf8_lossy(&output.stdout))
}
