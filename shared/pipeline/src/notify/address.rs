//! Which URLs and addresses a notification may be sent to.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use thiserror::Error;
use url::{Host, Url};

/// The longest URL of a destination, in bytes.
const MAX_URL_BYTES: usize = 2_000;

/// Why a URL can be no destination. The messages never repeat the URL: it may hold a token.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum UrlFault {
    /// Longer than is accepted.
    #[error("must be at most {MAX_URL_BYTES} bytes")]
    TooLong,
    /// Not an absolute URL with a host.
    #[error("must be an absolute URL such as `https://hooks.example.com/path`")]
    NoUrl,
    /// Not HTTPS.
    #[error("must begin with `https://`")]
    Scheme,
    /// A user name or password before the host.
    #[error("must not hold a user name or password; use a token in the path or the signature")]
    UserInfo,
    /// A fragment, which is never sent.
    #[error("must not hold a `#` fragment")]
    Fragment,
    /// A port below 1024 other than 443.
    #[error("must use port 443 or a port from 1024 up")]
    Port,
    /// An address that is not on the public internet.
    #[error("must not name a private, local or reserved address")]
    Address,
}

/// Checks a destination's URL, without looking its host up.
///
/// Accepted are `https`, port 443 or 1024 and up (so that no mail server or other well-known service can be addressed), no user
/// information, and a host that is a name or a public address. `allow_private` also accepts `http`, every port and private addresses.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, UrlFault> {
    if text.len() > MAX_URL_BYTES {
        return Err(UrlFault::TooLong);
    }
    let url = Url::parse(text.trim()).map_err(|_| UrlFault::NoUrl)?;
    match url.scheme() {
        "https" => {}
        "http" if allow_private => {}
        _ => return Err(UrlFault::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(UrlFault::UserInfo);
    }
    if url.fragment().is_some() {
        return Err(UrlFault::Fragment);
    }
    let address = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(Host::Domain(name)) if !name.is_empty() => None,
        _ => return Err(UrlFault::NoUrl),
    };
    if address.is_some_and(|address| is_always_refused(address) || !(allow_private || is_public(address))) {
        return Err(UrlFault::Address);
    }
    match url.port_or_known_default() {
        Some(443 | 1024..) => Ok(url),
        Some(_) if allow_private => Ok(url),
        _ => Err(UrlFault::Port),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix))
}

/// Everything of the IANA special-purpose registries (2025) that is not globally reachable, and a cloud's service address.
const NOT_PUBLIC: [IpNet; 25] = [
    v4(0, 0, 0, 0, 8),            // this network, unspecified
    v4(10, 0, 0, 0, 8),           // private
    v4(100, 64, 0, 0, 10),        // carrier-grade NAT
    v4(127, 0, 0, 0, 8),          // loopback
    v4(168, 63, 129, 16, 32),     // service address of a cloud
    v4(169, 254, 0, 0, 16),       // link-local, metadata
    v4(172, 16, 0, 0, 12),        // private
    v4(192, 0, 0, 0, 24),         // protocol assignments
    v4(192, 0, 2, 0, 24),         // documentation
    v4(192, 31, 196, 0, 24),      // AS112
    v4(192, 52, 193, 0, 24),      // AMT
    v4(192, 88, 99, 0, 24),       // 6to4 relays
    v4(192, 168, 0, 0, 16),       // private
    v4(192, 175, 48, 0, 24),      // AS112
    v4(198, 18, 0, 0, 15),        // benchmarking
    v4(198, 51, 100, 0, 24),      // documentation
    v4(203, 0, 113, 0, 24),       // documentation
    v4(224, 0, 0, 0, 3),          // multicast, reserved, broadcast
    v6(0x2001, 0, 0, 23),         // protocol assignments: Teredo, benchmarking, ORCHID
    v6(0x2001, 0xdb8, 0, 32),     // documentation
    v6(0x2620, 0x4f, 0x8000, 48), // AS112
    v6(0x3ffe, 0, 0, 16),         // former test network
    v6(0x3fff, 0, 0, 20),         // documentation
    v6(0x5f00, 0, 0, 16),         // segment routing
    v6(0xfec0, 0, 0, 10),         // former site-local
];

/// Global unicast: whatever IPv6 address lies outside it is unspecified, loopback, mapped, translated, unique-local, link-local,
/// multicast or unassigned.
const GLOBAL_V6: IpNet = v6(0x2000, 0, 0, 3);

