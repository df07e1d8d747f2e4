//! Text that somebody else wrote, made fit for a terminal.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Characters that steer how text is shown without being seen themselves: they can make a name read as another one.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line without control and invisible characters, of at most `max` characters; what is cut ends in `…`.
pub fn plain(text: &str, max: usize) -> String {
    // No more is looked at than can be shown many times over, however long the text is.
    let looked_at = text.chars().take(max.saturating_mul(8).saturating_add(64));
    let shown: String =
        looked_at.filter(|c| !is_invisible(*c)).map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c }).collect();
    let words: Vec<&str> = shown.split(' ').filter(|word| !word.is_empty()).collect();
    let line = words.join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let mut cut: String = line.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Writes to the standard output. A reader that had enough (`| head`) is no error.
///
/// # Errors
/// It can't be written.
pub fn say(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A whole number with a comma before every three digits.
pub fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::new();
    if number < 0 {
        out.push('−');
    }
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("Ev\u{1b}[31mil\r\n\u{202e}Corp\u{7}\t \u{9b}2J", 80), "Ev [31mil Corp 2J");
    }

    #[test]
    fn what_is_too_long_is_cut() {
        assert_eq!(plain("Quarrystone", 6), "Quarr…");
        assert_eq!(plain("Quarry", 6), "Quarry");
        assert_eq!(plain(&"x".repeat(100_000), 3), "xx…");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        let shown: Vec<String> = [0, 999, 1_000, -12_345_678].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "999", "1,000", "−12,345,678"]);
    }
}
