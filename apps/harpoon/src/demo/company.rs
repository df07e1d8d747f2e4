//! Invented companies: what each is, and which part it plays in the month.

use super::chance::Chance;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How well a company fits what is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Large, in a country and an industry that are sold to.
    Enterprise,
    /// Large, in another country or industry.
    LargeElsewhere,
    /// A few hundred people, in a country and an industry that are sold to.
    MidMarket,
    /// Small, in another industry, mostly in another country.
    Poor,
    /// Only its size is known.
    PartlyKnown,
    /// Nothing is known but the domain.
    Unknown,
}

/// What a company's people do this month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A quiet month, then a demo request, a meeting and everybody reading, this week.
    Evaluating,
    /// A quiet month, then several people at once, this week.
    Surging,
    /// A quiet month, then several people at once, within the last day.
    Spiking,
    /// Seen for the first time this week, by several people; what company it is they say only today.
    Arriving,
    /// Busy a month ago, silent since.
    Cooling,
    /// A visit or two.
    Light,
    /// A few visits every week.
    Steady,
    /// Reached by campaigns: e-mail, advertisements.
    Advertised,
    /// A customer at work in the product.
    Customer,
    /// Nobody known; its people read about us on a review site.
    Watching,
}

/// How a company comes to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownBy {
    /// By group calls, which also state its fields.
    Group,
    /// By the e-mail addresses of its people, whose traits state its fields.
    Address,
    /// By account events.
    AccountEvents,
}

