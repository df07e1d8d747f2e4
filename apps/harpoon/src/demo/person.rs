//! Invented people.

use super::{chance::Chance, company::Company};
use std::collections::BTreeSet;

/// Given names, between blanks.
const GIVEN: &str = "Amara Bastian Chiyo Dmitri Elif Farouk Greta Hana Ines Jonas Kavya Luca Mireille Nikhil Oona Priya Quentin Rosalind \
    Santiago Tamsin Ulrike Viktor Wren Ximena Yusuf Zora Anselm Beatriz Caspian Delphine Emeka Freya Gideon Hedda Ivo Jamila \
    Kenji Leocadia Magnus Nadia Otis Petra Rafaela Soren Thandiwe Uma Valentin Wilhelmina Xander Yara Zeno Aoife Bram \
    Celeste Dorian Esther";
/// Family names, between blanks.
const FAMILY: &str = "Abernoth Bellquist Castavar Dunmarrow Eskelgren Fairquill Grovander Hartwhistle Ibsworth Jorgenvale Kettlethorn \
    Lindqvarn Mapplebeck Nakashiro Okonjira Pemberlane Quistgard Ravenhalt Sandovante Tillingbrook Umberleigh Vandermarle \
    Wexcombe Yarrowmont Zabrinski Adeyoma Brackenhythe Corvallen Dasguptan Elsinger Fontavale Gallowmere Hollingsby \
    Iyengarde Jankovar Kallistrom Lowenhart Mbekwe Nordahlen Osterwick Pallavente Quesnard Rosenquill Silvermane Tanabishi \
    Uccelwyn-Brand Vasquelle Whittlemore Yamadori Zellerby Ashgrove-Lund Birchwater Copperdale Drakensson Evermoor Fensgate \
    Greenhalt Hawthornby Islington-Roe Jessamore Kirkhallow Larksong Merriweld Nightingdale";

/// Titles with their departments.
const ROLES: [(&str, &str); 22] = [
    ("VP Operations", "Operations"),
    ("Head of Data", "Data"),
    ("Chief Information Officer", "IT"),
    ("IT Manager", "IT"),
    ("Senior Software Engineer", "Engineering"),
    ("Director of Engineering", "Engineering"),
    ("Platform Engineer", "Engineering"),
    ("Procurement Lead", "Procurement"),
    ("Chief Financial Officer", "Finance"),
    ("Financial Controller", "Finance"),
    ("Marketing Operations Manager", "Marketing"),
    ("VP Marketing", "Marketing"),
    ("Demand Generation Lead", "Marketing"),
    ("Sales Director", "Sales"),
    ("Revenue Operations Analyst", "Sales"),
    ("Head of Customer Success", "Customer Success"),
    ("Product Manager", "Product"),
    ("Chief Product Officer", "Product"),
    ("Security Architect", "Security"),
    ("Compliance Officer", "Legal"),
    ("Business Analyst", "Operations"),
    ("Chief Executive Officer", "Management"),
];

const BROWSERS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
];

/// Providers of mailboxes for everybody, by generic names.
const FREE_MAIL: [&str; 3] = ["email.com", "inbox.com", "post.com"];

/// A person of the story.
#[derive(Debug, Clone)]
pub struct Person {
    /// Given and family name.
    pub name: (&'static str, &'static str),
    /// E-mail address.
    pub email: String,
    /// The id that the site gives whoever signs in.
    pub user_id: String,
    /// The id that the browser was given.
    pub anonymous_id: String,
    /// Title and department.
    pub role: (&'static str, &'static str),
    /// The browser.
    pub user_agent: &'static str,
    /// The address, from the ranges that are kept for documentation (RFC 5737).
    pub ip: String,
}

/// Everybody, so that no two have the same address.
#[derive(Debug)]
pub struct People {
    seed: u64,
    chance: Chance,
    given: Vec<&'static str>,
    family: Vec<&'static str>,
    taken: BTreeSet<String>,
    number: usize,
}

impl People {
    /// Nobody yet.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            chance: Chance::new(seed, "people"),
            given: GIVEN.split_whitespace().collect(),
            family: FAMILY.split_whitespace().collect(),
            taken: BTreeSet::new(),
            number: 0,
        }
    }

    /// Somebody of a company.
    pub fn of(&mut self, company: &Company) -> Person {
        self.somebody(&company.domain)
    }

    /// Somebody with a mailbox of a provider for everybody.
    pub fn private(&mut self) -> Person {
        let provider = self.chance.pick(&FREE_MAIL);
        self.somebody(provider)
    }

    /// How many there are.
    pub const fn number(&self) -> usize {
        self.number
    }

    fn somebody(&mut self, domain: &str) -> Person {
        self.number += 1;
        let (number, chance) = (self.number, &mut self.chance);
        let name = (chance.pick(&self.given), chance.pick(&self.family));
        let mailbox = format!("{}.{}", name.0, name.1).to_lowercase();
        let mut email = format!("{mailbox}@{domain}");
        if !self.taken.insert(email.clone()) {
            email = format!("{mailbox}{number}@{domain}");
            self.taken.insert(email.clone());
        }
        let seed = self.seed;
        Person {
            name,
            email,
            user_id: format!("demo-{seed}-user-{number}"),
            anonymous_id: format!("demo-{seed}-browser-{number}"),
            role: chance.pick(&ROLES),
            user_agent: chance.pick(&BROWSERS),
            ip: format!("{}.{}", chance.pick(&["192.0.2", "198.51.100", "203.0.113"]), chance.between(1, 254)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::mail::{DomainClass, EmailAddress};

    #[test]
    fn private_mailboxes_are_free_mail_and_no_two_are_alike() {
        let mut people = People::new(5);
        let everybody: Vec<Person> = (0..2_000).map(|_| people.private()).collect();
        for person in &everybody {
            assert_eq!(EmailAddress::new(&person.email).unwrap().domain_class(), DomainClass::Free, "{}", person.email);
        }
        let addresses: BTreeSet<&str> = everybody.iter().map(|person| person.email.as_str()).collect();
        assert_eq!(addresses.len(), 2_000);
    }
}
