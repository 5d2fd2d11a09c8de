//! The certificate authorities that may vouch for the hub.

use std::path::Path;
use std::sync::Arc;

use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};
use ureq::tls::{Certificate, RootCerts};
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

use super::{Error, environment};

/// The trusted authorities: those that the environment names, or else the system's and Mozilla's. Some systems have
/// none of their own, and Windows downloads its own on demand.
pub(super) fn roots() -> Result<RootCerts, Error> {
    let named = environment::certificates();
    let mozillas: &[_] = if named.is_empty() { TLS_SERVER_ROOT_CERTS } else { &[] };
    let results =
        if named.is_empty() { vec![load_native_certs()] } else { named.iter().map(|path| read(path)).collect() };
    let errors: Vec<_> = results.iter().flat_map(|result| &result.errors).collect();
    errors.iter().for_each(|error| log::debug!("certificates: {error}"));
    let found = results.iter().flat_map(|result| &result.certs).chain(mozillas);
    let certificates: Vec<_> = found.map(|der| Certificate::from_der(der).to_owned()).collect();
    if certificates.is_empty() {
        let problem = errors.first().map_or("there are none".to_owned(), ToString::to_string);
        return Err(Error::Certificates { paths: named, problem });
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

/// The certificates of a file in the format PEM, or of a folder of such files.
fn read(path: &Path) -> CertificateResult {
    if path.is_dir() { load_certs_from_paths(None, Some(path)) } else { load_certs_from_paths(Some(path), None) }
}
