//! An authority of the tests' own and certificates that it signs: for coordinators, workers and clients, as
//! `deploy/certificates/make` makes them, and for what that one never makes: expired ones, ones without a role, of other
//! names, of another authority.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::fleet::FleetTls;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Validity {
    /// Since yesterday, for ten days.
    #[default]
    Now,
    /// Until yesterday.
    Expired,
    /// From tomorrow on.
    NotYet,
}

/// What a certificate says.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// Organizational unit: the role; empty: none.
    pub unit: &'a str,
    /// Subject alternative names: host names or addresses.
    pub hosts: &'a [&'a str],
    /// When it is valid.
    pub validity: Validity,
}

impl<'a> Wanted<'a> {
    /// Of a process or person with this role, called by nobody.
    pub fn role(role: &'a str) -> Self {
        Self { unit: role, ..Self::default() }
    }

    /// Of a server that is called by these names.
    pub fn server(hosts: &'a [&'a str]) -> Self {
        Self { unit: "coordinator", hosts, ..Self::default() }
    }

    /// The same, valid at another time.
    #[must_use]
    pub fn valid(self, validity: Validity) -> Self {
        Self { validity, ..self }
    }
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// An authority. Its certificate is `ca.pem` in its directory, and what it signs stands there as `NAME.pem` and `NAME.key`;
/// its own key stands nowhere.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, with the directory that it needs.
    ///
    /// # Errors
    /// If its files can't be written.
    pub fn new(directory: &Path, name: &str) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        let key = KeyPair::generate().context("make a key")?;
        let mut params = CertificateParams::new(Vec::new()).context("an authority has no names")?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pem = params.self_signed(&key).context("sign the authority's certificate")?.pem();
        let authority = Self { directory: directory.to_path_buf(), pem, issuer: Issuer::new(params, key) };
        replace(&authority.ca(), &authority.pem)?;
        Ok(authority)
    }

    /// One that has signed for a whole fleet on loopback: `coordinator`, `worker`, `viewer`, `operator` and `admin`.
    ///
    /// # Errors
    /// If its files can't be written.
    pub fn of_fleet(directory: &Path) -> Result<Self> {
        let authority = Self::new(directory, "the tests' authority")?;
        authority.sign_fleet()?;
        Ok(authority)
    }

    /// Signs for a whole fleet, anew where it has done so: the files are replaced, the certificate before the key.
    ///
    /// # Errors
    /// If its files can't be written.
    pub fn sign_fleet(&self) -> Result<()> {
        self.sign_fleet_into(&self.directory)
    }

    /// The same, with files in another directory: that of an authority whose place this one takes.
    ///
    /// # Errors
    /// If its files can't be written.
    pub fn sign_fleet_into(&self, directory: &Path) -> Result<()> {
        self.sign_into(directory, "coordinator", &Wanted::server(&["localhost", "127.0.0.1", "::1"]))?;
        for role in ["worker", "viewer", "operator", "admin"] {
            self.sign_into(directory, role, &Wanted::role(role))?;
        }
        Ok(())
    }

    /// The certificate of the authority, PEM.
    pub fn ca(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The text of it.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Where everything stands.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The files by their names, as fleets of the tests take them.
    pub fn fleet_tls(&self) -> FleetTls {
        FleetTls::in_directory(&self.directory)
    }

    /// Signs a certificate whose common name is `name`; files of that name are replaced one after the other, each at once.
    ///
    /// # Errors
    /// If its files can't be written.
    pub fn sign(&self, name: &str, wanted: &Wanted<'_>) -> Result<Signed> {
        self.sign_into(&self.directory, name, wanted)
    }

    fn sign_into(&self, directory: &Path, name: &str, wanted: &Wanted<'_>) -> Result<Signed> {
        let hosts: Vec<String> = wanted.hosts.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(hosts).context("names of a certificate")?;
        if !wanted.unit.is_empty() {
            params.distinguished_name.push(DnType::OrganizationalUnitName, wanted.unit);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let today = SystemTime::now().duration_since(UNIX_EPOCH).context("it is after 1970")?.as_secs() / DAY;
        let day = |day: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(day * DAY);
        let (first, last) = match wanted.validity {
            Validity::Now => (today - 1, today + 10),
            Validity::Expired => (today - 10, today - 1),
            Validity::NotYet => (today + 2, today + 10),
        };
        (params.not_before, params.not_after) = (day(first), day(last));
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("sign a certificate")?;
        let signed = Signed { cert: directory.join(format!("{name}.pem")), key: directory.join(format!("{name}.key")) };
        replace(&signed.cert, &certificate.pem())?;
        replace(&signed.key, &key.serialize_pem())?;
        Ok(signed)
    }
}

/// Replaces a file at once: who reads it meanwhile sees the former one or this one.
///
/// # Errors
/// If it can't be written.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, text).with_context(|| format!("write {}", new.display()))?;
    std::fs::rename(&new, path).with_context(|| format!("rename to {}", path.display()))
}
