//! Encrypted connections to the nodes.
//!
//! The driver names a node by its IP address only, and certificates of database nodes often carry host names instead.
//! So a certificate counts when an authority of `ca_cert` signed it and it is made for the node's address or for one of
//! the profile's host names. With `verify = false` nothing is checked but that the peer owns its key.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use super::{
    errors::{Error, Result},
    profile::TlsSettings,
};

/// The driver's TLS for these settings; `hosts` are the profile's contact points as `host:port`.
pub(crate) fn client_config(settings: &TlsSettings, hosts: &[String]) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match &settings.ca_cert {
        _ if !settings.verify => Arc::new(Unchecked(Arc::clone(&provider))),
        Some(path) => Arc::new(NodeVerifier {
            chain: chain_verifier(path, &provider)?,
            names: hosts.iter().filter_map(|host| server_name(host)).collect(),
        }),
        None => return Err(Error::invalid("TLS needs --ca-cert, or --ssl-no-verify to check nothing")),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS can't be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match (&settings.client_cert, &settings.client_key) {
        (Some(cert), Some(key)) => {
            let key_der = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable("client key", key, &e))?;
            builder.with_client_auth_cert(certificates("client certificate", cert)?, key_der).map_err(|e| {
                Error::invalid(format!(
                    "the client certificate {} and key {} don't go together: {e}",
                    cert.display(),
                    key.display()
                ))
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn chain_verifier(path: &Path, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("CA certificate", path)? {
        roots
            .add(certificate)
            .map_err(|e| Error::invalid(format!("the CA certificate {} can't be used: {e}", path.display())))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|e| Error::invalid(format!("the CA certificate {} can't be used: {e}", path.display())))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| unreadable(what, path, &e))?;
    if certificates.is_empty() {
        return Err(Error::invalid(format!("the {what} {} holds no PEM certificate", path.display())));
    }
    Ok(certificates)
}

fn unreadable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::invalid(format!("the {what} {} can't be read: {error}", path.display()))
}

fn server_name(contact_point: &str) -> Option<ServerName<'static>> {
    let (host, _port) = contact_point.rsplit_once(':')?;
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()
}

/// Chain by webpki; name: the node's address, else one of the profile's hosts.
#[derive(Debug)]
struct NodeVerifier {
    chain: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let check =
            |name: &ServerName<'_>| self.chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match check(server_name) {
            Err(error) if is_other_name(&error) => self.names.iter().find_map(|name| check(name).ok()).ok_or(error),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What to do about a connection that failed for a certificate, by what the driver tells of it: a text.
pub(crate) fn advice(why: &str) -> Option<&'static str> {
    let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
    Some(if says(&["not valid for name"]) {
        "the node's certificate is made for another name: give a name that it holds among --hosts, have one made for the \
         node's address, or give --ssl-no-verify to check nothing"
    } else if says(&["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"]) {
        "no authority in the file of --ca-cert signed the node's certificate: give the authority that did"
    } else if says(&["certificate expired", "CertExpired", "invalid peer certificate: Expired"]) {
        "the node's certificate has expired: renew it there, or give --ssl-no-verify to check nothing"
    } else if says(&["invalid peer certificate"]) {
        "check the node's certificate and --ca-cert"
    } else if says(&["received fatal alert", "broke during the handshake"]) {
        "the node refused the connection's TLS: if it wants to see a certificate, give --client-cert and --client-key of \
         one that an authority signed whom the node trusts, and that has not expired"
    } else {
        return None;
    })
}

fn is_other_name(error: &TlsError) -> bool {
    matches!(
        error,
        TlsError::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// `--ssl-no-verify`: any certificate counts.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_without_an_authority_is_refused_unless_told_not_to_check() {
        let hosts = ["db1:9042".to_owned()];
        assert!(client_config(&TlsSettings::default(), &hosts).is_err());
        assert!(client_config(&TlsSettings { verify: false, ..TlsSettings::default() }, &hosts).is_ok());
    }

    #[test]
    fn a_missing_file_is_named() {
        let settings = TlsSettings { ca_cert: Some("/nowhere/ca.pem".into()), ..TlsSettings::default() };
        let error = client_config(&settings, &[]).expect_err("no file").to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }

    #[test]
    fn a_certificate_that_does_not_fit_comes_with_what_to_do() {
        let name = "invalid peer certificate: certificate not valid for name \"10.0.0.1\"";
        assert!(advice(name).is_some_and(|told| told.contains("--hosts")));
        assert!(advice("invalid peer certificate: UnknownIssuer").is_some_and(|told| told.contains("--ca-cert")));
        assert!(advice("received fatal alert: BadCertificate").is_some_and(|told| told.contains("--client-cert")));
        assert_eq!(advice("connection refused"), None);
    }

    #[test]
    fn contact_points_become_names_to_check() {
        assert!(server_name("db1.example:9042").is_some());
        assert!(server_name("[::1]:9042").is_some());
    }
}
