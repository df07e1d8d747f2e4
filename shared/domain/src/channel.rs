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
        let has = |words: &[&str]| words.iter().any(|word| folded.contains(word));
        if has(&["email", "newsletter"]) {
            Self::Email
        } else if has(&["adclick", "adview", "adimpression", "linkedinad", "advert"]) {
            Self::Ads
        } else if has(&["booth", "conference", "dinner", "attended", "inperson", "webinarattend"]) {
            Self::InPerson
        } else if has(&["meeting", "salescall", "callcompleted", "sdr"]) {
            Self::Sales
        } else if has(&["pageview", "pageviewed", "download", "formsubmit", "demorequest", "visit", "webinar", "viewedpage"]) {
            Self::Website
        } else {
            Self::Product
        }
    }
}
