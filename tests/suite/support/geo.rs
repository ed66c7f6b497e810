//! Files that say where addresses are, made by the test that needs them (`MaxMind` DB format 2.0).

use std::net::Ipv4Addr;

/// What a file knows of a network.
pub(crate) enum Value {
    Text(&'static str),
    Float(f64),
    Short(u16),
    Number(u32),
    Map(Vec<(&'static str, Value)>),
}

use Value::{Float, Map, Number, Short, Text};

/// Bytes of a node: two records of 24 bits.
const NODE: usize = 6;
/// Between the tree and the data.
const GAP: usize = 16;

/// A country with a position.
pub(crate) fn country(code: &'static str, latitude: f64, longitude: f64) -> Value {
    let at =
        vec![("latitude", Float(latitude)), ("longitude", Float(longitude)), ("accuracy_radius", Short(20))];
    Map(vec![("country", Map(vec![("iso_code", Text(code))])), ("location", Map(at))])
}

/// The operator of a network.
pub(crate) fn operator(number: u32) -> Value {
    Map(vec![("autonomous_system_number", Number(number))])
}

/// A file that knows these /24 networks, each named by its first address.
pub(crate) fn file(networks: &[(Ipv4Addr, Value)]) -> Vec<u8> {
    let mut nodes: Vec<[Option<usize>; 2]> = vec![[None; 2]];
    let mut leaves: Vec<(usize, usize, usize)> = Vec::new();
    let mut data = Vec::new();
    for (network, value) in networks {
        let bits = network.to_bits();
        let side = |bit: u32| usize::from(bits >> (31 - bit) & 1 == 1);
        let mut node = 0;
        for bit in 0..23 {
            let next = nodes[node][side(bit)].unwrap_or_else(|| {
                nodes.push([None; 2]);
                nodes.len() - 1
            });
            nodes[node][side(bit)] = Some(next);
            node = next;
        }
        leaves.push((node, side(23), data.len()));
        write(value, &mut data);
    }
    let count = nodes.len();
    let mut records: Vec<[usize; 2]> =
        nodes.iter().map(|sides| sides.map(|next| next.unwrap_or(count))).collect();
    for (node, side, at) in leaves {
        records[node][side] = count + GAP + at;
    }
    let mut out = Vec::with_capacity(count * NODE);
    for record in records.iter().flatten() {
        let bytes = u32::try_from(*record).expect("a small file").to_be_bytes();
        out.extend_from_slice(&bytes[1..]);
    }
    out.extend_from_slice(&[0; GAP]);
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    write_metadata(u32::try_from(count).expect("a small file"), &mut out);
    out
}

fn write_metadata(count: u32, out: &mut Vec<u8>) {
    head(7, 9, out);
    for (key, value) in [
        ("node_count", Number(count)),
        ("record_size", Short(24)),
        ("ip_version", Short(4)),
        ("database_type", Text("Test")),
        ("binary_format_major_version", Short(2)),
        ("binary_format_minor_version", Short(0)),
        ("description", Map(Vec::new())),
    ] {
        write(&Text(key), out);
        write(&value, out);
    }
    write(&Text("languages"), out);
    out.extend_from_slice(&[0, 4]);
    write(&Text("build_epoch"), out);
    out.extend_from_slice(&[0, 2]);
}

fn head(kind: u8, size: usize, out: &mut Vec<u8>) {
    assert!(size < 29, "short values only");
    out.push(kind << 5 | u8::try_from(size).expect("short"));
}

fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Text(text) => {
            head(2, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Float(number) => {
            head(3, 8, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Short(number) => {
            head(5, 2, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Number(number) => {
            head(6, 4, out);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Map(pairs) => {
            head(7, pairs.len(), out);
            for (key, value) in pairs {
                write(&Text(key), out);
                write(value, out);
            }
        }
    }
}
