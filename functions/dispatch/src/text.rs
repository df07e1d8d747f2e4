//! Text that somebody else wrote, made fit for a message.

/// Characters that steer how text is shown without being seen themselves: they can make a name read as another one.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line without control and invisible characters, at most `max` UTF-16 units long; what is cut ends in `…`.
pub fn plain(text: &str, max: usize) -> String {
    fitted(text, max, |c| c.len_utf16(), |out, c| out.push(c))
}

/// As [`plain`], escaped as Slack wants it: `&`, `<` and `>` become entities, which count with their length, so that none is cut.
pub fn escaped(text: &str, max: usize) -> String {
    let entity = |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    };
    fitted(
        text,
        max,
        |c| entity(c).map_or(c.len_utf16(), str::len),
        |out, c| match entity(c) {
            Some(entity) => out.push_str(entity),
            None => out.push(c),
        },
    )
}

fn fitted(text: &str, max: usize, width: impl Fn(char) -> usize, push: impl Fn(&mut String, char)) -> String {
    let mut out = String::new();
    // `whole` is what still leaves room for the sign that something was cut.
    let (mut length, mut whole) = (0_usize, 0_usize);
    let mut blank = false;
    let visible = text.chars().filter(|c| !is_invisible(*c)).map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c });
    for c in visible {
        if c == ' ' {
            blank = !out.is_empty();
            continue;
        }
        let wanted = width(c) + usize::from(blank);
        if length + wanted > max {
            out.truncate(whole);
            if max > 0 {
                out.push('…');
            }
            return out;
        }
        if blank {
            out.push(' ');
            blank = false;
        }
        push(&mut out, c);
        length += wanted;
        if length < max {
            whole = out.len();
        }
    }
    out
}

/// At most `max` bytes, cut at a character.
pub fn cut(text: &str, max: usize) -> &str {
    let end = (0..=max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// The beginning of an answer's body for the log: one line of at most 500 bytes in which none of the secrets is left.
pub fn scrubbed(answer: &str, secrets: &[String]) -> String {
    let mut text = answer.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() >= 6) {
        text = text.replace(secret.as_str(), "…");
    }
    cut(&plain(&text, 500), 500).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_becomes_one_visible_line() {
        assert_eq!(plain(" North\u{202e}wind\n\t Looms\u{0} ", 100), "Northwind Looms");
        assert_eq!(plain("abcdef", 5), "abcd…");
        assert_eq!(plain("abcde", 5), "abcde");
        assert_eq!(plain("ab cdef", 4), "ab…");
        assert_eq!(plain("", 5), "");
    }

    #[test]
    fn entities_are_never_cut() {
        assert_eq!(escaped("<!channel> & co", 100), "&lt;!channel&gt; &amp; co");
        assert_eq!(escaped("a<<<", 9), "a&lt;…");
        assert_eq!(escaped("&&", 10), "&amp;&amp;");
        assert_eq!(escaped("&&", 9), "&amp;…");
    }

    #[test]
    fn secrets_leave_no_trace_in_the_log() {
        let answer = format!("you posted to /services/token-9f3c with whsec_abc\u{1b}[31m {}", "x".repeat(900));
        let text = scrubbed(&answer, &["token-9f3c".to_owned(), "whsec_abc".to_owned(), "to".to_owned()]);
        assert!(text.starts_with("you posted to /services/… with … [31m"), "{text}");
        assert!(text.len() <= 500);
    }

    proptest! {
        #[test]
        fn no_limit_is_exceeded_and_nothing_dangerous_is_left(text in any::<String>(), max in 1_usize..300) {
            let (plain, escaped) = (plain(&text, max), escaped(&text, max));
            for out in [&plain, &escaped] {
                prop_assert!(out.encode_utf16().count() <= max);
                prop_assert!(!out.chars().any(|c| c.is_control() || is_invisible(c)));
            }
            prop_assert!(!escaped.contains(['<', '>']));
            prop_assert!(scrubbed(&text, &[]).len() <= 500);
        }
    }
}
