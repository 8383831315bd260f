//! How wide texts are on a terminal.
//!
//! It is an approximation by blocks of Unicode: enough for columns to stand under one another, and too
//! little to be worth a crate and its tables.

/// The columns that a text takes which has no control characters.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(char: char) -> usize {
    match char {
        // Marks on what is before them, and characters without a look of their own.
        '\u{300}'..='\u{36f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe00}'..='\u{fe0f}' => 0,
        // The writing of East Asia, and pictures.
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{303e}'
        | '\u{3041}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1f64f}'
        | '\u{1f680}'..='\u{1f6ff}'
        | '\u{1f900}'..='\u{1f9ff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// The text with spaces behind it, up to this width.
pub(super) fn padded(text: &str, wide: usize) -> String {
    let spaces = wide.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(spaces))
}

/// Rows as lines, with the cells of each column under one another.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or_default()
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
    fn wide_characters_take_two_columns_and_marks_none() {
        for (text, wide) in [("", 0), ("abc", 3), ("東京", 4), ("e\u{301}", 1), ("😀!", 3), ("é→", 2)]
        {
            assert_eq!(width(text), wide, "{text}");
        }
    }

    #[test]
    fn columns_stand_under_one_another() {
        let rows = [["東".to_owned(), "a".to_owned()], ["abc".to_owned(), String::new()]];
        assert_eq!(aligned(&rows), ["東   a", "abc"]);
    }
}
