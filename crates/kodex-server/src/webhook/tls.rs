//! TLS to webhooks: the machine's certificates, read at the first use.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{net::TcpStream, sync::OnceCell};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// What is needed for TLS, once it was needed.
#[derive(Default)]
pub(super) struct Tls {
    config: OnceCell<Arc<ClientConfig>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Speaks TLS over a connection.
    pub(super) async fn wrap(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let config = self.config.get_or_try_init(config).await;
        let config = config?.clone();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| error.to_string())
    }
}

async fn config() -> Result<Arc<ClientConfig>, String> {
    // Some hundred files.
    let read = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let failed = |text: String| format!("the machine's certificates cannot be read: {text}");
    let read = read.map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (n_added, _) = roots.add_parsable_certificates(read.certs);
    if n_added == 0 {
        let why = read.errors.first().map(ToString::to_string);
        return Err(failed(why.unwrap_or_else(|| "there are none".to_owned())));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
