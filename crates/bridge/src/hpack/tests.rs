//! The examples of RFC 7541 appendix C, malformed blocks, and the encoder against the decoder.

use super::{Decoder, Encoder, Error, SkipState};
use crate::{
    integer,
    message::{Field, Fields, Known, Name},
};

const MAX_SECTION: usize = 65_536;

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
    let mut fields = Fields::new();
    assert!(decoder.decode(block, &mut fields, MAX_SECTION)?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(fields.iter().map(|field| (text(field.name.as_bytes()), text(field.value))).collect())
}

/// Decodes blocks in order with one decoder: their bytes, the fields, the size of the table afterwards.
type Vector = (&'static str, &'static [(&'static str, &'static str)], usize);

fn replay(table_size: Option<&str>, vectors: &[Vector]) {
    let mut decoder = Decoder::new(4096);
    if let Some(update) = table_size {
        assert_eq!(decode(&mut decoder, &hex(update)), Ok(vec![]));
    }
    for (block, expected, size) in vectors {
        let fields = decode(&mut decoder, &hex(block)).unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(fields, *expected, "{block}");
        assert_eq!(decoder.table_size(), *size, "{block}");
    }
}

#[test]
fn rfc_7541_c_2_single_field_lines() {
    replay(None, &[("400a637573746f6d2d6b65790d637573746f6d2d686561646572", &[("custom-key", "custom-header")], 55)]);
    replay(None, &[("040c2f73616d706c652f70617468", &[(":path", "/sample/path")], 0)]);
    replay(None, &[("82", &[(":method", "GET")], 0)]);
    let mut fields = Fields::new();
    let block = hex("100870617373776f726406736563726574");
    assert_eq!(Decoder::new(4096).decode(&block, &mut fields, MAX_SECTION), Ok(true));
    let secret = Field { name: Name::Other(b"password"), value: b"secret", sensitive: true };
    assert_eq!(fields.iter().collect::<Vec<_>>(), [secret]);
}

const REQUESTS: [&[(&str, &str)]; 3] = [
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    &[
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    &[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
];

#[test]
fn rfc_7541_c_3_and_c_4_requests() {
    let [first, second, third] = REQUESTS;
    replay(
        None,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", first, 57),
            ("828684be58086e6f2d6361636865", second, 110),
            ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", third, 164),
        ],
    );
    replay(
        None,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", first, 57),
            ("828684be5886a8eb10649cbf", second, 110),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", third, 164),
        ],
    );
}

