//! The vendored lists, searched where they lie: sorted text in the program, one entry a line, no index and no memory of its own.

/// A sorted list of lower-case entries, one a line.
pub(super) struct SortedLines(&'static str);

/// Providers of mailboxes for everybody, as published, without the disposable ones.
pub(super) static FREE: SortedLines = SortedLines(include_str!("../../data/free-mail.txt"));
/// Such providers that the published list lacks.
pub(super) static FREE_ADDITIONS: SortedLines = SortedLines(include_str!("../../data/free-mail-additions.txt"));
/// Providers of throw-away mailboxes.
pub(super) static DISPOSABLE: SortedLines = SortedLines(include_str!("../../data/disposable.txt"));
/// Mailboxes of roles.
pub(super) static ROLES: SortedLines = SortedLines(include_str!("../../data/role-mailboxes.txt"));

impl SortedLines {
    /// Whether the list holds the entry: a binary search over the bytes of the text, some 17 steps for the longest list.
    pub(super) fn contains(&self, entry: &str) -> bool {
        let text = self.0.as_bytes();
        let (mut low, mut high) = (0, text.len());
        // Both bounds are always at the beginning of a line or at the end of the text.
        while low < high {
            let middle = low + (high - low) / 2;
            let before = text.get(low..middle).unwrap_or_default();
            let start = before.iter().rposition(|c| *c == b'\n').map_or(low, |at| low + at + 1);
            let rest = text.get(start..high).unwrap_or_default();
            let length = rest.iter().position(|c| *c == b'\n').unwrap_or(rest.len());
            let line = rest.get(..length).unwrap_or_default();
            match line.cmp(entry.as_bytes()) {
                std::cmp::Ordering::Equal => return true,
                std::cmp::Ordering::Less => low = start + length + 1,
                std::cmp::Ordering::Greater => high = start,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: [(&str, &SortedLines); 4] =
        [("free", &FREE), ("additions", &FREE_ADDITIONS), ("disposable", &DISPOSABLE), ("roles", &ROLES)];

    #[test]
    fn every_list_is_sorted_lower_case_and_free_of_repeats() {
        for (name, list) in LISTS {
            let lines: Vec<&str> = list.0.lines().collect();
            assert!(list.0.ends_with('\n') && !list.0.contains('\r'), "{name}");
            assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
            assert!(lines.iter().all(|line| !line.is_empty() && line.trim() == *line && line.to_lowercase() == *line), "{name}");
        }
    }

    #[test]
    fn every_entry_is_found_and_nothing_else() {
        for (name, list) in LISTS {
            for line in list.0.lines() {
                assert!(list.contains(line), "{name}: {line}");
                assert!(!list.contains(&format!("{line}~")), "{name}: {line}~");
                assert!(!list.contains(&format!("!{line}")), "{name}: !{line}");
            }
            assert!(!list.contains(""), "{name}");
            assert!(!list.contains("\n"), "{name}");
        }
    }

    #[test]
    fn no_domain_is_both_free_and_disposable() {
        for line in FREE.0.lines().chain(FREE_ADDITIONS.0.lines()) {
            assert!(!DISPOSABLE.contains(line), "{line}");
        }
    }

    #[test]
    fn the_sources_name_what_is_vendored() {
        let sources = include_str!("../../data/sources.toml");
        for (file, list) in [("free-mail.txt", &FREE), ("disposable.txt", &DISPOSABLE)] {
            assert!(sources.contains(&format!("file = \"{file}\"")));
            assert!(sources.contains(&format!("entries = {}", list.0.lines().count())), "{file} was edited by hand");
        }
    }
}
