//! `sidegate healthcheck`: asks a running instance whether it is ready, for container runtimes without a shell.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use url::Url;

use super::{Failure, Settings};
use crate::config::host::bare;
use crate::config::listen::Place;
use crate::config::tls::Tls;
use crate::config::{Config, NewSecret};

/// How long connecting may take, and then each read and write.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What an answer that says yes begins with.
const YES: &[u8; 12] = b"HTTP/1.1 200";

/// Asks the admin listener whether we are ready, or, if there is none, our own endpoint whether we are there.
pub(super) fn run(settings: &Settings) -> Result<(), Failure> {
    let config = settings.load(NewSecret::Leave)?;
    let (place, path) = match config.admin {
        Some(admin) => (Place::Tcp(admin).reachable(), "/readyz".to_owned()),
        None => (config.listen.first().reachable(), format!("{}/ok", config.mount())),
    };
    let fail = |what: String| Failure::Other(format!("{place}{path} {what}"));
    match ask(&place, &path, &config) {
        Ok(start) if &start == YES => Ok(()),
        Ok(start) => Err(fail(format!("answers {:?}", String::from_utf8_lossy(&start)))),
        Err(error) => Err(fail(format!("does not answer: {error}"))),
    }
}

/// The first bytes of the answer.
fn ask(place: &Place, path: &str, config: &Config) -> io::Result<[u8; YES.len()]> {
    // Under the public name the admin listener would be asked for the site, which is elsewhere.
    let host = match place {
        Place::Tcp(address) if config.admin.is_some() => address.to_string(),
        _ => config.public.authority.clone(),
    };
    let mut stream = match place {
        Place::Tcp(address) => TcpStream::connect_timeout(address, TIMEOUT)?,
        // What follows is the same for both kinds of socket.
        Place::Unix(path) => TcpStream::from(OwnedFd::from(UnixStream::connect(path)?)),
        Place::Passed => {
            return Err(io::Error::other("only systemd knows where it listens; give `admin.address`"));
        }
    };
    if config.listen.proxy_protocol && config.admin.is_none() {
        // Who speaks for nobody but itself.
        stream.write_all(b"PROXY UNKNOWN\r\n")?;
    }
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sidegate-healthcheck\r\nConnection: close\r\n\r\n"
    );
    match &config.tls {
        Some(tls) if config.admin.is_none() => {
            let mut client = itself(config, tls).map_err(io::Error::other)?;
            exchange(rustls::Stream::new(&mut client, &mut stream), &request)
        }
        Some(_) | None => exchange(stream, &request),
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<[u8; YES.len()]> {
    stream.write_all(request.as_bytes())?;
    let mut start = [0; YES.len()];
    stream.read_exact(&mut start)?;
    Ok(start)
}

/// TLS towards ourselves.
fn itself(config: &Config, tls: &Tls) -> Result<ClientConnection, Box<dyn std::error::Error + Send + Sync>> {
    if tls.client_required {
        return Err("asks for a client's certificate; give `admin.address`".into());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Whatever { provider }))
        .with_no_client_auth();
    let url = Url::parse(&config.public.origin)?;
    let name = bare(url.host_str().unwrap_or_default());
    Ok(ClientConnection::new(Arc::new(client), ServerName::try_from(name.to_owned())?)?)
}

/// Takes whatever certificate is shown: it is our own address that is asked, nothing secret is told, and the file may
/// hold another one than is served with.
#[derive(Debug)]
struct Whatever {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Whatever {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