const DATE: &str = "Mon, 21 Oct 2013 20:13:21 GMT";
const RESPONSES: [&[(&str, &str)]; 3] = [
    &[(":status", "302"), ("cache-control", "private"), ("date", DATE), ("location", "https://www.example.com")],
    &[(":status", "307"), ("cache-control", "private"), ("date", DATE), ("location", "https://www.example.com")],
    &[
        (":status", "200"),
        ("cache-control", "private"),
        ("date", "Mon, 21 Oct 2013 20:13:22 GMT"),
        ("location", "https://www.example.com"),
        ("content-encoding", "gzip"),
        ("set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
];

#[test]
fn rfc_7541_c_5_and_c_6_responses_with_evictions() {
    let [first, second, third] = RESPONSES;
    replay(
        Some("3fe101"),
        &[
            (
                "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d546e1768747470733a\
                 2f2f7777772e6578616d706c652e636f6d",
                first,
                222,
            ),
            ("4803333037c1c0bf", second, 222),
            (
                "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b4851\
                 4b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
                third,
                215,
            ),
        ],
    );
    replay(
        Some("3fe101"),
        &[
            (
                "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43\
                 d3",
                first,
                222,
            ),
            ("4883640effc1c0bf", second, 222),
            (
                "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27\
                 087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                third,
                215,
            ),
        ],
    );
}

#[test]
fn malformed_blocks_are_rejected() {
    for (block, error) in [
        ("80", Error::Index),     // index 0
        ("be", Error::Index),     // first dynamic entry of an empty table
        ("7f00", Error::Index),   // literal whose name is that entry plus one
        ("ff", Error::Truncated), // integer without its end
        ("ffffffffffffffffffffff", Error::Integer),
        ("40", Error::Truncated),         // no name
        ("400161", Error::Truncated),     // no value
        ("40056162", Error::Truncated),   // name longer than the block
        ("0481ff", Error::Huffman),       // padding of eight bits
        ("048110", Error::Huffman),       // padding that is not ones
        ("0484ffffffff", Error::Huffman), // EOS
        ("3fe21f", Error::TableSize),     // 4097
        ("8220", Error::TableSize),       // an update after a field line
    ] {
        assert_eq!(decode(&mut Decoder::new(4096), &hex(block)), Err(error), "{block}");
    }
}

#[test]
fn a_lowered_limit_must_be_followed() {
    let mut decoder = Decoder::new(100);
    let insert = hex("400a637573746f6d2d6b65790d637573746f6d2d686561646572");
    decode(&mut decoder, &insert).unwrap();
    decoder.set_limit(100);
    assert_eq!(decode(&mut decoder, &hex("be")), Err(Error::TableSize), "no update");
    assert_eq!(decode(&mut decoder, &hex("3f46be")), Err(Error::TableSize), "101 is too large");
    let both = decode(&mut decoder, &hex("3f15203f45")).and_then(|_| decode(&mut decoder, &hex("be")));
    assert_eq!(both, Err(Error::Index), "the update to 0 in between emptied the table");
    decode(&mut decoder, &insert).unwrap();
    assert_eq!(decoder.table_size(), 55);
}

#[test]
fn a_section_over_the_limits_keeps_the_tables_in_step() {
    let mut encoded = Vec::new();
    let value = [b'v'; 100];
    // Twenty lines; the last is inserted into the table.
    for _ in 0..20 {
        encoded.extend_from_slice(&[0, 1, b'a', 100]);
        encoded.extend_from_slice(&value);
    }
    encoded.extend_from_slice(&hex("400a637573746f6d2d6b65790d637573746f6d2d686561646572"));
    for limit in [5 * (101 + 32), 5 * (101 + 32) + 1, 100, 0] {
        let mut decoder = Decoder::new(4096);
        let mut fields = Fields::new();
        assert_eq!(decoder.decode(&encoded, &mut fields, limit), Ok(false));
        assert!(fields.len() <= 6 && fields.size() <= 606, "kept {} fields", fields.len());
        assert_eq!(decode(&mut decoder, &hex("be")), Ok(vec![("custom-key".to_owned(), "custom-header".to_owned())]));
    }
}

/// [`Fields`] cannot hold such a name, and a truncated one is a different name.
#[test]
fn a_name_longer_than_a_field_can_have_is_over_the_limits() {
    for (len, fits) in [(65_535, true), (65_536, false), (70_000, false)] {
        for prefix in [0x00, 0x40] {
            let mut block = vec![prefix];
            integer::encode(7, 0, len, &mut block);
            block.resize(block.len() + len as usize, b'n');
            block.extend_from_slice(&[1, b'v']);
            let mut decoder = Decoder::new(65_535);
            let mut fields = Fields::new();
            assert_eq!(decoder.decode(&block, &mut fields, 1 << 20), Ok(fits), "{len}");
            assert_eq!(decode(&mut decoder, &[0xbe]), Err(Error::Index), "no entry can be so large");
        }
    }
}

#[test]
fn a_decompression_bomb_is_dropped() {
    let mut decoder = Decoder::new(4096);
    let mut block = vec![0x40, 1, b'a', 0x7f, 0x81, 0x1e]; // a value of 4 000 bytes enters the table
    block.extend_from_slice(&[b'v'; 4000]);
    block.extend_from_slice(&[0xbe; 16_000]);
    let mut fields = Fields::new();
    assert_eq!(decoder.decode(&block, &mut fields, MAX_SECTION), Ok(false));
    assert!(fields.size() <= MAX_SECTION);
}

fn request(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
    }
    fields
}

fn encode(encoder: &mut Encoder, fields: &Fields) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode(fields.iter(), &mut out);
    out
}

