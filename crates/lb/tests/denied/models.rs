//! How programs behind a proxy read the path of a request. Each model is written after the program it stands for, on its
//! own and without the code under test.

/// What one program makes of a path.
pub(crate) struct Reading {
    pub(crate) backend: &'static str,
    pub(crate) path: Vec<u8>,
}

/// The models, with buffers that are used again.
#[derive(Default)]
pub(crate) struct Backends {
    readings: Vec<Reading>,
    used: usize,
}

impl Backends {
    /// All readings of a path.
    pub(crate) fn read(&mut self, path: &[u8]) -> &[Reading] {
        self.used = 0;
        self.add("raw", |out| out.extend_from_slice(path));
        self.add("raw, normalised", |out| resolve(path, is_slash, true, out));
        self.nginx(path);
        self.tomcat(path);
        self.node(path);
        self.php(path);
        self.combinations(path);
        &self.readings[..self.used]
    }

    fn add(&mut self, backend: &'static str, make: impl FnOnce(&mut Vec<u8>)) {
        if self.used == self.readings.len() {
            self.readings.push(Reading { backend, path: Vec::new() });
        }
        let reading = &mut self.readings[self.used];
        reading.backend = backend;
        reading.path.clear();
        make(&mut reading.path);
        self.used += 1;
    }

    /// `ngx_http_parse_complex_uri`: decodes once, merges slashes, removes dot segments. On Windows `\` is a slash too.
    fn nginx(&mut self, path: &[u8]) {
        let decoded = decode(path);
        self.add("nginx", |out| resolve(&decoded, is_slash, true, out));
        self.add("nginx, slashes not merged", |out| resolve(&decoded, is_slash, false, out));
        self.add("nginx on Windows", |out| resolve(&decoded, is_any_slash, true, out));
    }

    /// `CoyoteAdapter`: cuts path parameters off, decodes, reads `\` as a slash where that is allowed, normalises. `%2F` is
    /// refused, decoded or left alone.
    fn tomcat(&mut self, path: &[u8]) {
        let bare = without_parameters(path);
        let decoded = decode(&bare);
        self.add("Tomcat", |out| resolve(&decoded, is_slash, true, out));
        self.add("Tomcat with ALLOW_BACKSLASH", |out| resolve(&decoded, is_any_slash, true, out));
        let guarded = decode_but_slashes(&bare);
        self.add("Tomcat, slashes passed through", |out| resolve(&guarded, is_slash, true, out));
        let late = without_parameters(&decode(path));
        self.add("a servlet that cuts parameters after decoding", |out| resolve(&late, is_slash, true, out));
    }

    /// `new URL(request.url, base).pathname`: two slashes begin a host, `\` is a slash, `%2e` is a dot, slashes are not
    /// merged. Then as a file: decoded, joined to a folder by `path.join`. Or without URL, the path alone.
    fn node(&mut self, path: &[u8]) {
        let start = url_path(path);
        let mut pathname = Vec::new();
        resolve_url(start, &mut pathname);
        let decoded = decode(&pathname);
        self.add("Node, URL", |out| out.extend_from_slice(&pathname));
        self.add("Node, URL, decoded", |out| out.extend_from_slice(&decoded));
        self.add("Node, URL, path.join", |out| resolve(&pathname, is_slash, true, out));
        self.add("Node, URL, decoded, path.join", |out| resolve(&decoded, is_slash, true, out));
        self.add("Node on Windows, URL, decoded, path.join", |out| resolve(&decoded, is_any_slash, true, out));
        let plain = decode(path);
        self.add("Node, decoded", |out| out.extend_from_slice(&plain));
    }

    /// `PATH_INFO` decoded, or `parse_url` of the request; files are opened by C, where NUL ends a name.
    fn php(&mut self, path: &[u8]) {
        let decoded = decode(path);
        let name = until_nul(&decoded);
        self.add("PHP, include", |out| resolve(name, is_slash, true, out));
        self.add("PHP on Windows, include", |out| resolve(name, is_any_slash, true, out));
        if let [b'/', b'/', rest @ ..] = path {
            let start = rest.iter().position(|&byte| byte == b'/').map_or(rest.len(), |at| at);
            self.add("PHP, parse_url", |out| out.extend_from_slice(&rest[start..]));
            let decoded = decode(&rest[start..]);
            self.add("PHP, parse_url, include", |out| resolve(until_nul(&decoded), is_slash, true, out));
        }
    }

    /// Decoded fully under each combination of what a slash is, whether NUL cuts, whether parameters are removed, whether
    /// dot segments are removed.
    fn combinations(&mut self, path: &[u8]) {
        for choice in 0..32_u8 {
            let has = [0, 1, 2, 3, 4].map(|bit| choice & (1 << bit) != 0);
            self.add("combination of decodings", |out| combine(path, has, out));
        }
    }
}

