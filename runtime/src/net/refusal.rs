//! Why a connection failed, in words with the next step: for the client's error and for the server's log.
//!
//! A server that refuses a client's certificate says so behind the handshake (TLS 1.3), so the client learns it from its
//! first call.

use std::{error::Error, io};

use rustls::CertificateError;

/// What broke a call on its way, where the transport did and not the coordinator; for a person, with the next step.
#[must_use]
pub fn cause_of(status: &tonic::Status) -> Option<String> {
    let mut cause = status.source()?;
    loop {
        if let Some(known) = tls_error(cause).and_then(met_by_client) {
            return Some(known);
        }
        match cause.source() {
            Some(deeper) => cause = deeper,
            None => break,
        }
    }
    let cause = cause.to_string();
    // HTTP/2 keeps only the text of what broke its connection
    if let Some((_, alert)) = cause.split_once("received fatal alert: ") {
        let alert = alert.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        return Some(alerted(alert));
    }
    // what a server that wants TLS answers reads as an impossible frame, or as nothing
    let strange = ["connection closed", "frame with invalid size", "broken pipe", "reset by peer"];
    let silent = strange.iter().any(|words| cause.to_ascii_lowercase().contains(words));
    let hint = if silent {
        "; if it runs with certificates, call it by https:// with --tls-ca, --tls-cert and --tls-key; its log says whom \
         it refused and why"
    } else {
        ""
    };
    Some(format!("{cause}{hint}"))
}

/// Why a server could not be greeted, for who called it.
pub(super) fn of_handshake(error: &io::Error) -> Option<String> {
    tls_error(error).and_then(met_by_client)
}

/// Why a peer was refused, for the server's log.
pub(super) fn of_peer(error: &io::Error) -> String {
    match tls_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => {
            "it spoke no TLS; if it is one of ours, it calls http:// where it must call https://".to_owned()
        }
        Some(rustls::Error::NoCertificatesPresented) => "it showed no certificate".to_owned(),
        Some(rustls::Error::InvalidCertificate(error)) => {
            format!("its certificate can't be accepted: {}", fault(error, "our CA file"))
        }
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("it refused our certificate: {}", refused(&format!("{alert:?}"), "our certificate"))
        }
        _ => error.to_string(),
    }
}

fn met_by_client(error: &rustls::Error) -> Option<String> {
    Some(match error {
        rustls::Error::InvalidMessage(_) => {
            "it speaks no TLS; if it runs without certificates, call it by http://".to_owned()
        }
        rustls::Error::InvalidCertificate(error) => {
            format!("its certificate can't be accepted: {}", fault(error, "the file of --tls-ca"))
        }
        rustls::Error::AlertReceived(alert) => alerted(&format!("{alert:?}")),
        _ => return None,
    })
}

/// What a server said of our certificate.
fn alerted(alert: &str) -> String {
    format!("it refused our certificate: {}", refused(alert, "the certificate of --tls-cert"))
}

/// What is wrong with a certificate that a peer showed. `ca`: where the authorities stand that it was held against.
fn fault(error: &CertificateError, ca: &str) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("no authority in {ca} signed it; give the authority that did, or have one signed by this authority")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it, which needs no restart".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; compare the clocks of both machines".to_owned()
        }
        CertificateError::NotValidForName => "it is made for another name; call it by a name that it holds".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let held: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let held = if held.is_empty() { "no name".to_owned() } else { held.join(", ") };
            format!(
                "it is made for {held}, not for {expected}; call it by a name that it holds, or have one made with \
                 {expected} among its subject alternative names"
            )
        }
        other => other.to_string(),
    }
}

/// `DnsName("a")` and `IpAddress(b)`, as rustls has them, as people write them.
fn bare(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, inner)| inner.trim_end_matches(')')).trim_matches('"')
}

/// What a peer said of the certificate that we showed, by the name of its alert (RFC 8446, 6.2).
fn refused(alert: &str, shown: &str) -> String {
    match alert {
        "UnknownCA" | "DecryptError" => {
            format!("no authority in its CA file signed {shown}; have one signed by that authority")
        }
        // the alert of one that is not valid yet, too
        "CertificateExpired" => {
            format!("{shown} has expired, or is not valid yet: renew it, which needs no restart, or compare the clocks")
        }
        "CertificateRequired" => "it saw none; give --tls-cert and --tls-key".to_owned(),
        "BadCertificate" => {
            format!("{shown} can't be used: perhaps it does not hold the name that was called; its log says why")
        }
        other => format!("it says {other}; its log says why"),
    }
}

/// The error of TLS in an error of the transport.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(error);
    }
    // an I/O error names what is in it as a text only
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    tls_error(inner)
}