fn listed(address: IpAddr) -> bool {
    NOT_PUBLIC.iter().any(|net| net.contains(&address))
}

const fn v4_of(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

/// The IPv4 address that an IPv6 address stands for: mapped, 6to4, or NAT64 with the well-known prefix.
const fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(v4_of(high, low)),
        _ => None,
    }
}

/// Whether an address is on the public internet. Forms of IPv6 that stand for an IPv4 address are judged by that address.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => !listed(address),
        IpAddr::V6(v6) => match embedded(v6) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => {
                // An ISATAP address ends in an IPv4 address that a local router would unwrap.
                let tunnelled = matches!(v6.segments(), [.., 0 | 0x200, 0x5efe, _, _]);
                !tunnelled && GLOBAL_V6.contains(&address) && !listed(address)
            }
        },
    }
}

/// Addresses that are refused even when private ones are allowed: they hand out a cloud machine's credentials.
pub fn is_always_refused(address: IpAddr) -> bool {
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    const METADATA_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
    match address {
        IpAddr::V4(v4) => v4 == METADATA_V4,
        IpAddr::V6(v6) => v6 == METADATA_V6 || embedded(v6) == Some(METADATA_V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One address of every special-purpose block, first and last where a boundary matters.
    const REFUSED: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.8.8.8",
        "168.63.129.16",
        "169.254.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.7",
        "203.0.113.7",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2002:a9fe:a9fe::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "2606:4700::5efe:10.0.0.1",
        "2606:4700::200:5efe:10.0.0.1",
    ];
    const REACHED: &[&str] = &[
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450::1",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ];

    #[test]
    fn no_address_off_the_public_internet_passes() {
        for text in REFUSED {
            assert!(!is_public(text.parse().unwrap()), "{text} passed");
        }
    }

    #[test]
    fn addresses_of_the_public_internet_pass() {
        for text in REACHED {
            assert!(is_public(text.parse().unwrap()), "{text} was refused");
        }
    }

    #[test]
    fn metadata_addresses_are_refused_always() {
        for text in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"] {
            assert!(is_always_refused(text.parse().unwrap()), "{text}");
        }
        assert!(!is_always_refused("127.0.0.1".parse().unwrap()));
        assert_eq!(check_url("http://169.254.169.254/latest/meta-data", true), Err(UrlFault::Address));
    }

    #[test]
    fn only_plain_https_urls_pass() {
        for (text, fault) in [
            ("", UrlFault::NoUrl),
            ("hooks.example.com/x", UrlFault::NoUrl),
            ("https://", UrlFault::NoUrl),
            ("http://hooks.example.com/", UrlFault::Scheme),
            ("ftp://hooks.example.com/", UrlFault::Scheme),
            ("file:///etc/passwd", UrlFault::Scheme),
            ("https://user@hooks.example.com/", UrlFault::UserInfo),
            ("https://:pw@hooks.example.com/", UrlFault::UserInfo),
            ("https://hooks.example.com/#x", UrlFault::Fragment),
            ("https://hooks.example.com:25/", UrlFault::Port),
            ("https://hooks.example.com:80/", UrlFault::Port),
            ("https://127.0.0.1/", UrlFault::Address),
            ("https://2130706433/", UrlFault::Address),
            ("https://0x7f.1/", UrlFault::Address),
            ("https://0177.0.0.1/", UrlFault::Address),
            ("https://[::1]/", UrlFault::Address),
            ("https://[::ffff:7f00:1]/", UrlFault::Address),
        ] {
            assert_eq!(check_url(text, false), Err(fault), "{text}");
        }
        for text in ["https://hooks.example.com/a?b=c", "https://hooks.example.com:8443/", "https://8.8.8.8/"] {
            assert!(check_url(text, false).is_ok(), "{text}");
        }
        assert_eq!(check_url(&format!("https://a.example/{}", "x".repeat(2_000)), false), Err(UrlFault::TooLong));
    }

    #[test]
    fn local_urls_pass_when_private_destinations_are_allowed() {
        for text in ["http://127.0.0.1:9/hook", "http://localhost/", "https://[::1]:25/"] {
            assert!(check_url(text, true).is_ok(), "{text}");
        }
        assert_eq!(check_url("https://user:pw@127.0.0.1/", true), Err(UrlFault::UserInfo));
    }
}
