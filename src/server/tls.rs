//! TLS towards the client: certificates from files, chosen by the name that the client asks for.

use std::sync::Arc;

use http::uri::Authority;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, Ticketer};
use rustls::pki_types::{CertificateRevocationListDer, ServerName, TrustAnchor};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::host::bare;
use crate::config::problem::Problems;
use crate::config::tls;
use crate::proxy::pem;
use crate::server::der;
use crate::time::Now;

/// HTTP/2 in the protocol negotiation (RFC 9113 §3.2).
pub(super) const H2: &[u8] = b"h2";
/// HTTP/1.1 in the protocol negotiation (RFC 7301 §6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// The key that names the authorities of clients.
const CLIENT_CA: &str = "tls.client_ca";
/// The key that names what those authorities took back.
const CLIENT_CRL: &str = "tls.client_crl";
/// What to do about files that do not go together.
const REMEDY: &str = "name the key and the certificate that were made together";

/// The server's side of TLS. Clones share the certificates.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    shelf: Arc<Shelf>,
    clients: Option<Clients>,
    /// Certificates among those of the authorities that are none of an authority.
    misplaced: usize,
}

/// Whose certificates let a client in, and whether there has to be one.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Clients {
    authorities: Vec<TrustAnchor<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    required: bool,
}

impl Clients {
    /// Reads the files about certificates of clients, if there are any.
    fn read(config: &tls::Tls, problems: &mut Problems) -> Option<Self> {
        let roots = config.client_ca.as_deref().map(|file| pem::authorities(file, CLIENT_CA));
        let revoked = config.client_crl.as_deref().map(|file| pem::revoked(file, CLIENT_CRL));
        let revoked = revoked.and_then(|lists| problems.take(lists)).unwrap_or_default();
        let authorities = problems.take(roots?)?.roots;
        Some(Self { authorities, revoked, required: config.client_required })
    }

    /// Lets in whose certificate comes from one of the authorities and is not on a list. Who is on none, because the
    /// list of an issuer is missing or has ended, is not let in either.
    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Problems> {
        let roots = Arc::new(RootCertStore { roots: self.authorities.clone() });
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider)
            .with_crls(self.revoked.iter().cloned())
            .enforce_revocation_expiration();
        let builder = if self.required { builder } else { builder.allow_unauthenticated() };
        let key = if self.revoked.is_empty() { CLIENT_CA } else { CLIENT_CRL };
        builder.build().map_err(|error| Problems::one(key, error.to_string(), REMEDY))
    }

    /// Lists that nobody has made anew in time.
    fn outdated(&self, now: Now) -> usize {
        let ended = |list: &&CertificateRevocationListDer<'_>| {
            der::next_update(list).is_some_and(|at| Now::from_seconds(at) <= now)
        };
        self.revoked.iter().filter(ended).count()
    }
}

