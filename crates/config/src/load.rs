//! From a file or a text to a [`Config`]. The only place that puts tree, reader and root block together.

use std::path::Path;
use std::sync::Arc;

use crate::file::config::Config;
use crate::problem::{Problem, Problems};
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
}

/// Reads and checks a file, with the variables of the process's environment.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let file = path.display().to_string();
    let env = |name: &str| std::env::var(name).ok();
    let fail = |text: Text, reason: &str| {
        let mut reader = Reader::new(&file, &env);
        reader.report(Place::TOP, text, "", &[("p", &file), ("reason", reason)]);
        Problems::new(reader.problems, &file, String::new())
    };
    let bytes = read(path).map_err(|error| fail(UNREADABLE, &error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| fail(NOT_YAML, &error.utf8_error().to_string()))?;
    parse(&text, &file, &env)
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
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader::new(file, env);
    let tree = match yaml::parse(text) {
        Ok(tree) => tree,
        Err(refusal) => {
            let line = usize::try_from(refusal.place.line).unwrap_or(0).saturating_sub(1);
            let variable = text.lines().nth(line).is_some_and(|line| line.contains("${"));
            let not_yaml = if variable { NOT_YAML.hint(QUOTE) } else { NOT_YAML };
            reader.report(refusal.place, not_yaml, "", &[("p", file), ("reason", &refusal.reason)]);
            return Err(Problems::new(reader.problems, file, source::without_tokens(text)));
        }
    };
    let Some(tree) = tree.filter(|tree| matches!(tree.tree, Tree::Map(_))) else {
        reader.report(Place::TOP, NOT_A_MAPPING, "", &[]);
        return Err(Problems::new(reader.problems, file, text.to_owned()));
    };
    let config = Config::read(&mut reader, &tree, &Key::NONE, None);
    let source = source::masked(text, &reader.secrets);
    let problems = Problems::new(reader.problems, file, source).and_untold(reader.untold);
    match config {
        Some(config) if problems.errors() == 0 => {
            let warnings = problems.iter().cloned().collect();
            Ok(Loaded { config, warnings, file: file.to_owned(), source: problems.source, tree })
        }
        _ => Err(problems),
    }
}

impl Loaded {
    /// The warnings together with what the world checks found.
    pub fn problems(&self, found: Vec<Problem>) -> Problems {
        let all = self.warnings.iter().cloned().chain(found).collect();
        Problems::new(all, &self.file, self.source.clone())
    }

    /// The name of the file, as given.
    pub fn file(&self) -> &str {
        &self.file
    }
}
