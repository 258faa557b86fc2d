//! From a file or a text to a [`Config`]. The only place that puts tree, reader and root block together.

use std::path::Path;
use std::sync::Arc;

use crate::file::config::Config;
use crate::problem::{Problem, Problems, Untold};
use crate::source;
use crate::spec::text::{Text, text};
use crate::spec::{Key, Reader, Value};
use crate::yaml::{self, Node, Place, Tree};

const UNREADABLE: Text = text("Failed to read config file '<p>': <reason>");
const NOT_YAML: Text = text("Could not parse YAML file '<p>': <reason>");
const QUOTE: &str = "between { } or [ ] a value with ${...} must be in quotes";
const NOT_A_MAPPING: Text = text("config root must be a YAML mapping/object");

/// The texts of the file as a whole.
pub(crate) const TEXTS: [Text; 3] = [UNREADABLE, NOT_YAML, NOT_A_MAPPING];

/// A file that is valid, and what is said about it all the same.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Every value valid, every default filled in.
    pub config: Config,
    /// Warnings, ordered by position.
    pub warnings: Vec<Problem>,
    pub(crate) file: String,
    pub(crate) source: String,
    pub(crate) tree: Arc<Node>,
    untold: Untold,
}

/// What one pass over a file gave.
pub(crate) struct Reading {
    pub(crate) problems: Problems,
    /// The values that could be read, with defaults for the others; none if there is no mapping to read.
    pub(crate) values: Option<(Config, Arc<Node>)>,
}

/// Reads and checks a file, with the variables of the process's environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    read_file(path).valid()
}

pub(crate) fn read_file(path: &Path) -> Reading {
    let file = path.display().to_string();
    let env = |name: &str| std::env::var(name).ok();
    let fail = |text: Text, reason: &str| {
        let mut reader = Reader::new(&file, &env);
        reader.report(Place::TOP, text, "", &[("p", &file), ("reason", reason)]);
        Reading { problems: Problems::new(reader.problems, &file, String::new()), values: None }
    };
    match read(path).map(String::from_utf8) {
        Ok(Ok(text)) => read_text(&text, &file, &env),
        Ok(Err(error)) => fail(NOT_YAML, &error.utf8_error().to_string()),
        Err(error) => fail(UNREADABLE, &error.to_string()),
    }
}

/// Reads at most one byte more than is allowed: the parser refuses the rest.
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let most = u64::try_from(yaml::build::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads and checks a text. `file` names it in problems; `env` stands for the environment.
pub fn parse(text: &str, file: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Problems> {
    read_text(text, file, env).valid()
}

fn read_text(text: &str, file: &str, env: &dyn Fn(&str) -> Option<String>) -> Reading {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(file, env);
    let tree = match yaml::parse(text) {
        Ok(tree) => tree,
        Err(refusal) => {
            let line = usize::try_from(refusal.place.line).unwrap_or(0).saturating_sub(1);
            let variable = text.lines().nth(line).is_some_and(|line| line.contains("${"));
            let not_yaml = if variable { NOT_YAML.hint(QUOTE) } else { NOT_YAML };
            reader.report(refusal.place, not_yaml, "", &[("p", file), ("reason", &refusal.reason)]);
            let problems = Problems::new(reader.problems, file, source::without_tokens(text));
            return Reading { problems, values: None };
        }
    };
    let Some(tree) = tree.filter(|tree| matches!(tree.tree, Tree::Map(_))) else {
        reader.report(Place::TOP, NOT_A_MAPPING, "", &[]);
        return Reading { problems: Problems::new(reader.problems, file, text.to_owned()), values: None };
    };
    reader.root = Some(Arc::clone(&tree));
    let config = Config::read(&mut reader, &tree, &Key::NONE, None);
    let source = source::masked(text, &reader.secrets);
    let untold = reader.untold();
    let problems = Problems::new(reader.problems, file, source).and_untold(untold);
    Reading { problems, values: config.map(|config| (config, tree)) }
}

impl Reading {
    /// The configuration, if there is no error in it.
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
        Self { config, warnings, file, source, tree, untold: problems.untold() }
    }

    /// The warnings together with what the world checks found.
    pub fn problems(&self, found: Vec<Problem>) -> Problems {
        let all = self.warnings.iter().cloned().chain(found).collect();
        Problems::new(all, &self.file, self.source.clone()).and_untold(self.untold)
    }
}
