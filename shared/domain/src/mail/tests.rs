//! Tests of e-mail addresses and web domains.

use super::*;
use proptest::prelude::*;

fn address(text: &str) -> EmailAddress {
    EmailAddress::new(text).unwrap()
}

fn class(host: &str) -> String {
    match address(&format!("ann@{host}")).domain_class() {
        DomainClass::Corporate(domain) => format!("corporate {domain}"),
        DomainClass::Academic(domain) => format!("academic {domain}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn an_address_is_trimmed_and_its_domain_lowered() {
    let ann = address("  Ann.Lee+news@Mail.Brightforge-Systems.COM ");
    assert_eq!(ann.as_str(), "Ann.Lee+news@mail.brightforge-systems.com");
    assert_eq!((ann.mailbox(), ann.host()), ("Ann.Lee+news", "mail.brightforge-systems.com"));
    assert_eq!(address("ann@bücher-lager.de").host(), "xn--bcher-lager-thb.de");
    assert_eq!(address("o'brien@a.example").mailbox(), "o'brien");
    assert_eq!(address("ann@a.example.").host(), "a.example");
}

#[test]
fn what_is_no_address_is_refused_without_repeating_it() {
    for (text, error) in [
        ("", EmailError::Empty),
        ("ann", EmailError::Form),
        ("@a.example", EmailError::Form),
        ("ann@", EmailError::Form),
        ("a b@a.example", EmailError::Mailbox),
        ("Ann <ann@a.example>", EmailError::Mailbox),
        ("\"a\"@a.example", EmailError::Mailbox),
        (".a@a.example", EmailError::Mailbox),
        ("a..b@a.example", EmailError::Mailbox),
        ("a@b@a.example", EmailError::Mailbox),
        ("ann@localhost", EmailError::Host),
        ("ann@127.0.0.1", EmailError::Host),
        ("ann@[127.0.0.1]", EmailError::Host),
        ("ann@a..example", EmailError::Host),
        ("ann@-a.example", EmailError::Host),
        ("ann@a b.example", EmailError::Host),
        ("ann@a.example,", EmailError::Host),
    ] {
        assert_eq!(EmailAddress::new(text), Err(error), "{text}");
    }
    assert_eq!(EmailAddress::new(&format!("{}@a.example", "x".repeat(65))), Err(EmailError::Mailbox));
    let labels = ["x".repeat(60), "x".repeat(60), "x".repeat(60), "x".repeat(60), "example".to_owned()].join(".");
    assert_eq!(EmailAddress::new(&format!("abcd@{labels}")), Err(EmailError::TooLong));
    assert!(!format!("{:?}", address("ann@a.example")).contains("ann"));
}

#[test]
fn addresses_are_classed_by_their_domain() {
    for (host, expected) in [
        ("brightforge-systems.com", "corporate brightforge-systems.com"),
        ("mail.eu.brightforge-systems.co.uk", "corporate brightforge-systems.co.uk"),
        ("gmail.com", "free"),
        ("GMAIL.com", "free"),
        ("yahoo.co.uk", "free"),
        ("mail.gmail.com", "free"),
        ("privaterelay.appleid.com", "free"),
        ("mozmail.com", "free"),
        ("hey.com", "free"),
        ("tuta.com", "free"),
        ("tutanota.com", "free"),
        ("mailbox.org", "free"),
        ("mailinator.com", "disposable"),
        ("inbox.mailinator.com", "disposable"),
        ("yopmail.com", "disposable"),
        ("northmoor.edu", "academic northmoor.edu"),
        ("cs.northmoor.ac.uk", "academic northmoor.ac.uk"),
        ("northmoor.edu.au", "academic northmoor.edu.au"),
        ("northmoor.ac.jp", "academic northmoor.ac.jp"),
        ("northmoor-edu.com", "corporate northmoor-edu.com"),
        ("ac.brightforge-systems.com", "corporate brightforge-systems.com"),
        ("co.uk", "invalid"),
        ("ac.uk", "invalid"),
        ("office.local", "invalid"),
        ("northwind-looms.example", "invalid"),
    ] {
        assert_eq!(class(host), expected, "{host}");
    }
}

#[test]
fn role_mailboxes_are_told_from_people() {
    for role in ["info", "Sales", "support+tickets", "ADMIN", "noreply", "no-reply", "do-not-reply", "postmaster", "hello", "kontakt"] {
        assert!(address(&format!("{role}@a.example")).is_role(), "{role}");
    }
    for person in ["ann", "ann.lee", "information.ann", "sally", "+info", "ann+info"] {
        assert!(!address(&format!("{person}@a.example")).is_role(), "{person}");
    }
}

#[test]
fn a_website_gives_its_registrable_domain() {
    for (text, domain) in [
        ("https://www.brightforge-systems.com/about?x=1#y", Some("brightforge-systems.com")),
        ("HTTP://Brightforge-Systems.COM", Some("brightforge-systems.com")),
        ("brightforge-systems.co.uk", Some("brightforge-systems.co.uk")),
        ("//shop.brightforge-systems.com:8443/", Some("brightforge-systems.com")),
        ("www.brightforge-systems.com/a//b", Some("brightforge-systems.com")),
        ("https://user:secret@brightforge-systems.com/", Some("brightforge-systems.com")),
        ("https://bücher-lager.de", Some("xn--bcher-lager-thb.de")),
        ("https://xn--bcher-lager-thb.de.", Some("xn--bcher-lager-thb.de")),
        ("brightforge.公司.cn", Some("brightforge.xn--55qx5d.cn")),
        ("brightforge.github.io", Some("brightforge.github.io")),
        ("ftp://brightforge-systems.com", None),
        ("mailto:ann@brightforge-systems.com", None),
        ("http://localhost:3000", None),
        ("http://192.168.0.1/", None),
        ("http://[::1]/", None),
        ("https://co.uk", None),
        ("northwind-looms.example", None),
        ("not a domain", None),
        ("", None),
        ("https://", None),
    ] {
        assert_eq!(WebDomain::from_url(text).as_ref().map(WebDomain::as_str), domain, "{text}");
    }
}

#[test]
fn errors_of_web_domains_say_what_would_be_right() {
    let error = |text| WebDomain::new(text).unwrap_err().to_string();
    assert_eq!(error("a b"), "a web domain must be a host name such as `acme.com`, got `a b`");
    assert_eq!(error("office.local"), "a web domain must end in a public suffix such as `.com` or `.co.uk`, got `office.local`");
    assert_eq!(error("co.uk"), "a web domain must have a name before its public suffix, got `co.uk`");
}

#[test]
fn stored_domains_stay_readable_when_the_suffix_list_changes() {
    let stored: WebDomain = serde_json::from_str(r#""later-a-suffix.example""#).unwrap();
    assert_eq!(stored.as_str(), "later-a-suffix.example");
    assert!(serde_json::from_str::<WebDomain>(r#""not a domain""#).is_err());
    assert!(serde_json::from_str::<WebDomain>(r#""UPPER.com""#).is_err());
}

#[test]
fn corporate_domains_are_told_from_mail_providers() {
    assert!(WebDomain::new("brightforge-systems.com").unwrap().is_corporate());
    assert!(!WebDomain::new("gmail.com").unwrap().is_corporate());
    assert!(!WebDomain::new("northmoor.edu").unwrap().is_corporate());
}

proptest! {
    #[test]
    fn parsers_never_panic_and_are_stable(text in ".*") {
        if let Ok(address) = EmailAddress::new(&text) {
            prop_assert_eq!(EmailAddress::new(address.as_str()), Ok(address.clone()));
            let _ = (address.domain_class(), address.is_role());
        }
        if let Some(domain) = WebDomain::from_url(&text) {
            prop_assert_eq!(WebDomain::new(domain.as_str()), Ok(domain));
        }
    }

    #[test]
    fn what_looks_like_an_address_never_panics(text in "[a-zA-Zß.+_-]{0,8}@[a-zA-Zß公.\u{2e}-]{0,12}\\.(com|co\\.uk|de|公司|local|edu)") {
        if let Ok(address) = EmailAddress::new(&text) {
            prop_assert_eq!(EmailAddress::new(address.as_str()), Ok(address.clone()));
            if let DomainClass::Corporate(domain) | DomainClass::Academic(domain) = address.domain_class() {
                let below = address.host().strip_suffix(domain.as_str());
                prop_assert!(below.is_some_and(|below| below.is_empty() || below.ends_with('.')));
                prop_assert_eq!(serde_json::from_str::<WebDomain>(&serde_json::to_string(&domain).unwrap()).unwrap(), domain);
            }
            let json = serde_json::to_string(&address).unwrap();
            prop_assert_eq!(serde_json::from_str::<EmailAddress>(&json).unwrap(), address);
        }
    }

    #[test]
    fn what_looks_like_a_url_never_panics(text in "(https?:)?/{0,3}[a-z@:.\\[\\]/?#\\\\-]{0,20}(com|8080)?") {
        let _ = WebDomain::from_url(&text);
    }
}
