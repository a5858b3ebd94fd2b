//! Handshakes by rustls: who vouches for a server, and whether its certificate is made out to it.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{Mode, Roots, Wanted};

/// The protocol's name, by which a server on a shared port knows what is meant.
const PROTOCOL: &[u8] = b"postgresql";

/// How a connection is made.
pub(in crate::postgres) type Connect = MakeRustlsConnect;

/// Reads the certificates that count.
///
/// # Errors
/// What is wrong with them, and what to do.
pub(in crate::postgres) fn connect(wanted: &Wanted) -> Result<Connect, String> {
    let provider = Arc::new(ring::default_provider());
    let judge = Judge {
        algorithms: provider.signature_verification_algorithms,
        trusted: match &wanted.roots {
            Roots::Anybody => None,
            Roots::System => Some(Trusted::of_system()?),
            Roots::File(file) => Some(Trusted::of_file(file)?),
        },
        asks_for_name: wanted.mode == Mode::VerifyFull,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(judge))
        .with_no_client_auth();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(MakeRustlsConnect::new(config))
}

/// Whose word counts.
#[derive(Debug)]
struct Trusted {
    roots: RootCertStore,
    /// As they stand in a file. A server may show one of them itself.
    certificates: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn of_file(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let fail = |problem: &dyn std::fmt::Display| {
            format!("sslrootcert={shown} cannot be read: {problem}")
        };
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| fail(&error))?;
        let certificates: Vec<_> = certificates
            .collect::<Result<_, _>>()
            .map_err(|error| fail(&error))?;
        if certificates.is_empty() {
            return Err(fail(&"it holds no certificate in the form of PEM"));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots
                .add(certificate.clone())
                .map_err(|error| fail(&error))?;
        }
        Ok(Self {
            roots,
            certificates,
        })
    }

    fn of_system() -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // Among hundreds some are odd; what counts is whether the server's is there.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(
                "this system trusts no authority; install its package of certificates \
                        (ca-certificates), or name one with sslrootcert=FILE"
                    .to_owned(),
            );
        }
        Ok(Self {
            roots,
            certificates: Vec::new(),
        })
    }
}

/// Decides about a server's certificate.
#[derive(Debug)]
struct Judge {
    algorithms: WebPkiSupportedAlgorithms,
    /// None where any certificate will do.
    trusted: Option<Trusted>,
    asks_for_name: bool,
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(trusted) = &self.trusted else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(shown)?;
        // Many servers have one certificate that vouches for itself, and operators hand out just that.
        if !trusted.certificates.contains(shown) {
            let all = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &trusted.roots, between, now, all)?;
        }
        if self.asks_for_name {
            verify_server_name(&parsed, host)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, shown, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What to do about a handshake that failed.
pub(in crate::postgres) fn advice(cause: &(dyn std::error::Error + 'static)) -> &'static str {
    let inner = cause
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    match inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "; nobody who is trusted vouches for the server, name its authority with sslrootcert=FILE"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => {
            "; connect under a name that the certificate has, or ask for its authority alone with sslmode=verify-ca"
        }
        _ => "",
    }
}
