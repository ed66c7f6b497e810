//! Where an address is, coarsely: its network, and the country, operator and position that files of the
//! operator's own know for it. Nothing is asked of anybody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::IpNet;
use maxminddb::Reader;
use serde::Deserialize;

use crate::config::problem::Problems;
use crate::config::unusual;

/// Bits of an IPv4 address that name its network.
const V4_PREFIX: u8 = 24;
/// Bits of an IPv6 address that name its subscriber (RFC 6177 §2).
const V6_PREFIX: u8 = 48;

/// A position and how far from it the truth may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fix {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Kilometres.
    pub radius: u16,
}

/// What is known of where an address is.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The prefix of its network, as `192.0.2.0/24`.
    pub network: String,
    /// The country (ISO 3166-1 alpha-2).
    pub country: Option<String>,
    /// The number of the network's operator (autonomous system).
    pub asn: Option<u32>,
    /// Where it is; `None` too for an address that is used to hide where one is.
    pub fix: Option<Fix>,
}

/// The files that say where addresses are, in memory.
#[derive(Default)]
pub struct Geo {
    places: Option<Reader<Vec<u8>>>,
    operators: Option<Reader<Vec<u8>>>,
    anonymizers: Vec<IpNet>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PlaceRecord {
    country: CountryRecord,
    location: LocationRecord,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CountryRecord {
    iso_code: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LocationRecord {
    latitude: Option<f64>,
    longitude: Option<f64>,
    accuracy_radius: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OperatorRecord {
    autonomous_system_number: Option<u32>,
}

impl Geo {
    /// Loads the files that are configured.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn open(config: &unusual::Geo) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let country = config.country_file.as_deref().map(|file| database("geo.country_file", file));
        let operator = config.asn_file.as_deref().map(|file| database("geo.asn_file", file));
        let anonymizers = config.anonymizers_file.as_deref().map(networks);
        let geo = Self {
            places: country.and_then(|read| problems.take(read)),
            operators: operator.and_then(|read| problems.take(read)),
            anonymizers: anonymizers.and_then(|read| problems.take(read)).unwrap_or_default(),
        };
        problems.none_or(geo)
    }

    /// What is known of where `address` is.
    pub fn place(&self, address: IpAddr) -> Place {
        let address = address.to_canonical();
        let record: PlaceRecord = found(self.places.as_ref(), address);
        let operator: OperatorRecord = found(self.operators.as_ref(), address);
        let LocationRecord { latitude, longitude, accuracy_radius } = record.location;
        let hidden = self.anonymizers.iter().any(|network| network.contains(&address));
        let fix = match (latitude, longitude, accuracy_radius) {
            (Some(latitude), Some(longitude), Some(radius)) if !hidden => {
                Some(Fix { latitude, longitude, radius })
            }
            _ => None,
        };
        Place {
            network: network(address),
            country: record.country.iso_code,
            asn: operator.autonomous_system_number,
            fix,
        }
    }

    /// Where a network is, by its first address.
    pub fn fix_of(&self, network: &str) -> Option<Fix> {
        self.places.as_ref()?;
        self.place(network.parse::<IpNet>().ok()?.addr()).fix
    }

    /// What cannot be told for want of a file, in words for the start-up report.
    pub fn blind_spots(&self) -> Option<&'static str> {
        match (&self.places, &self.operators) {
            (Some(_), Some(_)) => None,
            (None, _) => Some("no geo.country_file: a sign-in from a new country is not noticed (R5, R8)"),
            (Some(_), None) => Some("no geo.asn_file: a sign-in from a new country is not noticed (R5)"),
        }
    }
}

/// The prefix of the network that an address belongs to.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/{V4_PREFIX}", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/{V6_PREFIX}", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

fn found<'d, T: Default + Deserialize<'d>>(reader: Option<&'d Reader<Vec<u8>>>, address: IpAddr) -> T {
    // A record of another shape is no record.
    reader.and_then(|reader| reader.lookup(address).ok()?.decode().ok()).flatten().unwrap_or_default()
}

fn database(key: &str, file: &Path) -> Result<Reader<Vec<u8>>, Problems> {
    let named = |what: String| {
        Problems::one(
            key,
            format!("{}: {what}", file.display()),
            "name a file of the MaxMind DB format (.mmdb)",
        )
    };
    let bytes = std::fs::read(file).map_err(|error| named(error.to_string()))?;
    Reader::from_source(bytes).map_err(|error| named(error.to_string()))
}

/// One network or address a line; `#` begins a comment.
fn networks(file: &Path) -> Result<Vec<IpNet>, Problems> {
    let named = |what: String| {
        let what = format!("{}: {what}", file.display());
        Problems::one("geo.anonymizers_file", what, "name a file with a network or an address in each line")
    };
    let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(|line| {
            let address = || line.parse::<IpAddr>().map(IpNet::from);
            line.parse().or_else(|_| address()).map_err(|_| named(format!("{line:?} is no network")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_24_or_a_48_however_the_address_is_written() {
        for (address, expected) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ] {
            assert_eq!(network(address.parse().expect("an address")), expected);
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("some.file");
        let country = unusual::Geo { country_file: Some(path.clone()), ..unusual::Geo::default() };
        let hidden = unusual::Geo { anonymizers_file: Some(path.clone()), ..unusual::Geo::default() };
        let says = |config| Geo::open(config).err().map(|problems| problems.to_string()).unwrap_or_default();
        assert!(says(&country).contains("some.file") && says(&hidden).contains("some.file"));
        std::fs::write(&path, "198.51.100.0/24\nno network\n").expect("written");
        assert!(says(&country).contains("some.file") && says(&hidden).contains("no network"));
    }

    #[test]
    fn without_files_only_the_network_is_known() {
        let place = Geo::default().place(IpAddr::from([192, 0, 2, 1]));
        let expected = Place { network: "192.0.2.0/24".to_owned(), country: None, asn: None, fix: None };
        assert_eq!(place, expected);
    }
}
