//! The subject of a certificate as Java writes it (RFC 2253): principals, mapping rules and ACLs of
//! Apache Kafka are written in this form.

use std::fmt::Write;

/// Attributes that have a word; all others stand as the number of their type and `#` with their
/// bytes.
const WORDS: &[(&[u8], &str)] = &[
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
];

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const T61: u8 = 0x14;
const IA5: u8 = 0x16;
const GENERAL: u8 = 0x1b;
const BMP: u8 = 0x1e;
const UNIVERSAL: u8 = 0x1c;
const VERSION: u8 = 0xa0;

/// The certificate is not DER, or has a subject that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the subject of the certificate cannot be read")]
pub struct NameError;

/// One value of DER: its tag, its contents, and all of its bytes.
struct Value<'a> {
    tag: u8,
    contents: &'a [u8],
    whole: &'a [u8],
}

/// The first value of the bytes, and what follows.
fn value(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), NameError> {
    let (&tag, rest) = bytes.split_first().ok_or(NameError)?;
    let (&first, rest) = rest.split_first().ok_or(NameError)?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Four bytes of length are more than a certificate has; 0x80 is no length.
        0x81..=0x84 => {
            let (len, rest) = rest.split_at_checked(usize::from(first & 0x7f)).ok_or(NameError)?;
            (len.iter().fold(0usize, |len, byte| len << 8 | usize::from(*byte)), rest)
        }
        _ => return Err(NameError),
    };
    let (contents, rest) = rest.split_at_checked(len).ok_or(NameError)?;
    let whole = &bytes[..bytes.len() - rest.len()];
    Ok((Value { tag, contents, whole }, rest))
}

fn expect(bytes: &[u8], tag: u8) -> Result<(&[u8], &[u8]), NameError> {
    let (value, rest) = value(bytes)?;
    if value.tag == tag { Ok((value.contents, rest)) } else { Err(NameError) }
}

/// The subject of a certificate in DER.
pub(crate) fn subject(certificate: &[u8]) -> Result<String, NameError> {
    let (certificate, _) = expect(certificate, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        (_, fields) = value(fields)?;
    }
    // Serial number, algorithm, issuer, validity.
    for _ in 0..4 {
        (_, fields) = value(fields)?;
    }
    let (subject, _) = expect(fields, SEQUENCE)?;
    name(subject)
}

/// The parts stand in the opposite order.
fn name(mut rest: &[u8]) -> Result<String, NameError> {
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (set, after) = expect(rest, SET)?;
        parts.push(part(set)?);
        rest = after;
    }
    parts.reverse();
    Ok(parts.join(","))
}

fn part(mut rest: &[u8]) -> Result<String, NameError> {
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        let (attribute, after) = expect(rest, SEQUENCE)?;
        let (oid, bytes) = expect(attribute, OID)?;
        attributes.push(format_attribute(oid, &value(bytes)?.0)?);
        rest = after;
    }
    Ok(attributes.join("+"))
}

fn format_attribute(oid: &[u8], value: &Value<'_>) -> Result<String, NameError> {
    let word = WORDS.iter().find(|(known, _)| *known == oid).map(|(_, word)| *word);
    match (word, text(value)?) {
        (Some(word), Some(text)) => Ok(format!("{word}={}", escaped(&text))),
        (word, _) => {
            let mut out = word.map_or_else(|| numbers(oid), |word| Ok(word.to_owned()))?;
            out.push_str("=#");
            for byte in value.whole {
                let _ = write!(out, "{byte:02x}");
            }
            Ok(out)
        }
    }
}

