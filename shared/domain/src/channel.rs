//! Where an event happened.

use crate::{CallKind, Event};
use serde::{Deserialize, Serialize};

/// Where an event happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The web site.
    Website,
    /// E-mail.
    Email,
    /// The product itself.
    Product,
    /// Advertising.
    Ads,
    /// Events, booths, dinners.
    InPerson,
    /// Calls and meetings with sales.
    Sales,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 6] = [Self::Website, Self::Email, Self::Product, Self::Ads, Self::InPerson, Self::Sales];

    /// The word used in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Website => "website",
            Self::Email => "email",
            Self::Product => "product",
            Self::Ads => "ads",
            Self::InPerson => "in-person",
            Self::Sales => "sales",
        }
    }

    fn named(text: &str) -> Option<Self> {
        let folded = crate::fold_name(text);
        Self::ALL.into_iter().find(|channel| crate::fold_name(channel.as_str()) == folded)
    }

    /// The channel that the client states in `properties.channel`, else one told by the event's name, else the web site for
    /// pages and the product for everything that an app or a server sends. `None` for calls that say who somebody is.
    pub fn of(event: &Event, folded_name: &str, stated: Option<&str>) -> Option<Self> {
        match event.kind {
            CallKind::Identify | CallKind::Group | CallKind::Alias => return None,
            CallKind::Page | CallKind::Screen | CallKind::Track | CallKind::AccountEvent => {}
        }
        if let Some(channel) = stated.and_then(Self::named) {
            return Some(channel);
        }
        Some(match event.kind {
            CallKind::Page => Self::Website,
            CallKind::Screen => Self::Product,
            _ => Self::told_by(folded_name),
        })
    }

    fn told_by(folded: &str) -> Self {
        let found = folded.char_indices().filter_map(|(at, _)| rank_of(folded.get(at..)?)).min();
        found.and_then(|rank| WORDS.get(rank)).map_or(Self::Product, |(channel, _)| *channel)
    }
}

/// What events are called that happen in a channel; the first channel of which an event's name holds a word is the one.
const WORDS: [(Channel, &[&str]); 5] = [
    (Channel::Email, &["email", "newsletter"]),
    (Channel::Ads, &["adclick", "adview", "adimpression", "linkedinad", "advert"]),
    (Channel::InPerson, &["booth", "conference", "dinner", "attended", "inperson", "webinarattend"]),
    (Channel::Sales, &["meeting", "salescall", "callcompleted", "sdr"]),
    (Channel::Website, &["pageview", "pageviewed", "download", "formsubmit", "demorequest", "visit", "webinar", "viewedpage"]),
];

/// The place in [`WORDS`] of the first channel with a word that the text begins with.
fn rank_of(text: &str) -> Option<usize> {
    let first = text.as_bytes().first();
    let begins = |word: &&str| word.as_bytes().first() == first && text.starts_with(*word);
    WORDS.iter().position(|(_, words)| words.iter().any(begins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_channel_of_which_a_name_holds_a_word_is_the_one(
            parts in proptest::collection::vec(
                prop_oneof![proptest::sample::select(WORDS.iter().flat_map(|(_, words)| words.iter().copied()).collect::<Vec<_>>()), Just("é"), Just("x")],
                0..4,
            ),
            cut in 0_usize..4,
        ) {
            let name: String = parts.concat().chars().skip(cut).collect();
            let expected = WORDS.iter().find(|(_, words)| words.iter().any(|word| name.contains(word)));
            prop_assert_eq!(Channel::told_by(&name), expected.map_or(Channel::Product, |(channel, _)| *channel));
        }
    }
}