/// A country: its code, how clients write it, the end of domains there, and its time zone in minutes east of Greenwich.
#[derive(Debug, Clone, Copy)]
pub struct Country {
    written: [&'static str; 2],
    suffix: &'static str,
    zones: &'static [i64],
}

const AMERICA: Country = Country { written: ["United States", "US"], suffix: "com", zones: &[-300, -360, -420, -480] };
const SOLD_TO: [Country; 5] = [
    AMERICA,
    Country { written: ["United Kingdom", "UK"], suffix: "co.uk", zones: &[0] },
    Country { written: ["Canada", "CA"], suffix: "ca", zones: &[-300, -420] },
    Country { written: ["Australia", "AU"], suffix: "com.au", zones: &[600] },
    Country { written: ["Germany", "Deutschland"], suffix: "de", zones: &[60] },
];
const ELSEWHERE: [Country; 6] = [
    Country { written: ["France", "FR"], suffix: "fr", zones: &[60] },
    Country { written: ["Netherlands", "NL"], suffix: "nl", zones: &[60] },
    Country { written: ["Sweden", "SE"], suffix: "se", zones: &[60] },
    Country { written: ["India", "IN"], suffix: "in", zones: &[330] },
    Country { written: ["Brazil", "BR"], suffix: "com.br", zones: &[-180] },
    Country { written: ["Japan", "JP"], suffix: "jp", zones: &[540] },
];

/// The last word of a name, and the industry as clients write it.
type Trade = (&'static str, &'static str);

const WANTED: [Trade; 14] = [
    ("Systems", "Technology"),
    ("Software", "Software Development"),
    ("Robotics", "Technology"),
    ("Data", "Information Technology"),
    ("Networks", "Technology"),
    ("Capital", "Finance"),
    ("Mutual", "Insurance"),
    ("Credit", "Financial Services"),
    ("Assurance", "Finance"),
    ("Health", "Healthcare"),
    ("Biologics", "Biotechnology"),
    ("Clinics", "Hospitals and Health Care"),
    ("Diagnostics", "Medical Devices"),
    ("Analytics", "Technology"),
];
const UNWANTED: [Trade; 12] = [
    ("Mills", "Manufacturing"),
    ("Castings", "Manufacturing"),
    ("Ceramics", "Manufacturing"),
    ("Outfitters", "Retail"),
    ("Grocers", "Retail"),
    ("Freight", "Transportation"),
    ("Hotels", "Hospitality"),
    ("Academies", "Education"),
    ("Orchards", "Agriculture"),
    ("Publishing", "Media"),
    ("Builders", "Construction"),
    ("Bakeries", "Food & Beverages"),
];

/// The first words of names, between blanks.
const FIRST_WORDS: &str = "Quarrystone Thistledyke Umberfell Vellumgate Harrowmead Cinderwick Pellbrook Marlowick Fernhallow Gantrywell Copperlane \
    Drumlinford Eskermoor Fallowgate Inkermoor Kestrelby Lanternfield Mossgarth Oakenshore Plumbwick Quillhaven Rookwater \
    Saltersgarth Tallowhurst Underhythe Varnwood Wickerbourne Yewcastle Zinnowick Bramblecourt Chalkstead Duskwater \
    Embershaw Flintlatch Gorsewell Hollowpine Ironquay Juniperholt Knotweave Loamfield Millfathom Northquill Ottermere \
    Pewterby Ravenslate Sedgewater Thornlatch Umbrelmoor Vintnerhall Wheatlatch Yarrowgarth Zephyrquay Alderfen Boxthornby \
    Cobblewick Dovetreen Elmsgarth Foxmantle Glasswick Heronsgarth Islewright Jasperfold Kilnhallow Larkspindle Mirefield \
    Nettlequay Orchardby Pipersgarth Quernmoor Rushlatch Skylarkby Tarnfold Ullmere Violetgate Willowthane Yokebridge \
    Anvilmere Birchfathom Cragwell Dapplemoor Everlatch Furzegate Greywicket Hazelthane";

/// The companies that show something by themselves, in the order in which they are shown.
const CAST: [(Fit, Part, KnownBy, &str); 10] = [
    (Fit::Enterprise, Part::Evaluating, KnownBy::Group, "fits; asked for a demo and met sales this week"),
    (Fit::Enterprise, Part::Surging, KnownBy::Group, "fits; several people became active at once"),
    (Fit::Enterprise, Part::Arriving, KnownBy::Address, "fits, which is known since today; new this week"),
    (Fit::MidMarket, Part::Spiking, KnownBy::Address, "of medium size; several people became active within a day"),
    (Fit::Enterprise, Part::Cooling, KnownBy::Group, "fits; was busy a month ago and went silent: points decay"),
    (Fit::Enterprise, Part::Light, KnownBy::Group, "fits; hardly anybody came yet"),
    (Fit::Poor, Part::Steady, KnownBy::Address, "active all month, but does not fit"),
    (Fit::Unknown, Part::Steady, KnownBy::Address, "active; low because no field is known"),
    (Fit::PartlyKnown, Part::Advertised, KnownBy::Group, "only its size is known; reached by campaigns"),
    (Fit::Unknown, Part::Watching, KnownBy::AccountEvents, "seen on a review site; no person known"),
];

/// A company of the story.
#[derive(Debug, Clone)]
pub struct Company {
    /// What it is called.
    pub name: String,
    /// Its web domain.
    pub domain: String,
    /// The id that clients give it.
    pub id: String,
    /// How it comes to be known.
    pub known_by: KnownBy,
    /// What its people do.
    pub part: Part,
    /// Why it is worth looking at, for those that are.
    pub note: Option<&'static str>,
    /// Minutes east of Greenwich.
    pub zone: i64,
    /// What is stated of it, by field.
    pub fields: Vec<(&'static str, Value)>,
}

/// So many companies; those with a note come first.
pub fn companies(seed: u64, number: usize) -> Vec<Company> {
    let mut chance = Chance::new(seed, "companies");
    let mut words: Vec<&str> = FIRST_WORDS.split_whitespace().collect();
    chance.shuffle(&mut words);
    let mut taken = BTreeSet::new();
    // Words that come again come with other trades.
    words.into_iter().cycle().take(number).enumerate().map(|(n, word)| company(&mut chance, &mut taken, n, word)).collect()
}

fn company(chance: &mut Chance, taken: &mut BTreeSet<String>, n: usize, word: &str) -> Company {
    let (fit, part, known_by, note) = match CAST.get(n) {
        Some((fit, part, known_by, note)) => (*fit, *part, *known_by, Some(*note)),
        None => {
            let known_by = if chance.percent(60) { KnownBy::Group } else { KnownBy::Address };
            (ordinary_fit(chance), ordinary_part(chance), known_by, None)
        }
    };
    let country = country(chance, fit);
    let trades: &[Trade] = match fit {
        Fit::Enterprise | Fit::MidMarket => &WANTED,
        Fit::LargeElsewhere | Fit::Poor => &UNWANTED,
        Fit::PartlyKnown | Fit::Unknown if chance.percent(50) => &WANTED,
        Fit::PartlyKnown | Fit::Unknown => &UNWANTED,
    };
    let first = chance.below(trades.len());
    // The first trade from there on that makes a name nobody has.
    let (trade, industry) = (0..trades.len())
        .filter_map(|step| trades.get((first + step) % trades.len()).copied())
        .find(|(trade, _)| !taken.contains(&format!("{word} {trade}")))
        .unwrap_or(("Holdings", "Professional Services"));
    let mut name = format!("{word} {trade}");
    if !taken.insert(name.clone()) {
        name = format!("{word} {trade} {n}");
        taken.insert(name.clone());
    }
    let slug = name.to_lowercase().replace(' ', "-");
    Company {
        domain: format!("{slug}.{}", if chance.percent(70) { "com" } else { country.suffix }),
        id: format!("acct-{slug}"),
        known_by,
        part,
        note,
        zone: chance.pick(country.zones),
        fields: fields(chance, fit, part, &country, industry),
        name,
    }
}

fn ordinary_fit(chance: &mut Chance) -> Fit {
    match chance.below(100) {
        0..12 => Fit::Enterprise,
        12..18 => Fit::LargeElsewhere,
        18..50 => Fit::MidMarket,
        50..86 => Fit::Poor,
        86..93 => Fit::PartlyKnown,
        _ => Fit::Unknown,
    }
}

fn ordinary_part(chance: &mut Chance) -> Part {
    match chance.below(100) {
        0..36 => Part::Light,
        36..56 => Part::Steady,
        56..71 => Part::Advertised,
        71..80 => Part::Cooling,
        80..84 => Part::Evaluating,
        84..87 => Part::Surging,
        _ => Part::Customer,
    }
}

fn country(chance: &mut Chance, fit: Fit) -> Country {
    let from: &[Country] = match fit {
        Fit::Poor if chance.percent(60) => &ELSEWHERE,
        Fit::LargeElsewhere if chance.percent(60) => &ELSEWHERE,
        _ if chance.percent(45) => return AMERICA,
        _ => &SOLD_TO,
    };
    from.get(chance.below(from.len())).copied().unwrap_or(AMERICA)
}

/// What clients state, in the forms in which they do.
fn fields(chance: &mut Chance, fit: Fit, part: Part, country: &Country, industry: &str) -> Vec<(&'static str, Value)> {
    let employees = match fit {
        Fit::Enterprise | Fit::LargeElsewhere => chance.between(11, 240) * 100,
        Fit::MidMarket => chance.between(15, 90) * 10,
        Fit::PartlyKnown => chance.between(10, 60) * 100,
        Fit::Poor => chance.between(4, 95),
        Fit::Unknown => return Vec::new(),
    };
    // What a person brings in a year, in thousands; less where there are fewer of them.
    let each = if fit == Fit::MidMarket { chance.between(30, 55) } else { chance.between(180, 320) };
    let millions = (employees * each / 1000).max(1);
    let employees = match employees {
        1000..2000 if chance.percent(30) => json!("1,000+"),
        200..500 if chance.percent(30) => json!("201-500"),
        _ => json!(employees),
    };
    let mut fields = vec![("employees", employees)];
    if fit == Fit::PartlyKnown {
        return fields;
    }
    fields.push(("revenue", if chance.percent(50) { json!(format!("${millions}M")) } else { json!(millions * 1_000_000) }));
    fields.push(("country", json!(chance.pick(&country.written))));
    fields.push(("industry", json!(industry)));
    if part == Part::Customer {
        fields.push(("existing_customer", json!(true)));
        fields.push(("plan", json!(chance.pick(&["Team", "Business", "Enterprise"]))));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_companies_share_a_name_or_a_domain() {
        let companies = companies(3, 500);
        let names: BTreeSet<&str> = companies.iter().map(|company| company.name.as_str()).collect();
        let domains: BTreeSet<&str> = companies.iter().map(|company| company.domain.as_str()).collect();
        assert_eq!((companies.len(), names.len(), domains.len()), (500, 500, 500));
    }

    #[test]
    fn every_domain_is_a_company_domain() {
        for company in companies(1, 200) {
            let domain = domain::mail::WebDomain::new(&company.domain).unwrap();
            assert!(domain.is_corporate() && domain.as_str() == company.domain, "{}", company.domain);
        }
    }

    #[test]
    fn more_companies_leave_the_first_ones_as_they_are() {
        let few: Vec<String> = companies(9, 12).into_iter().map(|company| company.domain).collect();
        let many: Vec<String> = companies(9, 60).into_iter().take(12).map(|company| company.domain).collect();
        assert_eq!(few, many);
    }
}
