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

use super::{Failure, Settings};
use crate::config::listen::Place;
use crate::config::problem::Problems;
use crate::config::tls::Tls;
use crate::config::{Config, NewSecret};
use crate::proxy::pem;

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
    let host = &config.public.authority;
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
            let mut client = itself(tls, &config.public.authority).map_err(io::Error::other)?;
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
fn itself(tls: &Tls, authority: &str) -> Result<ClientConnection, Box<dyn std::error::Error + Send + Sync>> {
    if tls.client_required {
        return Err("asks for a client's certificate; give `admin.address`".into());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let own = tls.certificates.iter().map(|files| pem::chain(&files.certificate, "tls.certificate"));
    let own = own.map(|chain| Ok(chain?.swap_remove(0))).collect::<Result<_, Problems>>()?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Own { own, provider }))
        .with_no_client_auth();
    let name = authority.rsplit_once(':').map_or(authority, |(name, _)| name);
    let name = ServerName::try_from(name.trim_start_matches('[').trim_end_matches(']').to_owned())?;
    Ok(ClientConnection::new(Arc::new(config), name)?)
}

/// Takes our own certificates, whoever issued them and whatever they are for, and no other.
#[derive(Debug)]
struct Own {
    own: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.own.iter().any(|own| own == shown) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::UnknownIssuer.into())
        }
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