#[test]
fn repeated_values_are_indexed_from_the_third_time() {
    let fields = request(&[
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "a.example"),
        ("user-agent", "test"),
        ("accept", "*/*"),
    ]);
    let mut encoder = Encoder::new();
    let lengths: Vec<usize> = (0..4).map(|_| encode(&mut encoder, &fields).len()).collect();
    assert_eq!(lengths, [3 + 11 + 7 + 6, 3 + 11 + 6 + 5, 6, 6]);
}

#[test]
fn never_indexed_fields_stay_never_indexed() {
    let block = [0x14, 1, b'/']; // a path of which the static table has all
    let mut fields = Fields::new();
    assert_eq!(Decoder::new(4096).decode(&block, &mut fields, MAX_SECTION), Ok(true));
    assert_eq!(encode(&mut Encoder::new(), &fields), block);
}

#[test]
fn unique_values_and_secrets_are_never_inserted() {
    let mut encoder = Encoder::new();
    let mut fields = request(&[
        (":path", "/some/path"),
        ("authorization", "Basic secret"),
        ("cookie", "a=b"),
        ("x-request-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-custom", "1"),
    ]);
    let mut writer = fields.begin_field();
    writer.known(Known::UserAgent);
    writer.arena().extend_from_slice(b"marked");
    writer.finish(true);
    let first = encode(&mut encoder, &fields);
    for _ in 0..3 {
        assert_eq!(encode(&mut encoder, &fields), first);
    }
    let mut decoder = Decoder::new(4096);
    let mut received = Fields::new();
    assert_eq!(decoder.decode(&first, &mut received, MAX_SECTION), Ok(true));
    assert_eq!(decoder.table_size(), 0);
    let sensitive: Vec<_> = received.iter().filter(|field| field.sensitive).map(|field| field.name).collect();
    assert_eq!(sensitive, [Known::Authorization.into(), Known::Cookie.into(), Known::UserAgent.into()]);
}

#[test]
fn size_updates_contain_the_smallest_and_the_last_size() {
    let mut encoder = Encoder::new();
    encoder.set_limit(65_536);
    assert_eq!(encode(&mut encoder, &request(&[])), hex("3fe11f"), "no more than 4096 is used");
    encoder.set_limit(0);
    encoder.set_limit(1000);
    assert_eq!(encode(&mut encoder, &request(&[])), hex("203fc907"));
    assert_eq!(encode(&mut encoder, &request(&[])), []);
}

/// Encoded fields are decoded to the same, with tables of changing size.
#[test]
fn encoder_and_decoder_agree() {
    const NAMES: [Known; 8] = [
        Known::Accept,
        Known::UserAgent,
        Known::Host,
        Known::Te,
        Known::XForwardedHost,
        Known::ContentType,
        Known::XRequestId,
        Known::Cookie,
    ];
    let seed = 0x5eed_0000_0001_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new(4096));
    let mut indexed = 0;
    for _ in 0..5000 {
        if random(50) == 0 {
            encoder.set_limit([0, 64, 200, 4096][random(4) as usize]);
        }
        let mut fields = Fields::new();
        for _ in 0..random(8) {
            let value = vec![b'a' + random(6) as u8; random(4) as usize * 39];
            if random(4) == 0 {
                fields.push(Name::from_bytes(format!("x-{}", random(9)).as_bytes()), &value);
            } else {
                fields.push(NAMES[random(8) as usize], &value);
            }
        }
        let block = encode(&mut encoder, &fields);
        indexed += block.iter().filter(|byte| **byte >= 0xbe).count();
        let mut received = Fields::new();
        assert_eq!(decoder.decode(&block, &mut received, MAX_SECTION), Ok(true));
        let plain = |fields: &Fields| -> Vec<(Vec<u8>, Vec<u8>)> {
            fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect()
        };
        assert_eq!(plain(&received), plain(&fields));
    }
    assert!(indexed > 500, "the table was of use {indexed} times");
}

/// The texts appear in logs and GOAWAY frames.
#[test]
fn each_error_has_its_own_text() {
    let all = [Error::Truncated, Error::Integer, Error::Huffman, Error::Index, Error::TableSize];
    let texts: std::collections::BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len(), "{texts:?}");
    assert!(texts.iter().all(|text| text.contains("field block")), "{texts:?}");
}