/// Whether a path is a prefix or below it, repeated slashes apart.
pub(crate) fn is_below(path: &[u8], prefix: &[u8]) -> bool {
    let mut after_slash = false;
    let mut merged = std::iter::once(&b'/').chain(path).filter(|&&byte| {
        let is_repeated = byte == b'/' && after_slash;
        after_slash = byte == b'/';
        !is_repeated
    });
    prefix.iter().all(|byte| merged.next() == Some(byte))
        && merged.next().is_none_or(|next| *next == b'/' || prefix.ends_with(b"/"))
}

/// The path with its dot segments removed (RFC 3986 section 5.2.4), slashes merged.
pub(crate) fn resolved(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    resolve(path, is_slash, true, &mut out);
    out
}

fn is_slash(byte: u8) -> bool {
    byte == b'/'
}

fn is_any_slash(byte: u8) -> bool {
    byte == b'/' || byte == b'\\'
}

fn resolve(path: &[u8], is_slash: fn(u8) -> bool, merge: bool, out: &mut Vec<u8>) {
    let mut rest = path.strip_prefix(b"/").unwrap_or(path);
    loop {
        let end = rest.iter().position(|&byte| is_slash(byte));
        let segment = &rest[..end.unwrap_or(rest.len())];
        match segment {
            b"." => {}
            b".." => pop(out),
            b"" if merge || end.is_none() => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
        let Some(end) = end else {
            if matches!(segment, b"" | b"." | b"..") {
                out.push(b'/');
            }
            return;
        };
        rest = &rest[end + 1..];
    }
}

fn pop(out: &mut Vec<u8>) {
    let end = out.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
    out.truncate(end);
}

/// The path state of the WHATWG URL parser: nothing is decoded, but `%2e` counts as a dot and `\` as a slash.
fn resolve_url(path: &[u8], out: &mut Vec<u8>) {
    let mut segments = path.split(|&byte| is_any_slash(byte)).skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let lower = segment.to_ascii_lowercase();
        match &*lower {
            b"." | b"%2e" if is_last => out.push(b'/'),
            b"." | b"%2e" => {}
            b".." | b".%2e" | b"%2e." | b"%2e%2e" => {
                pop(out);
                if is_last {
                    out.push(b'/');
                }
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
}

/// What is left for the path once a host that begins with two slashes is taken off.
fn url_path(path: &[u8]) -> &[u8] {
    let slashes = path.iter().take_while(|&&byte| is_any_slash(byte)).count();
    if slashes < 2 {
        return path;
    }
    let rest = &path[slashes..];
    rest.iter().position(|&byte| is_any_slash(byte)).map_or(b"/", |at| &rest[at..])
}

fn escape(text: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(text.get(1..3)?).ok()?;
    (text[0] == b'%').then(|| u8::from_str_radix(digits, 16).ok())?
}

fn decode(path: &[u8]) -> Vec<u8> {
    decode_unless(path, |_| false)
}

fn decode_but_slashes(path: &[u8]) -> Vec<u8> {
    decode_unless(path, is_slash)
}

fn decode_unless(path: &[u8], keep: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match escape(&path[at..]) {
            Some(byte) if !keep(byte) => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(path[at]);
                at += 1;
            }
        }
    }
    out
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let mut is_parameter = false;
    let kept = path.iter().filter(|&&byte| {
        is_parameter = byte != b'/' && (is_parameter || byte == b';');
        !is_parameter
    });
    kept.copied().collect()
}

fn until_nul(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// What separates segments while a combination is made; no path of the test has it.
const SEPARATOR: u8 = 0xff;

/// One combination of the ways to decode; what is no slash in it stays in its segment.
fn combine(path: &[u8], [slash, backslash, cuts, parameters, dots]: [bool; 5], out: &mut Vec<u8>) {
    out.push(SEPARATOR);
    let (mut at, mut is_parameter) = (1, false);
    while at < path.len() {
        let escaped = escape(&path[at..]);
        let byte = escaped.unwrap_or(path[at]);
        at += if escaped.is_some() { 3 } else { 1 };
        match byte {
            0 if cuts => break,
            b'/' | b'\\' if if byte == b'/' { escaped.is_none() || slash } else { backslash } => {
                end_segment(out, dots);
                out.push(SEPARATOR);
                is_parameter = false;
            }
            b';' if parameters => is_parameter = true,
            _ if is_parameter => {}
            _ => out.push(byte),
        }
    }
    end_segment(out, dots);
    out.iter_mut().filter(|byte| **byte == SEPARATOR).for_each(|byte| *byte = b'/');
}

/// Removes the last segment if it is a dot segment, and what `..` names; a slash stays where it was.
fn end_segment(out: &mut Vec<u8>, dots: bool) {
    let start = out.iter().rposition(|&byte| byte == SEPARATOR).unwrap();
    match &out[start + 1..] {
        b"." if dots => out.truncate(start + 1),
        b".." if dots => {
            out.truncate(start);
            // Empty segments are no segments here.
            while out.last() == Some(&SEPARATOR) {
                out.pop();
            }
            let start = out.iter().rposition(|&byte| byte == SEPARATOR).unwrap_or(0);
            out.truncate(start);
            out.push(SEPARATOR);
        }
        _ => {}
    }
}
