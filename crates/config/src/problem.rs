//! Errors and warnings about a configuration, with their positions and output formats.

use std::fmt;

use crate::userinfo::masked;
use crate::yaml::Span;
use crate::yaml::emit::Value;

/// Severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is rejected.
    Error,
    /// The file is used.
    Warning,
}

impl Severity {
    /// Returns the word that precedes the message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Machine-readable kind of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// An invalid value, key or combination.
    ConfigInvalid,
    /// An unusable certificate, key, CA, CRL or OCSP file.
    TlsMaterialInvalid,
    /// An invalid or duplicate backend address.
    BackendAddressInvalid,
    /// Two routes that match the same requests with the same precedence.
    DuplicateRouteAmbiguity,
    /// Two sockets on one address and port.
    ListenerBindConflict,
    /// Keys that are valid individually but not together.
    UnsupportedPolicyCombination,
}

impl Code {
    /// Returns the code in `--json` output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "config_invalid",
            Self::TlsMaterialInvalid => "tls_material_invalid",
            Self::BackendAddressInvalid => "backend_address_invalid",
            Self::DuplicateRouteAmbiguity => "duplicate_route_ambiguity",
            Self::ListenerBindConflict => "listener_bind_conflict",
            Self::UnsupportedPolicyCombination => "unsupported_policy_combination",
        }
    }
}

/// An error or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it is an error.
    pub severity: Severity,
    /// File name, as given by the caller.
    pub file: String,
    /// Line number, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Number of characters from the column on, at least 1.
    pub length: u32,
    /// Path of the key, such as `upstream.api.backends[0].weight`; empty for the file as a whole.
    pub path: String,
    /// Machine-readable kind.
    pub code: Code,
    /// Message, as listed in the configuration reference.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn span(&self) -> Span {
        Span { line: self.line, column: self.column, length: self.length }
    }
}

/// Writes `file:line:column: severity: path: message`, and the hint on a separate indented line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, path, message, .. } = self;
        write!(f, "{file}:{line}:{column}: {}: ", self.severity.as_str())?;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Numbers of problems beyond the limit, which are counted but not listed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Suppressed {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
}

/// Problems of one file, ordered by position, with the source text.
#[derive(Debug, Clone)]
pub struct Problems {
    list: Vec<Problem>,
    suppressed: Suppressed,
    pub(crate) file: String,
    pub(crate) source: String,
}

impl Problems {
    /// Orders `list` by position and drops repetitions (an aliased node is read once for each use). `source` is the text
    /// of the file with its secrets masked.
    pub(crate) fn new(mut list: Vec<Problem>, file: &str, source: &str) -> Self {
        list.sort_by(|a, b| a.span().cmp(&b.span()).then_with(|| a.severity.cmp(&b.severity)));
        list.dedup_by(|a, b| a.span() == b.span() && a.message == b.message);
        let source = masked(source).into_owned();
        Self { list, suppressed: Suppressed::default(), file: file.to_owned(), source }
    }

    pub(crate) fn with_suppressed(self, suppressed: Suppressed) -> Self {
        Self { suppressed, ..self }
    }

    /// Together with others of the same file.
    #[must_use]
    pub fn and(mut self, others: Vec<Problem>) -> Self {
        self.list.extend(others);
        Self { suppressed: self.suppressed, ..Self::new(self.list, &self.file, &self.source) }
    }

    pub(crate) fn suppressed(&self) -> Suppressed {
        self.suppressed
    }

    /// Iterates over the listed problems in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    pub(crate) fn edit(&mut self, edit: impl FnMut(&mut Problem)) {
        self.list.iter_mut().for_each(edit);
    }

    /// Returns the number of errors, including those that are counted but not listed.
    pub fn errors(&self) -> usize {
        let reported = self.list.iter().filter(|problem| problem.severity == Severity::Error).count();
        reported.saturating_add(self.suppressed.errors)
    }

    /// Whether no problem is listed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns the last line of a check.
    pub fn summary(&self) -> String {
        match self.errors() {
            0 => "Configuration validation passed successfully".to_owned(),
            errors => format!("Configuration validation failed: {errors} error(s) in {}", self.file),
        }
    }

    /// Returns one problem a line, as written to a stderr that is not a terminal. Empty without problems.
    pub fn plain(&self) -> String {
        let reported = self.list.iter().fold(String::new(), |out, problem| out + &problem.to_string() + "\n");
        reported + &self.suppressed_lines()
    }

    /// Returns a line for each severity with problems that are not listed.
    pub(crate) fn suppressed_lines(&self) -> String {
        let Suppressed { errors, warnings } = self.suppressed;
        let mut out = String::new();
        for (count, what) in [(errors, "errors"), (warnings, "warnings")] {
            if count > 0 {
                out = out + &self.file + ": and " + &count.to_string() + " more " + what + "\n";
            }
        }
        out
    }

    /// Returns a JSON array, for `--json`.
    pub fn json(&self) -> String {
        let text = |text: &str| Value::Text(text.to_owned());
        let objects = self.list.iter().map(|problem| {
            let fields = [
                ("severity", text(problem.severity.as_str())),
                ("file", text(&problem.file)),
                ("line", Value::Integer(problem.line.into())),
                ("column", Value::Integer(problem.column.into())),
                ("path", text(&problem.path)),
                ("code", text(problem.code.as_str())),
                ("message", text(&problem.message)),
                ("hint", problem.hint.as_deref().map_or(Value::Null, text)),
            ];
            Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        });
        Value::List(objects.collect()).json()
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = std::slice::Iter<'p, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain())
    }
}

impl std::error::Error for Problems {}
