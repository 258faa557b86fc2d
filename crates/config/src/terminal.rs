//! Renders problems for a terminal: the source line with the position underlined. Long lines are cut around the position.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::problem::{Problem, Problems, Severity};

/// Maximum number of characters shown before the position, and from it on. The renderer does not shorten a line of this length.
const BEFORE: usize = 50;
const AFTER: usize = 70;

impl Problems {
    /// Returns each problem with its source line, in colour if `color` is set.
    pub fn terminal(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut cursor = Cursor::new(&self.source);
        let mut out = String::new();
        for problem in self {
            let excerpt = cursor.excerpt(problem.line, problem.column, problem.length);
            out.push_str(&draw(problem, &excerpt, &renderer));
            out.push_str("\n\n");
        }
        out + &self.suppressed_lines()
    }
}

/// Position in the source text. Moves forward only, because problems are ordered by position and a text may be one line
/// of many megabytes.
struct Cursor<'t> {
    /// Text from the start of the current line.
    rest: &'t str,
    line: u32,
    /// A column of the current line, and its byte offset in `rest`.
    column: u32,
    byte: usize,
}

struct Excerpt {
    text: String,
    /// The bytes to underline.
    from: usize,
    to: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self { rest: text, line: 1, column: 1, byte: 0 }
    }

    /// Returns the text around a position. The position must not be before the previous one.
    fn excerpt(&mut self, line: u32, column: u32, length: u32) -> Excerpt {
        while self.line < line {
            self.rest = self.rest.split_once('\n').map_or("", |(_, rest)| rest);
            (self.line, self.column, self.byte) = (self.line.saturating_add(1), 1, 0);
        }
        let here = self.rest.get(self.byte..).unwrap_or_default();
        let steps = here.chars().take(usize::try_from(column.saturating_sub(self.column)).unwrap_or(usize::MAX));
        let walked: usize = steps.take_while(|each| *each != '\n').map(char::len_utf8).sum();
        (self.column, self.byte) = (column.max(self.column), self.byte.saturating_add(walked));
        let (before, from) = self.rest.split_at_checked(self.byte).unwrap_or((self.rest, ""));
        // The rest of the line may be megabytes long.
        let from = from.get(..byte_of(from, AFTER.saturating_add(1))).unwrap_or_default();
        let from = from.split_once(['\n', '\r']).map_or(from, |(line, _)| line);
        let start = before.char_indices().rev().nth(BEFORE.saturating_sub(1)).map_or(0, |(byte, _)| byte);
        let end = byte_of(from, AFTER);
        let marked = byte_of(from, usize::try_from(length).unwrap_or(usize::MAX)).min(end);
        let cut = |is_cut: bool| if is_cut { "\u{2026}" } else { "" };
        let before = format!("{}{}", cut(start > 0), before.get(start..).unwrap_or_default());
        let shown = from.get(..end).unwrap_or_default();
        let text = format!("{before}{shown}{}", cut(end < from.len()));
        Excerpt { from: before.len(), to: before.len().saturating_add(marked), text }
    }
}

fn draw(problem: &Problem, excerpt: &Excerpt, renderer: &Renderer) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = if problem.path.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    };
    let number = |number: u32| usize::try_from(number).unwrap_or(1);
    let snippet = Snippet::source(excerpt.text.as_str())
        .line_start(number(problem.line))
        .path(problem.file.as_str())
        .annotation(AnnotationKind::Primary.span(excerpt.from..excerpt.to));
    let mut group = level.primary_title(title.as_str()).element(snippet);
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    let shown = renderer.render(&[group]);
    // The renderer counts columns in the excerpt, not in the line.
    let column = excerpt.text.get(..excerpt.from).unwrap_or_default().chars().count().saturating_add(1);
    let span = |column: usize| format!("{}:{}:{column}", problem.file, problem.line);
    if column == number(problem.column) {
        shown
    } else {
        shown.replacen(&span(column), &span(number(problem.column)), 1)
    }
}

/// Returns the byte offset of a character, or the length of the text.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests {
    use crate::load::parse;

    #[test]
    fn of_a_long_line_the_surroundings_are_shown() {
        let text = format!("{{{}log: {{ level: lo\u{fc}d }},{}}}", "x: 1, ".repeat(50), " y: 2,".repeat(50));
        let problems = parse(&text, "f", &|_| None).unwrap_err();
        let shown = problems.terminal(false);
        let expected = "\
error: log.level: Invalid log level: lo\u{fc}d
 --> f:1:316
  |
1 | \u{2026}x: 1, x: 1, x: 1, x: 1, x: 1, x: 1, log: { level: lo\u{fc}d }, y: 2, y: 2,";
        let at = shown.find("error: log.level").unwrap();
        assert!(shown[at..].starts_with(expected), "{}", &shown[at..]);
        let lines: Vec<&str> = shown[at..].lines().skip(3).take(2).collect();
        let [line, mark] = lines[..] else { panic!("{shown}") };
        let span = |text: &str, part: &str| text.find(part).map(|byte| text[..byte].chars().count());
        assert_eq!(span(line, "lo\u{fc}d"), span(mark, "^^^^"), "{shown}");
        assert!(line.ends_with('\u{2026}'), "{line}");
    }
}
