//! Aligned columns. Text from the cluster is made harmless: no control characters reach the terminal.

use super::out::{Out, Tone};

/// Space between columns.
const GAP: &str = "   ";

/// A last column narrower than this is not cut: so little says nothing.
const NARROWEST: usize = 8;

/// One cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A cell with a colour.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            text: text.into(),
            tone: Some(tone),
        }
    }
}

impl Cell {
    /// As it looks outside a table.
    pub fn show(&self, out: &Out) -> String {
        self.tone
            .map_or_else(|| self.text.clone(), |tone| out.tint(&self.text, tone))
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self {
            text: text.to_string(),
            tone: None,
        }
    }
}

/// Rows under headings.
#[derive(Debug, Default)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&'static str]) -> Self {
        Self {
            headings: headings.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        let one_line = |cell: Cell| Cell {
            text: first_line(&cell.text),
            tone: cell.tone,
        };
        self.rows.push(cells.into_iter().map(one_line).collect());
    }

    /// The text, one line per row; columns in which every cell is empty are left out.
    pub fn render(&self, out: &Out) -> String {
        self.render_cut(out).0
    }

    /// As [`Self::render`]; also the rows whose last column was cut to fit the terminal.
    pub fn render_cut(&self, out: &Out) -> (String, Vec<usize>) {
        let columns: Vec<usize> = (0..self.headings.len())
            .filter(|c| self.is_used(*c))
            .collect();
        let heading = |c: &usize| Cell::toned(self.headings[*c], Tone::Faint);
        let headings: Vec<Cell> = columns.iter().map(heading).collect();
        let rows = self
            .rows
            .iter()
            .map(|row| columns.iter().map(|c| cell(row, *c)).collect());
        let mut lines: Vec<Vec<Cell>> = std::iter::once(headings).chain(rows).collect();
        let widths: Vec<usize> = (0..columns.len())
            .map(|c| {
                lines
                    .iter()
                    .map(|line| width(&line[c].text))
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let cut = cut_last(&mut lines, &widths, out);
        let text = lines.iter().map(|line| render_line(line, &widths, out));
        (text.collect(), cut)
    }

    fn is_used(&self, column: usize) -> bool {
        self.rows.is_empty()
            || self
                .rows
                .iter()
                .any(|row| !cell(row, column).text.is_empty())
    }
}

/// Shortens the last column to what the terminal has left; the rows where it did, the heading not counted.
fn cut_last(lines: &mut [Vec<Cell>], widths: &[usize], out: &Out) -> Vec<usize> {
    let before = widths.split_last().map_or(0, |(_, before)| {
        before.iter().map(|w| w + GAP.len()).sum::<usize>()
    });
    let Some(room) = out.width().and_then(|width| width.checked_sub(before)) else {
        return Vec::new();
    };
    let mut cut = Vec::new();
    for (n, line) in lines.iter_mut().enumerate().skip(1) {
        if let Some(last) = line.last_mut().filter(|c| width(&c.text) > room)
            && room >= NARROWEST
        {
            last.text = shorten(&last.text, room);
            cut.push(n - 1);
        }
    }
    cut
}

/// At most `room` characters; an ellipsis shows that there were more.
pub fn shorten(text: &str, room: usize) -> String {
    match width(text) > room {
        true => text
            .chars()
            .take(room.saturating_sub(1))
            .chain(['…'])
            .collect(),
        false => text.to_owned(),
    }
}

fn cell(row: &[Cell], column: usize) -> Cell {
    row.get(column).cloned().unwrap_or_default()
}

fn render_line(line: &[Cell], widths: &[usize], out: &Out) -> String {
    // Nothing behind the last text, so that lines can be copied and compared.
    let last = line.iter().rposition(|cell| !cell.text.is_empty());
    let used = &line[..last.map_or(0, |last| last + 1)];
    let mut text = String::new();
    for (n, cell) in used.iter().enumerate() {
        text += &cell.show(out);
        if n + 1 < used.len() {
            text += &" ".repeat(widths[n] - width(&cell.text));
            text += GAP;
        }
    }
    text.push('\n');
    text
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// The first line, without control characters.
pub fn first_line(text: &str) -> String {
    harmless(text.lines().next().unwrap_or_default())
}

/// `text` without control characters: an app's words must not move the cursor of who reads them.
pub fn harmless(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::super::out::Format;
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut table = Table::new(&["NAME", "NOTE", "AGE", "REASON"]);
        table.row([
            "web-1".into(),
            Cell::default(),
            "4 s".into(),
            Cell::default(),
        ]);
        table.row([
            "a".into(),
            Cell::default(),
            "12 min".into(),
            "exit 1\nmore".into(),
        ]);
        assert_eq!(
            table.render(&Out::new(Format::Text)),
            "NAME    AGE      REASON\nweb-1   4 s\na       12 min   exit 1\n"
        );
    }

    #[test]
    fn the_last_column_is_cut_where_the_terminal_ends() {
        let mut table = Table::new(&["NAME", "REASON"]);
        table.row(["web-1".into(), "exited with code 3".into()]);
        table.row(["web-2".into(), "short".into()]);
        let (text, cut) = table.render_cut(&Out::narrow(20));
        assert_eq!(
            text,
            "NAME    REASON\nweb-1   exited with…\nweb-2   short\n"
        );
        assert_eq!(cut, [0]);
        let (text, cut) = table.render_cut(&Out::narrow(10));
        assert!(text.contains("exited with code 3") && cut.is_empty());
    }

    #[test]
    fn headings_stay_without_rows_and_control_characters_go() {
        let table = Table::new(&["NAME", "AGE"]);
        assert_eq!(table.render(&Out::new(Format::Text)), "NAME   AGE\n");
        assert_eq!(harmless("a\x1b[2Jb"), "a\u{fffd}[2Jb");
    }
}
