//! Problems as a terminal shows them: the source line, and the place underlined.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::problem::{Problem, Problems, Severity};

impl Problems {
    /// Each problem with its source line and the place underlined, in colour if wanted.
    pub fn terminal(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut lines = self.source.lines().enumerate().map(|(index, text)| (index.saturating_add(1), text));
        let mut current = lines.next();
        let mut out = String::new();
        // Problems are ordered by line, so one walk over the text finds every line.
        for problem in self {
            let line = usize::try_from(problem.line).unwrap_or(usize::MAX);
            while current.is_some_and(|(number, _)| number < line) {
                current = lines.next();
            }
            let text = current.filter(|(number, _)| *number == line).map(|(_, text)| text);
            out.push_str(&draw(problem, text, &renderer));
            out.push_str("\n\n");
        }
        out
    }
}

fn draw(problem: &Problem, line: Option<&str>, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = if problem.path.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    };
    let text = line.unwrap_or_default();
    let from = byte_of(text, problem.column.saturating_sub(1));
    let to = byte_of(text, problem.column.saturating_sub(1).saturating_add(problem.length)).max(from);
    let snippet = Snippet::source(text)
        .line_start(usize::try_from(problem.line).unwrap_or(1))
        .path(problem.file.as_str())
        .annotation(AnnotationKind::Primary.span(from..to));
    let mut group = level.primary_title(title.as_str()).element(snippet);
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

/// The byte at which a character begins, or the end.
fn byte_of(text: &str, character: u32) -> usize {
    let character = usize::try_from(character).unwrap_or(usize::MAX);
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}
