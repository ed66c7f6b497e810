//! What is read of a certificate besides its names: from when and until when it is good (RFC 5280 §4.1.2.5), and whether it is one of
//! an authority (§4.2.1.9); and of a list of revoked ones, until when it is good (§5.1.2.5).

use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// `YYMMDDHHMMSSZ` after the century.
const TIME: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day][hour][minute][second]Z");

/// SEQUENCE
const SEQUENCE: u8 = 0x30;
/// `[0]`: the version, which may be left out.
const VERSION: u8 = 0xa0;
/// `[3]`: the extensions.
const EXTENSIONS: u8 = 0xa3;
/// OBJECT IDENTIFIER
const OBJECT: u8 = 0x06;
/// BOOLEAN
const BOOLEAN: u8 = 0x01;
/// OCTET STRING
const OCTETS: u8 = 0x04;
/// 2.5.29.19: the basic constraints.
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
/// `UTCTime`: a year of two digits.
const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`: a year of four digits.
const GENERALIZED_TIME: u8 = 0x18;

/// Whether somebody else's certificate may be issued by this one. One of the first version does not say, and may.
pub(super) fn is_authority(certificate: &[u8]) -> bool {
    let Some((body, true)) = body(certificate) else { return true };
    let constraints = || {
        // Serial number, signature algorithm, issuer, validity, subject, public key.
        let (_, mut rest) = of_tag(body, VERSION)?;
        for _ in 0..6 {
            (_, _, rest) = element(rest)?;
        }
        // Between them and the extensions there may be ids that nobody uses.
        while let Some((tag, value, behind)) = element(rest) {
            if tag == EXTENSIONS {
                return basic_constraints(of_tag(value, SEQUENCE)?.0);
            }
            rest = behind;
        }
        None
    };
    constraints().and_then(|constraints| of_tag(constraints, BOOLEAN)).is_some_and(|(value, _)| value != [0])
}

/// What stands in the sequence of the basic constraints, if they are among these extensions.
fn basic_constraints(mut extensions: &[u8]) -> Option<&[u8]> {
    loop {
        let (_, extension, rest) = element(extensions)?;
        let (name, behind) = of_tag(extension, OBJECT)?;
        if name == BASIC_CONSTRAINTS {
            let value = of_tag(behind, BOOLEAN).map_or(behind, |(_, value)| value);
            return Some(of_tag(of_tag(value, OCTETS)?.0, SEQUENCE)?.0);
        }
        extensions = rest;
    }
}

/// What is signed of a certificate, and whether it says its version.
fn body(certificate: &[u8]) -> Option<(&[u8], bool)> {
    let (certificate, _) = of_tag(certificate, SEQUENCE)?;
    let (body, _) = of_tag(certificate, SEQUENCE)?;
    Some((body, of_tag(body, VERSION).is_some()))
}

/// From when this certificate is good, in seconds since the epoch. `None` if it is no certificate.
pub(super) fn not_before(certificate: &[u8]) -> Option<i64> {
    moment(validity(certificate)?)
}

/// Until when this certificate is good, in seconds since the epoch. `None` if it is no certificate.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (_, _, not_after) = element(validity(certificate)?)?;
    moment(not_after)
}

/// The two times between which a certificate is good.
fn validity(certificate: &[u8]) -> Option<&[u8]> {
    let (body, _) = body(certificate)?;
    let after_version = of_tag(body, VERSION).map_or(body, |(_, rest)| rest);
    // Serial number, signature algorithm, issuer.
    let mut rest = after_version;
    for _ in 0..3 {
        (_, _, rest) = element(rest)?;
    }
    Some(of_tag(rest, SEQUENCE)?.0)
}

/// When the next list follows a list of revoked certificates (RFC 5280 §5.1.2.5), in seconds since the epoch. `None` if
/// it does not say, or is no such list.
pub(super) fn next_update(list: &[u8]) -> Option<i64> {
    let (list, _) = of_tag(list, SEQUENCE)?;
    let (body, _) = of_tag(list, SEQUENCE)?;
    // Version, signature algorithm, issuer, this update.
    let mut rest = body;
    for _ in 0..4 {
        (_, _, rest) = element(rest)?;
    }
    moment(rest)
}

/// The time that stands first, in seconds since the epoch (RFC 5280 §4.1.2.5).
fn moment(bytes: &[u8]) -> Option<i64> {
    let (tag, value, _) = element(bytes)?;
    let digits = std::str::from_utf8(value).ok()?;
    let text = match tag {
        // Below 50 it is of this century (RFC 5280 §4.1.2.5.1).
        UTC_TIME if digits.as_bytes().first()? < &b'5' => format!("20{digits}"),
        UTC_TIME => format!("19{digits}"),
        GENERALIZED_TIME => digits.to_owned(),
        _ => return None,
    };
    let at = PrimitiveDateTime::parse(&text, TIME).ok()?;
    Some(at.assume_utc().unix_timestamp())
}

/// The value of the first element if it has this tag, and what follows it.
fn of_tag(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, value, rest) = element(bytes)?;
    (tag == wanted).then_some((value, rest))
}

/// Tag and value of the first element, and what follows it (X.690 §8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, mut bytes) = bytes.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let (digits, rest) = bytes.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > size_of::<u32>() {
            return None;
        }
        length = digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit));
        bytes = rest;
    }
    let (value, rest) = bytes.split_at_checked(length)?;
    Some((tag, value, rest))
}

#[cfg(test)]
mod tests {
    use time::{Date, Time};

    use super::*;

    fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut out =
            vec![tag, 0x82, u8::try_from(value.len() >> 8).expect("short"), value.len().to_be_bytes()[7]];
        out.extend_from_slice(value);
        out
    }

    fn certificate(tag: u8, not_after: &str) -> Vec<u8> {
        let validity = [tlv(UTC_TIME, b"250101000000Z"), tlv(tag, not_after.as_bytes())].concat();
        let body = [
            tlv(VERSION, &tlv(2, &[2])),
            tlv(2, &[1; 300]),
            tlv(SEQUENCE, b"algorithm"),
            tlv(SEQUENCE, b"issuer"),
            tlv(SEQUENCE, &validity),
        ];
        tlv(SEQUENCE, &tlv(SEQUENCE, &body.concat()))
    }

    #[test]
    fn both_forms_of_a_time_are_read_and_nothing_else_is() {
        let expect = |date: Date| date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp();
        let date = |year| expect(Date::from_calendar_date(year, time::Month::February, 3).expect("a date"));
        assert_eq!(not_after(&certificate(UTC_TIME, "300203000000Z")), Some(date(2030)));
        assert_eq!(not_after(&certificate(UTC_TIME, "990203000000Z")), Some(date(1999)));
        assert_eq!(not_after(&certificate(GENERALIZED_TIME, "20500203000000Z")), Some(date(2050)));
        assert_eq!(not_after(&certificate(2, "300203000000Z")), None);
        let january = expect(Date::from_calendar_date(2025, time::Month::January, 1).expect("a date"));
        assert_eq!(not_before(&certificate(UTC_TIME, "300203000000Z")), Some(january));
        let list = [
            tlv(2, &[1]),
            tlv(SEQUENCE, b"algorithm"),
            tlv(SEQUENCE, b"issuer"),
            tlv(UTC_TIME, b"250101000000Z"),
            tlv(UTC_TIME, b"300203000000Z"),
        ];
        let list = tlv(SEQUENCE, &tlv(SEQUENCE, &list.concat()));
        assert_eq!(next_update(&list), Some(date(2030)));
        assert!((0..list.len()).all(|end| next_update(&list[..end]).is_none()));
        let good = certificate(UTC_TIME, "300203000000Z");
        for end in 0..good.len() {
            assert_eq!(not_after(&good[..end]), None);
            let _ = is_authority(&good[..end]);
        }
        assert_eq!(not_after(&[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1]), None);
    }
}
