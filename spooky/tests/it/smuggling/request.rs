//! A strict reader of requests as an origin received them, in HTTP/1.1 and in HTTP/2.
//!
//! It shares no code with the product and accepts only one form: whatever two implementations could read differently is an
//! error, also if the product means it well.

use spooky_testkit::rogue::recorder::{RawField, RecordedStream};

/// Fields that Spooky adds to each request.
const ADDED: [&str; 7] = [
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-request-id",
];

/// The host in the requests of the suite.
const HOST: &str = "localhost";

/// A complete request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    /// Number of the connection, from 1.
    pub(super) connection: usize,
    /// Method and target, `@` and the host if it is another one than [`HOST`], and in brackets the fields in order that
    /// Spooky did not add. A chunked body shows no field, nor does `te` show the `connection: te` of HTTP/1.1.
    pub(super) head: String,
    /// Each byte as one character.
    pub(super) body: String,
    /// The trailers, in brackets.
    pub(super) trailers: String,
}

type Fields = Vec<(String, String)>;

/// Reads the first request of `bytes`. Returns it with its length, or `None` if it is incomplete.
pub(super) fn http1(connection: usize, bytes: &[u8]) -> Result<Option<(Request, usize)>, String> {
    let mut cursor = Cursor { bytes, at: 0 };
    let Some(first) = cursor.line()? else { return Ok(None) };
    let Some(mut fields) = cursor.section()? else { return Ok(None) };
    let words: Vec<_> = first.split(' ').collect();
    let [method, target, "HTTP/1.1"] = words[..] else { return Err(format!("request line {first:?}")) };
    let host = take_only(&mut fields, "host")?.ok_or("no host")?;
    let coding = take_only(&mut fields, "transfer-encoding")?;
    let options = take_only(&mut fields, "connection")?;
    if options.as_deref() != only(&fields, "te")?.map(|_| "te") {
        return Err(format!("connection {options:?}"));
    }
    let length = only(&fields, "content-length")?;
    let (body, trailers) = match (coding.as_deref(), length) {
        (None, None) => (String::new(), Fields::new()),
        (None, Some(length)) => match cursor.take(decimal(length)?) {
            Some(body) => (body, Fields::new()),
            None => return Ok(None),
        },
        (Some("chunked"), None) => match cursor.chunks()? {
            Some(parts) => parts,
            None => return Ok(None),
        },
        framing => return Err(format!("framing {framing:?}")),
    };
    let request = Request::new(connection, [method, target, &host], &fields, body, &trailers)?;
    Ok(Some((request, cursor.at)))
}

/// Reads a stream that has ended with `END_STREAM`.
pub(super) fn http2(stream: &RecordedStream) -> Result<Request, String> {
    let texts =
        |section: &Vec<RawField>| -> Fields { section.iter().map(|(name, value)| (text(name), text(value))).collect() };
    let (mut head, trailers) = match &stream.sections[..] {
        [head] => (texts(head), Fields::new()),
        [head, trailers] if !stream.has_late_data => (texts(head), texts(trailers)),
        _ => return Err("more than head, body and trailers".to_owned()),
    };
    let pseudo = head.iter().take_while(|(name, _)| name.starts_with(':')).count();
    let mut fields = head.split_off(pseudo);
    let mut take = |name: &str| take_only(&mut head, name)?.ok_or_else(|| format!("no {name}"));
    let (method, target, host) = (take(":method")?, take(":path")?, take(":authority")?);
    if take(":scheme")? != "http" || !head.is_empty() {
        return Err(format!("pseudo-fields {head:?}"));
    }
    for name in ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        if take_only(&mut fields, name)?.is_some() {
            return Err(format!("field {name} in HTTP/2"));
        }
    }
    let body = text(&stream.body);
    if let Some(length) = only(&fields, "content-length")?
        && decimal(length)? != body.len()
    {
        return Err(format!("length {length} for {} bytes", stream.body.len()));
    }
    Request::new(stream.connection, [&method, &target, &host], &fields, body, &trailers)
}