impl Tls {
    /// Reads all files.
    ///
    /// # Errors
    /// Every file that cannot be read, or does not hold what its key says.
    pub fn load(config: &tls::Tls) -> Result<Self, Problems> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut problems = Problems::default();
        let certificates = certificates(config, &provider, &mut problems);
        let clients = Clients::read(config, &mut problems);
        let listed = config.client_ca.as_deref().and_then(|file| pem::chain(file, CLIENT_CA).ok());
        let misplaced = listed.iter().flatten().filter(|der| !der::is_authority(der)).count();
        let shelf = Arc::new(Shelf(problems.none_or(certificates)?));
        let trouble = |what: rustls::Error| Problems::one("tls", what.to_string(), REMEDY);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(trouble)?;
        let builder = match &clients {
            Some(clients) => builder.with_client_cert_verifier(clients.verifier(provider)?),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(Arc::clone(&shelf) as Arc<dyn ResolvesServerCert>);
        server.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        // Its own, so that who was let in under another configuration is looked at again.
        server.ticketer = Ticketer::new().map_err(trouble)?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(server)), shelf, clients, misplaced })
    }

    /// Who is let in by a certificate.
    pub(super) fn clients(tls: Option<&Self>) -> Option<&Clients> {
        tls.and_then(|tls| tls.clients.as_ref())
    }

    /// Until when each certificate is good, in seconds since the epoch, in the order of the configuration.
    pub(super) fn not_after(&self) -> Vec<Option<i64>> {
        let until =
            |certified: &Arc<CertifiedKey>| certified.cert.first().and_then(|der| der::not_after(der));
        self.shelf.0.iter().map(until).collect()
    }

    /// What clients would not take, in one line each: certificates that are not good now, and that none is for this
    /// host (with or without a port).
    pub fn dangers(&self, host: &str, now: Now) -> Vec<String> {
        let out_of_time = (self.shelf.0.iter().enumerate())
            .filter_map(|(place, certified)| untimely(certified, now).map(|what| (place, what)))
            .map(|(place, what)| format!("{}: {what}", key(place, "certificate")));
        let name = host.parse::<Authority>().ok();
        let name = name.as_ref().map(|name| bare(name.host()));
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let unnamed = name.filter(|name| !self.shelf.0.iter().any(|certified| is_for(certified, name)));
        let unnamed = unnamed.map(|_| format!("tls.certificate: is not for {host}; clients refuse it"));
        let misplaced = (self.misplaced > 0).then(|| {
            let many = self.misplaced;
            format!("{CLIENT_CA}: {many} of its certificates are of no authority; name who issues those of clients")
        });
        let outdated = self.clients.as_ref().map_or(0, |clients| clients.outdated(now));
        let outdated = (outdated > 0).then(|| {
            format!(
                "{CLIENT_CRL}: {outdated} of its lists have ended; certificates of their issuers are refused"
            )
        });
        out_of_time.chain(unnamed).chain(self.repeated()).chain(misplaced).chain(outdated).collect()
    }

    /// Certificates that are there twice: the later one never comes up.
    fn repeated(&self) -> Vec<String> {
        let ends: Vec<_> = self.shelf.0.iter().map(|certified| certified.cert.first()).collect();
        let first = |place: usize| ends.iter().position(|other| *other == ends[place]).unwrap_or(place);
        (0..ends.len())
            .map(|place| (place, first(place)))
            .filter(|(place, first)| place != first)
            .map(|(place, first)| {
                let (later, earlier) = (key(place, "certificate"), key(first, "certificate"));
                format!("{later}: is that of {earlier} once more, and never used")
            })
            .collect()
    }

    pub(super) fn acceptor(&self) -> &TlsAcceptor {
        &self.acceptor
    }
}

/// The certificates, the default first.
#[derive(Debug)]
struct Shelf(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shelf {
    /// The first certificate for the name, or the first of all.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = &self.0;
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = name.and_then(|name| certificates.iter().find(|certified| is_for(certified, &name)));
        fits.or(certificates.first()).cloned()
    }
}

fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// Why clients refuse a certificate now and would take it at another time, if that is so.
fn untimely(certified: &CertifiedKey, now: Now) -> Option<String> {
    let der = certified.cert.first()?;
    let from = der::not_before(der).map(Now::from_seconds).filter(|from| now < *from);
    let until = der::not_after(der).map(Now::from_seconds).filter(|until| *until <= now);
    match (from, until) {
        (Some(from), _) => {
            Some(format!("is not good before {}; clients refuse it until then", from.minute()))
        }
        (None, Some(until)) => Some(format!("was good until {}; clients refuse it", until.minute())),
        (None, None) => None,
    }
}

/// Those of all names whose files can be used; what cannot is noted.
fn certificates(
    config: &tls::Tls,
    provider: &Arc<CryptoProvider>,
    problems: &mut Problems,
) -> Vec<Arc<CertifiedKey>> {
    let read = |(place, files)| problems.take(certificate(place, files, provider));
    config.certificates.iter().enumerate().filter_map(read).map(Arc::new).collect()
}

/// The key of the configuration that names a file of the certificate in this place.
fn key(place: usize, name: &str) -> String {
    match place {
        0 => format!("tls.{name}"),
        _ => format!("tls.more[{}].{name}", place - 1),
    }
}

/// A certificate and its key, which belong together.
fn certificate(
    place: usize,
    files: &tls::Certificate,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Problems> {
    let mut problems = Problems::default();
    let chain = problems.take(pem::chain(&files.certificate, &key(place, "certificate")));
    let private = problems.take(pem::key(&files.key, &key(place, "key")));
    let (Some(chain), Some(private)) = (chain, private) else { return Err(problems) };
    let unusable =
        |what: String| Problems::one(key(place, "key"), format!("{} {what}", files.key.display()), REMEDY);
    let private = provider
        .key_provider
        .load_private_key(private)
        .map_err(|error| unusable(format!("cannot be used: {error}")))?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) | Ok(()) => Ok(certified),
        Err(_) => Err(unusable("is the key of another certificate".to_owned())),
    }
}
