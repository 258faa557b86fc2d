//! A mistake in the file, with its place, and how it is told. Owns no rule. Made by the reader and the world checks,
//! shown by the command line, the control API and the log.

use std::fmt;

use crate::yaml::Place;
use crate::yaml::emit::Shown;

/// Whether a problem stops the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used as it stands.
    Warning,
}

impl Severity {
    /// The word in front of the message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// The kind of a problem, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A value, key or combination that the language does not have.
    ConfigInvalid,
    /// A certificate, key, CA, CRL or OCSP file that cannot be used.
    TlsMaterialInvalid,
    /// A backend address that cannot be read, or stands twice.
    BackendAddressInvalid,
    /// Two routes that match the same requests with the same precedence.
    DuplicateRouteAmbiguity,
    /// Two sockets on one address and port.
    ListenerBindConflict,
    /// Keys that are valid alone and not together.
    UnsupportedPolicyCombination,
}

impl Code {
    /// The word in `--json` output.
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

/// One mistake or warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Characters from the column on that the problem is about, at least 1.
    pub length: u32,
    /// The key's path, such as `upstream.api.backends[0].weight`; empty for the file as a whole.
    pub path: String,
    /// The kind.
    pub code: Code,
    /// The documented text.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn place(&self) -> Place {
        Place { line: self.line, column: self.column, length: self.length }
    }
}

/// `file:line:column: severity: path: message`, and the hint on an indented line of its own.
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

/// How many problems there are beyond those that are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
}

/// Problems of one file, ordered by position, with the text that they point into.
#[derive(Debug, Clone)]
pub struct Problems {
    list: Vec<Problem>,
    /// What is only counted.
    untold: Untold,
    pub(crate) file: String,
    pub(crate) source: String,
}

impl Problems {
    /// Orders `list` by position and drops repetitions (an aliased node is read once for each use). `source` is the text
    /// of the file with its secrets masked.
    pub(crate) fn new(mut list: Vec<Problem>, file: &str, source: String) -> Self {
        list.sort_by(|a, b| a.place().cmp(&b.place()).then_with(|| a.severity.cmp(&b.severity)));
        list.dedup_by(|a, b| a.place() == b.place() && a.message == b.message);
        Self { list, untold: Untold::default(), file: file.to_owned(), source }
    }

    /// With problems that are only counted.
    pub(crate) fn and_untold(self, untold: Untold) -> Self {
        Self { untold, ..self }
    }

    /// Together with others of the same file.
    #[must_use]
    pub fn and(mut self, others: Vec<Problem>) -> Self {
        self.list.extend(others);
        Self { untold: self.untold, ..Self::new(self.list, &self.file, self.source) }
    }

    /// What is only counted.
    pub(crate) fn untold(&self) -> Untold {
        self.untold
    }

    /// All of them, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// How many errors there are. Beyond a thousand they are counted and not told.
    pub fn errors(&self) -> usize {
        let told = self.list.iter().filter(|problem| problem.severity == Severity::Error).count();
        told.saturating_add(self.untold.errors)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The line that ends a check.
    pub fn verdict(&self) -> String {
        match self.errors() {
            0 => "Configuration validation passed successfully".to_owned(),
            errors => format!("Configuration validation failed: {errors} error(s) in {}", self.file),
        }
    }

    /// One problem a line, as on a stderr that is not a terminal. Empty without problems.
    pub fn plain(&self) -> String {
        let told = self.list.iter().fold(String::new(), |out, problem| out + &problem.to_string() + "\n");
        told + &self.rest()
    }

    /// What is not told, a line for each severity; empty if everything is.
    pub(crate) fn rest(&self) -> String {
        let Untold { errors, warnings } = self.untold;
        let mut out = String::new();
        for (count, what) in [(errors, "errors"), (warnings, "warnings")] {
            if count > 0 {
                out = out + &self.file + ": and " + &count.to_string() + " more " + what + "\n";
            }
        }
        out
    }

    /// One JSON array, for `--json`.
    pub fn json(&self) -> String {
        let text = |text: &str| Shown::Text(text.to_owned());
        let objects = self.list.iter().map(|problem| {
            let fields = [
                ("severity", text(problem.severity.as_str())),
                ("file", text(&problem.file)),
                ("line", Shown::Integer(problem.line.into())),
                ("column", Shown::Integer(problem.column.into())),
                ("path", text(&problem.path)),
                ("code", text(problem.code.as_str())),
                ("message", text(&problem.message)),
                ("hint", problem.hint.as_deref().map_or(Shown::Null, text)),
            ];
            Shown::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        });
        Shown::List(objects.collect()).json()
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
