//! Columns of text on a terminal.

use unicode_width::UnicodeWidthStr as _;

/// Returns the text with spaces after it, up to this width.
pub(super) fn padded(text: &str, wide: usize) -> String {
    let spaces = wide.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(spaces))
}

/// Returns the rows as lines, with the cells of each column under one another.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.width()).max().unwrap_or(0)
    });
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, wide)| padded(cell, wide)).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_columns_that_have_wide_characters() {
        let rows = [["東".to_owned(), "a".to_owned()], ["abc".to_owned(), String::new()]];
        assert_eq!(aligned(&rows), ["東   a", "abc"]);
    }
}
