//! Who may vouch for the hub.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use ureq::tls::{Certificate, RootCerts};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::{Error, environment};

/// The authorities that are trusted: those that the environment names, or else the system's and Mozilla's. Some systems
/// have none of their own, and Windows fetches its when it needs them.
pub(super) fn roots() -> Result<RootCerts, Error> {
    let named = environment::certificates();
    let certificates: Vec<Certificate<'static>> = if named.is_empty() {
        let CertificateResult { certs, errors, .. } = load_native_certs();
        errors.iter().for_each(|error| log::debug!("certificates of the system: {error}"));
        let mozillas = TLS_SERVER_ROOT_CERTS.iter().map(|der| Certificate::from_der(der).to_owned());
        certs.iter().map(|der| Certificate::from_der(der).to_owned()).chain(mozillas).collect()
    } else {
        named.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?.concat()
    };
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// The certificates of a file in the format PEM, or of a folder of such files.
fn read(path: &Path) -> Result<Vec<Certificate<'static>>, Error> {
    let (file, folder) = if path.is_dir() { (None, Some(path)) } else { (Some(path), None) };
    let CertificateResult { certs, errors, .. } = load_certs_from_paths(file, folder);
    if !certs.is_empty() {
        return Ok(certs.iter().map(|der| Certificate::from_der(der).to_owned()).collect());
    }
    let problem = errors.first().map_or("there is none in it".to_owned(), ToString::to_string);
    Err(Error::Certificates { path: PathBuf::from(path), problem })
}
