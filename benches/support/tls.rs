//! A certificate that the servers of a benchmark show on loopback, and clients that believe it.

use std::error::Error;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// A P-256 key and what belongs to it.
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// Believes this certificate alone; every handshake is a full one.
    pub(crate) client: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one for `127.0.0.1` in `folder`, with `openssl`.
    pub(crate) fn make(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout key.pem \
            -out chain.pem -subj /CN=bench -addext subjectAltName=IP:127.0.0.1 \
            -addext basicConstraints=critical,CA:FALSE";
        let made = Command::new("openssl").args(arguments.split_whitespace()).current_dir(folder).output()?;
        if !made.status.success() {
            return Err(format!("openssl: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
        let (chain, key) = (folder.join("chain.pem"), folder.join("key.pem"));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&chain)?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        client.resumption = Resumption::disabled();
        Ok(Self { chain, key, client: Arc::new(client) })
    }

    /// A blocking connection to whoever shows this certificate.
    pub(crate) fn connect(
        &self,
        address: SocketAddr,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, Box<dyn Error>> {
        let connection = ClientConnection::new(Arc::clone(&self.client), name(address))?;
        Ok(StreamOwned::new(connection, stream))
    }
}

/// Whom a client expects at this address.
pub(crate) fn name(address: SocketAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.ip().into())
}
