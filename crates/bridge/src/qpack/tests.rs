//! The examples of RFC 9204 appendix B that need no dynamic table, every kind of line, every error.

use super::*;
use crate::message::{Fields, Known, Name};

const ROOM: usize = 4096;

fn lines(fields: &Fields) -> Vec<(String, String, bool)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| (text(field.name.as_bytes()), text(field.value), field.sensitive)).collect()
}

fn decoded(section: &[u8]) -> Result<Vec<(String, String, bool)>, Error> {
    let mut fields = Fields::new();
    decode(section, &mut fields, ROOM).map(|()| lines(&fields))
}

fn line(name: &str, value: &str) -> (String, String, bool) {
    (name.to_owned(), value.to_owned(), false)
}

#[test]
fn example_of_the_rfc() {
    // Appendix B.1: literal with a name from the static table.
    let section = b"\x00\x00\x51\x0b/index.html";
    assert_eq!(decoded(section), Ok(vec![line(":path", "/index.html")]));
}

#[test]
fn every_kind_of_line() {
    let section = [
        &[0, 0, 0xd1][..],   // indexed, static 17
        &[0xff, 0x00],       // indexed, static 63, two bytes
        &[0x5f, 0x50, 0x03], // name 95 (user-agent), plain value
        b"abc",
        &[0x71, 0x82, 0x64, 0x02], // never indexed: name 1, Huffman value "302"
        &[0x27, 0x00],             // literal name of 7 bytes, plain
        b"x-plain\x01v",
        &[0x2f, 0x01, 0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xa9, 0x7d, 0x7f, 0x00], // Huffman name "custom-key", empty value
        b"\x36accept\x00",                                                   // never indexed, a known name spelled out
    ]
    .concat();
    let mut expected = vec![
        line(":method", "GET"),
        line(":status", "100"),
        line("user-agent", "abc"),
        line(":path", "302"),
        line("x-plain", "v"),
        line("custom-key", ""),
        line("accept", ""),
    ];
    expected[3].2 = true;
    expected[6].2 = true;
    assert_eq!(decoded(&section), Ok(expected));
    let mut fields = Fields::new();
    decode(&section, &mut fields, ROOM).unwrap();
    assert_eq!(fields.iter().last().unwrap().name, Name::Known(Known::Accept), "recognised");
}

#[test]
fn errors() {
    let cases = [
        (&[][..], Error::Truncated, "no prefix"),
        (&[0], Error::Truncated, "half a prefix"),
        (&[2, 0], Error::Dynamic, "required insert count"),
        (&[0, 0x80], Error::Base, "negative base"),
        (&[0, 0x7f], Error::Truncated, "base in pieces"),
        (&[0, 0, 0x80], Error::Dynamic, "indexed, dynamic"),
        (&[0, 0, 0x10], Error::Dynamic, "indexed, post-base"),
        (&[0, 0, 0x40, 0], Error::Dynamic, "name reference, dynamic"),
        (&[0, 0, 0x00, 0], Error::Dynamic, "name reference, post-base"),
        (&[0, 0, 0xff, 0x24], Error::StaticIndex, "index 99"),
        (&[0, 0, 0x5f, 0x54, 0], Error::StaticIndex, "name index 99"),
        (&[0, 0, 0xff], Error::Truncated, "index in pieces"),
        (&[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], Error::Integer, "index of 64 bits"),
        (&[0, 0, 0x51], Error::Truncated, "no value"),
        (&[0, 0, 0x51, 0x02, b'/'], Error::Truncated, "half a value"),
        (&[0, 0, 0x23, b'a'], Error::Truncated, "half a name"),
        (&[0, 0, 0x51, 0x81, 0x00], Error::Huffman, "padding of zeros"),
        (&[0, 0, 0x29, 0xff, 0x00], Error::Huffman, "a name of padding"),
    ];
    for (section, error, what) in cases {
        assert_eq!(decoded(section), Err(error), "{what}");
        assert_eq!(error.to_string(), error.reason());
    }
    assert_eq!(decoded(&[0, 5]), Ok(vec![]), "any base that is not negative");
    assert_eq!(decoded(&[0, 0]), Ok(vec![]));
}

#[test]
fn the_limit_counts_names_and_values() {
    let section = b"\x00\x00\xd1\x51\x0b/index.html"; // :method GET, :path /index.html
    let size = 7 + 3 + 5 + 11;
    let mut fields = Fields::new();
    assert_eq!(decode(section, &mut fields, size), Ok(()));
    assert_eq!(decode(section, &mut Fields::new(), size - 1), Err(Error::TooLarge));
    let coded = [&[0x00, 0x00, 0x51, 0x88][..], &[0x60, 0xd5, 0x48, 0x5f, 0x2b, 0xce, 0x9a, 0x68]].concat(); // the same path
    let twice = [&coded[..], &coded[2..]].concat();
    for limit in [31, 32] {
        let outcome = if limit < 32 { Err(Error::TooLarge) } else { Ok(()) };
        assert_eq!(decode(&twice, &mut Fields::new(), limit), outcome, "Huffman strings count as they are decoded");
    }
    let long = [&[0x00, 0x00, 0x27, 0x80, 0x80, 0x04][..], &vec![b'n'; 65_543], &[0]].concat();
    assert_eq!(decode(&long, &mut Fields::new(), usize::MAX), Err(Error::TooLarge), "a name beyond 64 KiB");
}

#[test]
fn never_indexed_fields_stay_never_indexed() {
    let section = [0, 0, 0x71, 1, b'/']; // a path of which the static table has all
    let mut fields = Fields::new();
    decode(&section, &mut fields, ROOM).unwrap();
    let mut again = Vec::new();
    encode(None, &fields, &mut again);
    assert_eq!(again, section);
}

#[test]
fn encoded_strings_decode_to_the_same() {
    let mut fields = Fields::new();
    let long = "value ".repeat(200);
    fields.push(Known::ContentType, b"text/plain"); // whole in the table
    fields.push(Known::ContentType, b"text/x-own"); // name in the table
    fields.push(Known::Via, b"2.0 a"); // name known, not in the table
    fields.push(Name::from_bytes(b"x-own"), b"");
    fields.push(Name::from_bytes(b"x-long"), long.as_bytes());
    fields.push(Name::from_bytes(b"x-bytes"), &[0x80, 0xff].repeat(600)); // Huffman would be longer
    let mut writer = fields.begin_field();
    writer.known(Known::SetCookie);
    writer.arena().extend_from_slice(b"secret=1");
    writer.finish(true);
    let mut writer = fields.begin_field();
    writer.arena().extend_from_slice(b"x-secret");
    writer.end_name();
    writer.finish(true);
    let room = 2 * ROOM;
    for status in [100, 103, 200, 204, 302, 404, 418, 503, 999] {
        let mut section = Vec::new();
        encode(Some(status), &fields, &mut section);
        let mut back = Fields::new();
        decode(&section, &mut back, room).unwrap();
        let status = line(":status", &status.to_string());
        assert_eq!(lines(&back), [vec![status], lines(&fields)].concat());
        assert!(section.len() < fields.size(), "shorter than the text");
    }
    let mut ok = Vec::new();
    encode(Some(200), &Fields::new(), &mut ok);
    assert_eq!(ok, [0, 0, 0xd9]);
}