impl Request {
    fn new(
        connection: usize,
        line: [&str; 3],
        fields: &Fields,
        body: String,
        trailers: &Fields,
    ) -> Result<Self, String> {
        let [method, target, host] = line;
        if !is_token(method) || target.is_empty() || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("request line {line:?}"));
        }
        fields.iter().chain(trailers).try_for_each(check)?;
        for name in ["content-length", "host", "transfer-encoding"] {
            if trailers.iter().any(|(found, _)| found == name) {
                return Err(format!("trailer {name}"));
            }
        }
        let at = if host == HOST { String::new() } else { format!("@{host}") };
        let own: Vec<_> = fields.iter().filter(|(name, _)| !ADDED.contains(&name.as_str())).collect();
        let head = format!("{method} {target}{at} {}", shown(own));
        Ok(Self { connection, head, body, trailers: shown(trailers.iter().collect()) })
    }
}

/// Checks the name and the value of a field.
fn check((name, value): &(String, String)) -> Result<(), String> {
    let is_name = is_token(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let is_value =
        value.trim_matches([' ', '\t']) == value && !value.chars().any(|c| c.is_ascii_control() && c != '\t');
    let folded = name.replace('_', "-");
    let is_alias = folded != *name && ["content-length", "transfer-encoding", "host"].contains(&folded.as_str());
    if is_name && is_value && !is_alias { Ok(()) } else { Err(format!("field {name:?}: {value:?}")) }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Reads a number that is written without sign, space and leading zero.
fn decimal(digits: &str) -> Result<usize, String> {
    match digits.parse::<usize>() {
        Ok(number) if number.to_string() == digits => Ok(number),
        _ => Err(format!("content-length {digits:?}")),
    }
}

/// Returns the value of a field that occurs at most once.
fn only<'a>(fields: &'a Fields, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(format!("several fields {name}")),
    }
}

/// Removes a field that occurs at most once, and returns its value.
fn take_only(fields: &mut Fields, name: &str) -> Result<Option<String>, String> {
    let value = only(fields, name)?.map(str::to_owned);
    fields.retain(|(found, _)| found != name);
    Ok(value)
}

fn shown(fields: Vec<&(String, String)>) -> String {
    let lines: Vec<_> = fields.into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("[{}]", lines.join(", "))
}

/// Returns each byte as one character.
pub(super) fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Position in the bytes of a connection. Each read returns `None` if more bytes are needed.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    /// Reads a line that ends with CRLF and has no other control character than HTAB.
    fn line(&mut self) -> Result<Option<String>, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
        self.at += end + 1;
        match rest[..end].strip_suffix(b"\r") {
            Some(line) if !line.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') => Ok(Some(text(line))),
            _ => Err(format!("line {}", rest[..=end].escape_ascii())),
        }
    }

    /// Reads lines of `name: value` up to an empty line.
    fn section(&mut self) -> Result<Option<Fields>, String> {
        let mut fields = Fields::new();
        loop {
            match self.line()? {
                None => return Ok(None),
                Some(line) if line.is_empty() => return Ok(Some(fields)),
                Some(line) => {
                    let (name, value) = line.split_once(": ").ok_or_else(|| format!("field {line:?}"))?;
                    fields.push((name.to_owned(), value.to_owned()));
                }
            }
        }
    }

    fn take(&mut self, length: usize) -> Option<String> {
        let part = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(text(part))
    }

    /// Reads a chunked body and its trailers: sizes without leading zero and extension.
    fn chunks(&mut self) -> Result<Option<(String, Fields)>, String> {
        let mut body = String::new();
        loop {
            let Some(line) = self.line()? else { return Ok(None) };
            let size = usize::from_str_radix(&line, 16).ok().filter(|size| format!("{size:x}") == line);
            let size = size.ok_or_else(|| format!("chunk size {line:?}"))?;
            if size == 0 {
                return Ok(self.section()?.map(|trailers| (body, trailers)));
            }
            let Some(part) = self.take(size) else { return Ok(None) };
            body.push_str(&part);
            match self.take(2) {
                None => return Ok(None),
                Some(end) if end == "\r\n" => {}
                Some(end) => return Err(format!("{end:?} after a chunk")),
            }
        }
    }
}
