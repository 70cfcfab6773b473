//! Who sent a request, and what it may ask for.
//!
//! A certificate names its holder in the common name (CN) and its roles in organizational units (OU), one each. Where a
//! transport has no certificates (loopback, or a listener that was told so) everybody who reaches it may do everything.

use std::{fmt, net::SocketAddr, str::FromStr};

use ringvault_proto::error::{ErrorKind, Failure};
use rustls::pki_types::CertificateDer;
use x509_parser::{parse_x509_certificate, x509::X509Name};

/// What the holder of a certificate may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks at jobs and workers.
    Viewer,
    /// Submits and cancels jobs, too.
    Operator,
    /// Drains workers, too.
    Admin,
    /// Takes leases; nothing of the others.
    Worker,
}

impl Role {
    /// Whether who has this role may do what `wanted` may.
    #[must_use]
    pub fn covers(self, wanted: Self) -> bool {
        match (self, wanted) {
            (Self::Worker, wanted) => wanted == Self::Worker,
            (_, Self::Worker) => false,
            (held, wanted) => held >= wanted,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Worker => "worker",
        })
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Viewer, Self::Operator, Self::Admin, Self::Worker]
            .into_iter()
            .find(|role| text == role.to_string())
            .ok_or(())
    }
}

/// Who holds a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its common name; empty where it has none.
    pub name: String,
    /// Those of its organizational units that are roles.
    pub roles: Vec<Role>,
}

impl Identity {
    /// Of a certificate that was verified. One that can't be read has no name and no role.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
            return Self { name: String::new(), roles: Vec::new() };
        };
        let subject: &X509Name<'_> = parsed.subject();
        let name = subject.iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();
        let units = subject.iter_organizational_unit().filter_map(|unit| unit.as_str().ok());
        Self { name: name.to_owned(), roles: units.filter_map(|unit| unit.parse().ok()).collect() }
    }
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process that reached us over TCP without a certificate.
    Remote(SocketAddr),
    /// A process with a certificate that our authority signed.
    Certified(SocketAddr, Identity),
    /// This process itself.
    Embedded,
}

impl Peer {
    /// What a request says, if its sender may do what needs this role.
    ///
    /// # Errors
    /// As [`Peer::require`]; `Internal` for a request that came by none of our listeners.
    pub fn permit<T>(request: tonic::Request<T>, role: Role) -> Result<T, Failure> {
        let peer = request.extensions().get::<Self>();
        let unknown =
            || Failure::new(ErrorKind::Internal, "a request came by a listener that does not tell its sender");
        peer.ok_or_else(unknown)?.require(role)?;
        Ok(request.into_inner())
    }

    /// Whether it may do what needs this role.
    ///
    /// # Errors
    /// `Invalid`, for the peer: who it is and which role is missing.
    pub fn require(&self, role: Role) -> Result<(), Failure> {
        match self {
            Self::Remote(_) | Self::Embedded => Ok(()),
            Self::Certified(_, identity) if identity.roles.iter().any(|held| held.covers(role)) => Ok(()),
            Self::Certified(address, identity) => {
                let held: Vec<String> = identity.roles.iter().map(ToString::to_string).collect();
                let held = if held.is_empty() { "no role".to_owned() } else { held.join(", ") };
                tracing::warn!(%address, name = identity.name, held, needed = %role, "a request was refused");
                Err(Failure::new(
                    ErrorKind::Invalid,
                    format!(
                        "the certificate of {:?} has {held}, this needs {role}; ask for a certificate with the \
                         organizational unit (OU) {role}",
                        identity.name
                    ),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_may_all_but_work_and_a_worker_may_only_work() {
        let may = |held: Role| {
            let all = [Role::Viewer, Role::Operator, Role::Admin, Role::Worker];
            all.into_iter().filter(|wanted| held.covers(*wanted)).collect::<Vec<_>>()
        };
        assert_eq!(may(Role::Viewer), [Role::Viewer]);
        assert_eq!(may(Role::Operator), [Role::Viewer, Role::Operator]);
        assert_eq!(may(Role::Admin), [Role::Viewer, Role::Operator, Role::Admin]);
        assert_eq!(may(Role::Worker), [Role::Worker]);
    }

    #[test]
    fn a_missing_role_is_named_with_its_holder() {
        let address = "127.0.0.1:1".parse().expect("an address");
        let peer = Peer::Certified(address, Identity { name: "eve".into(), roles: vec![Role::Viewer] });
        peer.require(Role::Viewer).expect("held");
        let failure = peer.require(Role::Operator).expect_err("not held");
        assert!(failure.message.contains("\"eve\" has viewer, this needs operator"), "{}", failure.message);
        Peer::Embedded.require(Role::Worker).expect("itself");
    }

    #[test]
    fn what_is_no_certificate_has_no_role() {
        assert_eq!(Identity::of(&CertificateDer::from(vec![1, 2, 3])).roles, []);
    }
}
