//! Parses a file or a string into a [`Config`].

use std::path::Path;
use std::sync::Arc;

use crate::file::config::Config;
use crate::problem::{Problem, Problems, Suppressed};
use crate::source;
use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Reader};
use crate::yaml::{self, Node, Span, Tree};

const UNREADABLE: Text = text("Failed to read config file '<p>': <reason>");
const NOT_YAML: Text = text("Could not parse YAML file '<p>': <reason>");
const QUOTE: &str = "between { } or [ ] a value with ${...} must be in quotes";
const NOT_A_MAPPING: Text = text("config root must be a YAML mapping/object");

/// Messages about the file as a whole.
pub(crate) const TEXTS: [Text; 3] = [UNREADABLE, NOT_YAML, NOT_A_MAPPING];

/// A valid file with its warnings.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration with all defaults filled in.
    pub config: Config,
    /// Warnings, ordered by position.
    pub warnings: Vec<Problem>,
    pub(crate) file: String,
    pub(crate) source: String,
    pub(crate) tree: Arc<Node>,
    suppressed: Suppressed,
}

/// Result of parsing a file, with or without errors.
pub(crate) struct Parsed {
    pub(crate) problems: Problems,
    /// The valid values, with defaults for the others. `None` if the document is not a mapping.
    pub(crate) values: Option<(Config, Arc<Node>)>,
}

/// Reads and checks a file. Substitutes variables from the process environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    read_file(path).valid()
}

pub(crate) fn read_file(path: &Path) -> Parsed {
    let file = path.display().to_string();
    let env = |name: &str| std::env::var(name).ok();
    let fail = |text: Text, reason: &str| {
        let mut reader = Reader::new(&file, &env);
        reader.report(Span::TOP, text, "", &[("p", &file), ("reason", reason)]);
        Parsed { problems: Problems::new(reader.problems, &file, ""), values: None }
    };
    match read(path).map(String::from_utf8) {
        Ok(Ok(text)) => read_text(&text, &file, &env),
        Ok(Err(error)) => fail(NOT_YAML, &error.utf8_error().to_string()),
        Err(error) => fail(UNREADABLE, &error.to_string()),
    }
}

/// Reads at most one byte more than the limit, so that the parser rejects a larger file.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let most = u64::try_from(yaml::build::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Parses and checks a string. `file` is the file name in problems; `env` looks up environment variables.
pub fn parse(text: &str, file: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    read_text(text, file, env).valid()
}

pub(crate) fn read_text(text: &str, file: &str, env: &dyn Fn(&str) -> Option<String>) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(file, env);
    let tree = match yaml::parse(text) {
        Ok(tree) => tree,
        Err(error) => {
            let line = usize::try_from(error.span.line).unwrap_or(0).saturating_sub(1);
            let variable = text.lines().nth(line).is_some_and(|line| line.contains("${"));
            let not_yaml = if variable { NOT_YAML.hint(QUOTE) } else { NOT_YAML };
            reader.report(error.span, not_yaml, "", &[("p", file), ("reason", &error.reason)]);
            let problems = Problems::new(reader.problems, file, &source::without_tokens(text));
            return Parsed { problems, values: None };
        }
    };
    let Some(tree) = tree.filter(|tree| matches!(tree.tree, Tree::Map(_))) else {
        reader.report(Span::TOP, NOT_A_MAPPING, "", &[]);
        return Parsed { problems: Problems::new(reader.problems, file, text), values: None };
    };
    reader.root = Some(Arc::clone(&tree));
    let config = Config::read(&mut reader, &tree, &Key::NONE, None);
    let source = source::masked(text, &reader.secrets);
    let suppressed = reader.suppressed();
    let problems = Problems::new(reader.problems, file, &source).with_suppressed(suppressed);
    Parsed { problems, values: config.map(|config| (config, tree)) }
}

impl Parsed {
    /// Returns the configuration if it has no errors.
    fn valid(self) -> Result<Loaded, Problems> {
        match self.values {
            Some((config, tree)) if self.problems.errors() == 0 => Ok(Loaded::new(config, tree, &self.problems)),
            _ => Err(self.problems),
        }
    }
}

impl Loaded {
    pub(crate) fn new(config: Config, tree: Arc<Node>, problems: &Problems) -> Self {
        let (file, source) = (problems.file.clone(), problems.source.clone());
        let warnings = problems.iter().cloned().collect();
        Self { config, warnings, file, source, tree, suppressed: problems.suppressed() }
    }

    /// Returns the warnings of the file together with `found`, the result of [`crate::preflight`].
    pub fn problems(&self, found: Vec<Problem>) -> Problems {
        let all = self.warnings.iter().cloned().chain(found).collect();
        Problems::new(all, &self.file, &self.source).with_suppressed(self.suppressed)
    }
}
