//! Heads and trailers: finds their end and reads their lines.
//!
//! `httparse` splits lines, names and values. It accepts a bare LF as the end of a line and empty lines before a head;
//! this module rejects both. A section that is incomplete when it is first tried is searched for its end before it is
//! tried again, so bytes that arrive one by one cost no more than a few passes. An error is reported once the section is
//! complete, so the result does not depend on how the bytes were split.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

use super::target;
use crate::message::{Fields, check};

/// Lines that are parsed without an allocation.
const STACK_LINES: usize = 128;
/// Lines of trailers that are parsed without an allocation.
const FEW_LINES: usize = 16;
/// Shortest line of a section: a name of one character, a colon and the end.
const MIN_LINE: usize = 4;

/// What is wrong, and the clause that it violates.
pub(super) type Fault = (&'static str, &'static str);

/// A result of `httparse`, `None` for an incomplete section, and of the checks after it.
type Parsed<T> = Result<Option<Result<T, Fault>>, httparse::Error>;

/// A section, or why there is none.
#[derive(Debug)]
pub(super) enum Section<T> {
    /// More bytes are needed.
    Partial,
    /// The section and the number of its bytes.
    Complete(T, usize),
    /// The section does not end within the limit.
    TooLarge,
    Malformed(Fault),
}

/// The status line and the fields of a response.
#[derive(Debug)]
pub(super) struct ResponseLines {
    pub(super) status: u16,
    /// The version is 1.1, not 1.0.
    pub(super) is_1_1: bool,
    pub(super) fields: Fields,
}

/// The request line and the fields of a request.
#[derive(Debug)]
pub(super) struct RequestLines {
    /// The version is 1.1, not 1.0.
    pub(super) is_1_1: bool,
    /// Pseudo-header fields, then the fields of the head.
    pub(super) fields: Fields,
}

/// Position in a section that is incomplete.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Bytes that were searched for the end of the section.
    searched: usize,
}

impl Scan {
    /// Reads a response head of at most `max` bytes.
    pub(super) fn response(&mut self, input: &[u8], max: usize) -> Section<ResponseLines> {
        self.read(input, max, |bytes| {
            with_lines(bytes, |lines| {
                let mut head = httparse::Response::new(&mut []);
                let status = ParserConfig::default().parse_response_with_uninit_headers(&mut head, bytes, lines)?;
                let Status::Complete(len) = status else { return Ok(None) };
                let fields = collect(bytes, len, head.headers, Fields::new());
                let (status, is_1_1) = (head.code.unwrap_or_default(), head.version == Some(1));
                Ok(Some(fields.map(|fields| (ResponseLines { status, is_1_1, fields }, len))))
            })
        })
    }

    /// Reads a request head of at most `max` bytes on a connection of this scheme.
    pub(super) fn request(&mut self, input: &[u8], max: usize, scheme: &[u8]) -> Section<RequestLines> {
        self.read(input, max, |bytes| {
            with_lines(bytes, |lines| {
                let mut head = httparse::Request::new(&mut []);
                let status = ParserConfig::default().parse_request_with_uninit_headers(&mut head, bytes, lines)?;
                let Status::Complete(len) = status else { return Ok(None) };
                let host = head.headers.iter().find(|line| line.name.eq_ignore_ascii_case("host"));
                let [method, path] = [head.method, head.path].map(|part| part.unwrap_or_default().as_bytes());
                let mut fields = Fields::new();
                target::put(&mut fields, method, path, scheme, host.map(|line| line.value));
                let fields = collect(bytes, len, head.headers, fields);
                Ok(Some(fields.map(|fields| (RequestLines { is_1_1: head.version == Some(1), fields }, len))))
            })
        })
    }

    /// Reads a trailer section of at most `max` bytes, which ends with an empty line.
    pub(super) fn trailers(&mut self, input: &[u8], max: usize) -> Section<Fields> {
        match input {
            [] | [b'\r'] => return Section::Partial,
            [b'\r', b'\n', ..] => return Section::Complete(Fields::default(), 2),
            [first, ..] if check::is_token(&[*first]) => {}
            _ => return Section::Malformed(("invalid line or field name", "RFC 9112 5")),
        }
        self.read(input, max, |bytes| {
            let mut few = [httparse::EMPTY_HEADER; FEW_LINES];
            let mut result = parse_trailers(bytes, &mut few);
            if result.as_ref().err() == Some(&httparse::Error::TooManyHeaders) {
                result = parse_trailers(bytes, &mut vec![httparse::EMPTY_HEADER; bytes.len() / MIN_LINE]);
            }
            result.map_err(fault)?.transpose()
        })
    }

