//! The examples of RFC 7541 appendix C.4 and C.6, every byte value, and invalid endings.

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decoded(src: &[u8]) -> Result<Vec<u8>, HuffmanError> {
    let mut out = Vec::new();
    decode(src, &mut out).map(|()| out)
}

fn encoded(src: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(src, &mut out);
    out
}

#[test]
fn examples_of_the_rfc() {
    let examples = [
        ("www.example.com", "f1e3 c2e5 f23a 6ba0 ab90 f4ff"),
        ("no-cache", "a8eb 1064 9cbf"),
        ("custom-key", "25a8 49e9 5ba9 7d7f"),
        ("custom-value", "25a8 49e9 5bb8 e8b4 bf"),
        ("302", "6402"),
        ("private", "aec3 771a 4b"),
        ("Mon, 21 Oct 2013 20:13:21 GMT", "d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff"),
        ("https://www.example.com", "9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3"),
        ("307", "640e ff"),
        ("gzip", "9bd9 ab"),
        (
            "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ),
    ];
    for (plain, code) in examples {
        assert_eq!(encoded(plain.as_bytes()), hex(code), "{plain}");
        assert_eq!(encoded_len(plain.as_bytes()), hex(code).len(), "{plain}");
        assert_eq!(decoded(&hex(code)).unwrap(), plain.as_bytes(), "{plain}");
    }
}

#[test]
fn the_code_is_the_one_of_the_appendix() {
    // Spot checks over all lengths, as written in appendix B: byte, code, bits.
    let spots = [
        (b'0', 0x0, 5),
        (b't', 0x9, 5),
        (b' ', 0x14, 6),
        (b'u', 0x2d, 6),
        (b':', 0x5c, 7),
        (b'z', 0x7b, 7),
        (b'&', 0xf8, 8),
        (b'?', 0x3fc, 10),
        (b'|', 0x7fc, 11),
        (b'#', 0xffa, 12),
        (b'~', 0x1ffd, 13),
        (b'^', 0x3ffc, 14),
        (b'{', 0x7ffe, 15),
        (b'\\', 0x7fff0, 19),
        (0x80, 0xfffe6, 20),
        (1, 0x007f_ffd8, 23),
        (0xff, 0x03ff_ffee, 26),
        (0xf9, 0x0fff_fffe, 28),
        (22, 0x3fff_fffe, 30),
    ];
    for (byte, code, bits) in spots {
        assert_eq!((at(&CODE_OF, byte), at(&LENGTH_OF, byte)), (code, bits), "{byte:#x}");
    }
}

#[test]
fn every_byte_in_every_position_comes_back() {
    for byte in 0..=255u8 {
        for before in 0..24usize {
            let mut plain = vec![b'a'; before];
            plain.extend([byte, b'Z', byte]);
            plain.extend(vec![b'0'; before % 5]);
            assert_eq!(decoded(&encoded(&plain)).unwrap(), plain, "byte {byte:#x} after {before}");
        }
    }
    let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    assert_eq!(decoded(&encoded(&all)).unwrap(), all);
    assert_eq!(decoded(b"").unwrap(), b"");
}

#[test]
fn bad_endings() {
    // '0' is 00000: three bits of padding follow.
    assert_eq!(decoded(&[0b0000_0111]).unwrap(), b"0");
    assert_eq!(decoded(&[0b0000_0110]), Err(HuffmanError::Padding), "not all ones");
    assert_eq!(decoded(&[0b0000_0111, 0xff]), Err(HuffmanError::Padding), "longer than seven bits");
    assert_eq!(decoded(&[0xff]), Err(HuffmanError::Padding), "a whole byte of padding");
    assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(HuffmanError::Eos), "EOS itself");
    let mut long = encoded(b"a string well beyond eight bytes");
    long.push(0xff);
    assert_eq!(decoded(&long), Err(HuffmanError::Padding));
    let mut eos = encoded(b"01234567"); // 40 bits + 6: ends inside a byte
    eos.splice(0..0, [0xff; 4]);
    eos.extend([0; 8]);
    assert_eq!(decoded(&eos), Err(HuffmanError::Eos), "EOS away from the end");
}