/// `None`: it is no text.
fn text(value: &Value<'_>) -> Result<Option<String>, NameError> {
    let latin = || value.contents.iter().map(|byte| char::from(*byte)).collect();
    Ok(Some(match value.tag {
        UTF8 => String::from_utf8(value.contents.to_vec()).map_err(|_| NameError)?,
        PRINTABLE | T61 | IA5 | GENERAL => latin(),
        BMP => {
            let units = value.contents.chunks(2).map(|pair| match pair {
                [high, low] => Ok(u16::from_be_bytes([*high, *low])),
                _ => Err(NameError),
            });
            let units = units.collect::<Result<Vec<u16>, NameError>>()?;
            String::from_utf16(&units).map_err(|_| NameError)?
        }
        UNIVERSAL => return Err(NameError),
        _ => return Ok(None),
    }))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let inner = text.trim_matches(' ');
    let (before, after) = match inner.is_empty() {
        true => (text.len(), 0),
        false => (text.len() - text.trim_start_matches(' ').len(), {
            text.len() - text.trim_end_matches(' ').len()
        }),
    };
    out.push_str(&"\\ ".repeat(before));
    for c in inner.chars() {
        match c {
            ',' | '=' | '+' | '<' | '>' | '#' | ';' | '"' | '\\' => out.extend(['\\', c]),
            '\0' => out.push_str("\\00"),
            c => out.push(c),
        }
    }
    out.push_str(&"\\ ".repeat(after));
    out
}

/// The type of an attribute in numbers: `1.2.840`.
fn numbers(oid: &[u8]) -> Result<String, NameError> {
    let mut all: Vec<u64> = Vec::new();
    let mut number: u64 = 0;
    for byte in oid {
        number = number.checked_mul(128).ok_or(NameError)? | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            match all.is_empty() {
                // The first two numbers are one.
                true => {
                    let first = (number / 40).min(2);
                    all.extend([first, number - first * 40]);
                }
                false => all.push(number),
            }
            number = 0;
        }
    }
    let all: Vec<String> = all.iter().map(u64::to_string).collect();
    Ok(all.join("."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    /// The names and their bytes as `X500Principal` of Java 17 has them.
    #[test]
    fn names_are_written_as_java_writes_them() {
        let from_java = [
            (
                "CN=alice,OU=eng,O=acme,C=DE",
                "303a310b3009060355040613024445310d300b060355040a130461636d65310c300a060355040b13\
                 03656e67310e300c06035504031305616c696365",
            ),
            (
                r#"CN=a\,b\+c\=d\<e\>f\;g\"h\\i\#j,O=lead trail"#,
                "303331133011060355040a130a6c65616420747261696c311c301a06035504030c13612c622b633d\
                 643c653e663b6722685c69236a",
            ),
            (
                "1.2.840.113549.1.9.1=#16057840792e7a,CN=q",
                "3022310a300806035504031301713114301206092a864886f70d01090116057840792e7a",
            ),
            (
                "CN=ünï ©,L=x,ST=y,STREET=z,DC=com,UID=u1",
                "306031123010060a0992268993f22c6401011302753131133011060a0992268993f22c6401191603\
                 636f6d310a3008060355040913017a310a30080603550408130179310a3008060355040713017831\
                 11300f06035504030c08c3bc6ec3af20c2a9",
            ),
            (
                "CN=a+OU=b,O=c",
                "3022310a3008060355040a1301633114300806035504031301613008060355040b130162",
            ),
            (
                "2.5.4.5=#13023132,2.5.4.12=#13027469,CN=a",
                "3026310a30080603550403130161310b3009060355040c13027469310b3009060355040513023132",
            ),
        ];
        for (name, der) in from_java {
            let der = bytes(der);
            let written = expect(&der, SEQUENCE).and_then(|(contents, _)| super::name(contents));
            assert_eq!(written.unwrap(), name);
        }
    }

    /// Any byte of a name may be any other, and any length may lie.
    #[test]
    fn a_name_with_a_wrong_byte_is_read_or_refused() {
        let der = bytes(
            "303331133011060355040a130a6c65616420747261696c311c301a06035504030c13612c622b633d643c65\
             3e663b6722685c69236a",
        );
        for at in 0..der.len() {
            for byte in 0..=u8::MAX {
                let mut wrong = der.clone();
                wrong[at] = byte;
                let _ = expect(&wrong, SEQUENCE).and_then(|(contents, _)| name(contents));
                let _ = name(&wrong[at..]);
            }
        }
    }

    #[test]
    fn no_bytes_are_too_strange() {
        assert_eq!(subject(&[]), Err(NameError));
        assert_eq!(subject(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), Err(NameError));
        assert_eq!(name(&[SET, 2, SEQUENCE, 9]), Err(NameError));
        assert_eq!(escaped("  "), "\\ \\ ");
        assert_eq!(escaped(" a "), "\\ a\\ ");
    }
}