    /// Reads a section with `parse`, which returns `None` for an incomplete one.
    fn read<T>(
        &mut self,
        input: &[u8],
        max: usize,
        parse: impl FnOnce(&[u8]) -> Result<Option<(T, usize)>, Fault>,
    ) -> Section<T> {
        let bytes = input.get(..max).unwrap_or(input);
        let incomplete = if bytes.len() < max { Section::Partial } else { Section::TooLarge };
        let is_first_try = self.searched == 0;
        if bytes.is_empty() || !is_first_try && !self.find_end(bytes) {
            return incomplete;
        }
        match parse(bytes) {
            Ok(Some((section, len))) => {
                self.searched = 0;
                Section::Complete(section, len)
            }
            _ if is_first_try && !self.find_end(bytes) => incomplete,
            Ok(None) => Section::Malformed(("empty line before the head", "RFC 9112 2.2")),
            Err(fault) => Section::Malformed(fault),
        }
    }

    /// Returns whether `bytes` contain an empty line. Bytes searched before are not searched again.
    fn find_end(&mut self, bytes: &[u8]) -> bool {
        let from = self.searched.saturating_sub(2);
        self.searched = bytes.len();
        let new = bytes.get(from..).unwrap_or_default();
        new.windows(2).enumerate().any(|(at, pair)| match pair {
            b"\n\n" => true,
            b"\n\r" => new.get(at + 2) == Some(&b'\n'),
            _ => false,
        })
    }
}

/// Returns method and target of the request line with which `input` begins, as far as they are complete and valid.
pub(super) fn request_line(input: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let mut head = httparse::Request::new(&mut []);
    // The line is read before the fields, for which there is no space.
    let _ = head.parse(input);
    Some((head.method?.as_bytes(), head.path.map(str::as_bytes)))
}

/// Calls `parse` with space for the lines of `bytes`.
fn with_lines<'b, T>(
    bytes: &'b [u8],
    mut parse: impl FnMut(&mut [MaybeUninit<Header<'b>>]) -> Parsed<T>,
) -> Result<Option<T>, Fault> {
    let mut lines = [const { MaybeUninit::uninit() }; STACK_LINES];
    let mut result = parse(&mut lines);
    if result.as_ref().err() == Some(&httparse::Error::TooManyHeaders) {
        let mut lines: Vec<_> = (0..bytes.len() / MIN_LINE).map(|_| MaybeUninit::uninit()).collect();
        result = parse(&mut lines);
    }
    result.map_err(fault)?.transpose()
}

/// Parses a trailer section. Returns `None` for an incomplete one.
fn parse_trailers<'b>(bytes: &'b [u8], lines: &mut [Header<'b>]) -> Parsed<(Fields, usize)> {
    let Status::Complete((len, lines)) = httparse::parse_headers(bytes, lines)? else { return Ok(None) };
    Ok(Some(collect(bytes, len, lines, Fields::new()).map(|fields| (fields, len))))
}

/// Copies the lines of a section of `len` bytes into `fields`, with names in lower case. Each line must end with CRLF,
/// also the one before the first field and the empty line at the end.
fn collect(bytes: &[u8], len: usize, lines: &[Header<'_>], mut fields: Fields) -> Result<Fields, Fault> {
    const BARE_LF: Fault = ("line that does not end with CRLF", "RFC 9112 2.2");
    for line in lines {
        // Both are in the same buffer; the difference is the position of the line.
        let at = (line.name.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
        if at > 0 && !bytes.get(..at).is_some_and(|before| before.ends_with(b"\r\n")) {
            return Err(BARE_LF);
        }
        fields.push_any_case(line.name.as_bytes(), line.value);
    }
    if bytes.get(..len).is_some_and(|section| section.ends_with(b"\r\n\r\n")) { Ok(fields) } else { Err(BARE_LF) }
}

fn fault(error: httparse::Error) -> Fault {
    match error {
        httparse::Error::HeaderName => ("invalid line or field name", "RFC 9112 5"),
        httparse::Error::HeaderValue => ("invalid character in a field value", "RFC 9110 5.5"),
        httparse::Error::NewLine => ("CR that is not followed by LF", "RFC 9112 2.2"),
        httparse::Error::Status => ("invalid status line", "RFC 9112 4"),
        httparse::Error::Token => ("invalid request line", "RFC 9112 3"),
        httparse::Error::TooManyHeaders => ("too many fields", "max_headers_count"),
        httparse::Error::Version => ("invalid HTTP version", "RFC 9112 2.3"),
    }
}