/// Skips a block in parts of a random size, keeping what was not read.
fn skip_in_parts(decoder: &mut Decoder, block: &[u8], random: &mut impl FnMut(usize) -> usize) -> Result<usize, Error> {
    let (mut state, mut kept, mut most) = (SkipState::default(), Vec::new(), 0);
    let mut rest = block;
    while !rest.is_empty() {
        let (part, after) = rest.split_at((1 + random(3000)).min(rest.len()));
        rest = after;
        kept.extend_from_slice(part);
        if rest.is_empty() {
            break;
        }
        let read = decoder.skip(&mut state, &kept)?;
        kept.drain(..read);
        most = most.max(kept.len());
    }
    decoder.skip_last(&mut state, &kept)?;
    Ok(most)
}

#[test]
fn a_skipped_block_changes_the_table_as_a_decoded_one() {
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize % below
    };
    for round in 0..300 {
        let mut block = Vec::new();
        for _ in 0..random(40) {
            let long = random(8) == 0;
            let mut string = |block: &mut Vec<u8>| {
                let len = if long && random(2) == 0 { 16_000 + random(4000) } else { random(300) };
                integer::encode(7, 0, len as u64, block);
                block.extend(std::iter::repeat_n(b'a' + (len % 20) as u8, len));
            };
            match round % 4 {
                _ if block.len() % 7 == 0 => block.push(0x82),
                0 => {
                    block.push(0x41);
                    string(&mut block);
                }
                1 => {
                    block.push(0x10);
                    string(&mut block);
                    string(&mut block);
                }
                _ => {
                    block.push(0x40);
                    string(&mut block);
                    string(&mut block);
                }
            }
        }
        let (mut whole, mut parts) = (Decoder::new(4096), Decoder::new(4096));
        let first = [0x40, 1, b'x', 1, b'y'];
        for decoder in [&mut whole, &mut parts] {
            decode(decoder, &first).unwrap();
        }
        assert_eq!(whole.decode(&block, &mut Fields::new(), 0).map(drop), Ok(()));
        let most = skip_in_parts(&mut parts, &block, &mut random).unwrap();
        assert!(most <= 3 * 4 * 4096, "{most} bytes kept");
        assert_eq!(parts.table_size(), whole.table_size(), "round {round}");
        for index in 62.. {
            let entry = integer_block(index);
            let (left, right) = (decode(&mut whole, &entry), decode(&mut parts, &entry));
            assert_eq!(left, right);
            if left.is_err() {
                break;
            }
        }
    }
}

fn integer_block(index: u64) -> Vec<u8> {
    let mut block = Vec::new();
    integer::encode(7, 0x80, index, &mut block);
    block
}

#[test]
fn a_skipped_block_must_be_valid() {
    for (block, error) in [
        (&b"\xbe"[..], Error::Index),
        (b"\x7f\x00\x01a", Error::Index),
        (b"\x82\x20", Error::TableSize),
        (b"\x3f\xff\xff\x07", Error::TableSize),
        (b"\x40\x7f\x90\x7faaa", Error::Truncated),
        (b"\x40\x01a\x7f\x90\x7faaa", Error::Truncated),
        (b"\x40\x01a", Error::Truncated),
        (b"\x04\x81\xff", Error::Huffman),
        (&[&b"\x7f\x00\x7f\x81\x7f"[..], &[b'v'; 16_384]].concat(), Error::Index),
    ] {
        assert_eq!(Decoder::new(4096).skip_last(&mut SkipState::default(), block), Err(error), "{block:x?}");
    }
}

#[test]
fn a_section_over_its_limit_leaves_no_memory() {
    let mut decoder = Decoder::new(4096);
    let mut block = b"\x10\x01a".to_vec();
    integer::encode(7, 0, 90_000, &mut block);
    block.resize(block.len() + 90_000, b'v');
    for _ in 0..3 {
        assert_eq!(decoder.decode(&[&block[..], &block].concat(), &mut Fields::new(), 100), Ok(false));
        assert!(decoder.held() <= 4096, "{}", decoder.held());
    }
}
