//! Resolves paths to the files that define the items, by modules, imports and re-exports.

use std::collections::{BTreeMap, HashMap};

use super::{graph::Graph, module::Module};

/// Maximum number of re-exports that are followed for a name.
const MAX_STEPS: usize = 16;

pub(super) struct Crate<'a> {
    modules: &'a [Module],
    by_name: HashMap<&'a str, usize>,
}

impl<'a> Crate<'a> {
    pub(super) fn new(modules: &'a [Module]) -> Self {
        let by_name = modules.iter().enumerate().map(|(at, module)| (module.name.as_str(), at)).collect();
        Self { modules, by_name }
    }

    /// Returns the modules that each module uses.
    pub(super) fn uses(&self) -> Graph {
        let mut graph: Graph = vec![BTreeMap::new(); self.modules.len()];
        let mut enter = |from: usize, to: Option<usize>, line: usize| {
            if let Some(to) = to.filter(|to| *to != from) {
                graph[from].entry(to).or_insert(line);
            }
        };
        for (from, module) in self.modules.iter().enumerate() {
            for (name, (path, line)) in &module.imports {
                let is_mentioned = || module.mentions.iter().any(|(words, _)| words.first() == Some(name));
                if !module.exports.contains(name) || is_mentioned() {
                    enter(from, self.item(from, path, MAX_STEPS), *line);
                }
            }
            for (path, line) in &module.mentions {
                let is_imported = path.len() == 1 && module.imports.contains_key(&path[0]);
                if !is_imported && !self.is_variable(module, path) {
                    enter(from, self.item(from, path, MAX_STEPS), *line);
                }
            }
        }
        self.calls(&mut enter);
        graph
    }

    /// Whether a path is a single name that only a child module has. It must be a variable, because a module is not a value.
    fn is_variable(&self, module: &Module, path: &[String]) -> bool {
        let [word] = path else { return false };
        !module.defines.contains(word) && self.by_name.contains_key(format!("{}::{word}", module.name).as_str())
    }

    /// Adds calls of methods whose inherent implementation is in another file.
    fn calls(&self, enter: &mut impl FnMut(usize, Option<usize>, usize)) {
        let mut methods: HashMap<(usize, &str, &str), usize> = HashMap::new();
        for (at, module) in self.modules.iter().enumerate() {
            for (owner, method) in &module.methods {
                if let (Some(home), Some(last)) = (self.item(at, owner, MAX_STEPS), owner.last()) {
                    methods.insert((home, last, method), at);
                }
            }
        }
        for (from, module) in self.modules.iter().enumerate() {
            for (owner, method, line) in &module.calls {
                if let (Some(home), Some(last)) = (self.item(from, owner, MAX_STEPS), owner.last()) {
                    enter(from, methods.get(&(home, last.as_str(), method.as_str())).copied(), *line);
                }
            }
        }
    }

    /// Returns the module that defines the item `path` of module `at`, or `None` for names of other crates.
    fn item(&self, at: usize, path: &[String], steps: usize) -> Option<usize> {
        let steps = steps.checked_sub(1)?;
        let module = &self.modules[at];
        let (first, rest) = path.split_first()?;
        let next = match first.as_str() {
            "crate" => self.by_name.get("crate").copied(),
            "self" => Some(at),
            "super" => module.name.rsplit_once("::").and_then(|(parent, _)| self.by_name.get(parent).copied()),
            name => {
                if module.defines.contains(name) {
                    return Some(at);
                }
                match self.by_name.get(format!("{}::{name}", module.name).as_str()) {
                    Some(child) => Some(*child),
                    None => return self.imported(at, path, steps),
                }
            }
        }?;
        if rest.is_empty() { Some(next) } else { self.item(next, rest, steps) }
    }

    /// As `item`, for a name that the module imports.
    fn imported(&self, at: usize, path: &[String], steps: usize) -> Option<usize> {
        let module = &self.modules[at];
        let (first, rest) = path.split_first()?;
        if let Some((target, _)) = module.imports.get(first) {
            if target.first() == Some(first) && target.len() == 1 {
                return None; // `use name;` is another crate
            }
            return self.item(at, &[target.as_slice(), rest].concat(), steps);
        }
        module.globs.iter().find_map(|glob| {
            let found = self.item(at, &[glob.as_slice(), path].concat(), steps)?;
            (found != at).then_some(found)
        })
    }
}
