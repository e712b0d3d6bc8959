//! Where the server may connect to.
//!
//! Upstreams send the server places: redirects, links in documents, DNS answers. None of them may lead it into the
//! network that it stands in. An upstream's own host and port may be private when the operator wrote it into the
//! configuration file; everything else may not, unless `allow_private`. Metadata services of clouds, which hand out
//! credentials to whoever asks from inside, are never allowed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use url::{Host, Url};

/// Whether private addresses are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Addresses of the public internet only.
    Public,
    /// Private ones too; still no metadata service and nothing that is not one host.
    Private,
}

/// What an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Public,
    Private(&'static str),
    Never(&'static str),
}

/// A refusal, with the address for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denied(pub(super) String);

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

impl Reach {
    fn check(self, host: &str, address: IpAddr) -> Result<(), Denied> {
        match (classify(address), self) {
            (Class::Public, _) | (Class::Private(_), Self::Private) => Ok(()),
            (Class::Private(what), Self::Public) => {
                Err(Denied(format!("{host} is at {address}, {what}: set allow_private = true for this upstream if it may lead there")))
            }
            (Class::Never(what), _) => Err(Denied(format!("{host} is at {address}, {what}: the server never connects there"))),
        }
    }

    /// The addresses that may be used. Fails when there are some and none may.
    fn filter(self, host: &str, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Denied> {
        let (mut allowed, mut refusal) = (Vec::new(), None);
        for address in addresses {
            match self.check(host, address.ip()) {
                Ok(()) => allowed.push(address),
                Err(denied) => refusal = Some(denied),
            }
        }
        match refusal {
            Some(denied) if allowed.is_empty() => Err(denied),
            _ => Ok(allowed),
        }
    }

    /// Checks what can be checked before connecting: URLs with an address in place of a name never reach the resolver.
    pub(super) fn check_literal(self, url: &Url) -> Result<(), Denied> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.check(&address.to_string(), address.into()),
            Some(Host::Ipv6(address)) => self.check(&address.to_string(), address.into()),
            Some(Host::Domain(_)) => Ok(()),
            None => Err(Denied("a URL without a host".to_owned())),
        }
    }

    /// For requests through an outgoing proxy, which resolves names itself: what the name means from here, if anything.
    pub(super) async fn check_name(self, url: &Url) -> Result<(), Denied> {
        let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
        let known = name.trim_end_matches('.').to_ascii_lowercase();
        if matches!(known.as_str(), "metadata.google.internal" | "metadata" | "instance-data" | "metadata.azure.internal") {
            return Err(Denied(format!("{known} is the name of a metadata service: the server never connects there")));
        }
        if self == Self::Public && (known == "localhost" || known.ends_with(".localhost")) {
            return Err(Denied(format!("{known} is the server itself: set allow_private = true for this upstream if it may lead there")));
        }
        match tokio::net::lookup_host((name, 0)).await {
            Ok(addresses) => self.filter(name, addresses).map(drop),
            // Behind a proxy many servers cannot resolve outside names at all.
            Err(_) => Ok(()),
        }
    }
}

/// Resolves names for the HTTP client and gives it checked addresses only: it connects to exactly those, so a name
/// that changes its mind between check and connection (rebinding) gains nothing.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    pub(super) reach: Reach,
    /// The outgoing proxy's host, which the client resolves through us as well.
    pub(super) proxy: Option<(Arc<str>, Reach)>,
}

impl reqwest::dns::Resolve for Resolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let reach = match &self.proxy {
            Some((proxy, reach)) if proxy.eq_ignore_ascii_case(name.as_str()) => *reach,
            _ => self.reach,
        };
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed = reach.filter(name.as_str(), found)?;
            Ok(Box::new(allowed.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

const METADATA: &str = "a metadata service of a cloud";

fn classify(address: IpAddr) -> Class {
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0, ..] => Class::Never("an unspecified address"),
        [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192] | [169, 254, 169, 254] => Class::Never(METADATA),
        // All of it: clouds put metadata on several of these, and nobody serves packages there.
        [169, 254, ..] => Class::Never("a link-local address"),
        [224..=239, ..] => Class::Never("a multicast address"),
        [240..=255, ..] => Class::Never("a reserved or broadcast address"),
        [127, ..] => Class::Private("a loopback address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private("a private address"),
        [100, 64..=127, ..] => Class::Private("an address shared by a carrier's customers"),
        [192, 0, 0 | 2, _] | [198, 18..=19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => Class::Private("an address for special use"),
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        classify_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Never("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Private("a loopback address"),
        // Mapped, translated and compatible forms of IPv4, NAT64 and 6to4 lead to the IPv4 address inside.
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        [0x64, 0xff9b, 1, _, _, _, high, low] => match embedded(high, low) {
            Class::Public => Class::Private("an address of a local translator"),
            other => other,
        },
        [0x2001, 0, ..] => Class::Never("a Teredo tunnel"),
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] => Class::Never(METADATA),
        [0xfe80..=0xfebf, ..] => Class::Private("a link-local address"),
        [0xfec0..=0xfeff, ..] => Class::Private("a site-local address"),
        [0xfc00..=0xfdff, ..] => Class::Private("a private address"),
        [0xff00..=0xffff, ..] => Class::Never("a multicast address"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0x0fff, ..] | [0x100, 0, 0, 0, ..] => Class::Private("an address for special use"),
        // Only this part of the space is handed out.
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Private("an address for special use"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Denied, Reach, classify};
    use std::net::{IpAddr, SocketAddr};
    use url::Url;

    #[test]
    fn every_special_address_is_known() {
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "192.167.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ];
        let private = [
            "127.0.0.1",
            "127.255.255.255",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "192.0.0.8",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "2001:db8::1",
            "::ffff:127.0.0.1",
            "::ffff:10.1.2.3",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::808:808",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "::ffff:0:127.0.0.1",
            "100::1",
            "5f00::1",
        ];
        let never = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "169.254.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2001:0:1::1",
            "::169.254.169.254",
        ];
        let class = |text: &str| classify(text.parse::<IpAddr>().unwrap());
        for text in public {
            assert_eq!(class(text), Class::Public, "{text}");
        }
        for text in private {
            assert!(matches!(class(text), Class::Private(_)), "{text}: {:?}", class(text));
        }
        for text in never {
            assert!(matches!(class(text), Class::Never(_)), "{text}: {:?}", class(text));
        }
    }

    #[test]
    fn addresses_in_urls_are_seen_in_every_spelling() {
        for text in
            ["http://127.0.0.1/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://127.1/"]
        {
            let url = Url::parse(text).unwrap();
            assert!(Reach::Public.check_literal(&url).is_err(), "{text}");
            assert!(Reach::Private.check_literal(&url).is_ok(), "{text}");
        }
        for text in ["http://169.254.169.254/", "http://2852039166/", "http://[::ffff:a9fe:a9fe]/", "http://0/"] {
            assert!(Reach::Private.check_literal(&Url::parse(text).unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_keeps_only_its_allowed_addresses() {
        let addresses = |texts: &[&str]| texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect::<Vec<_>>();
        let filter = |reach: Reach, texts: &[&str]| reach.filter("files.example", addresses(texts).into_iter());
        assert_eq!(filter(Reach::Public, &["10.0.0.1", "1.1.1.1", "::1"]), Ok(addresses(&["1.1.1.1"])));
        let refusal = filter(Reach::Public, &["10.0.0.1"]).unwrap_err();
        assert!(refusal.0.contains("files.example") && refusal.0.contains("allow_private"), "{refusal}");
        assert_eq!(filter(Reach::Private, &["10.0.0.1", "169.254.169.254"]), Ok(addresses(&["10.0.0.1"])));
        assert!(filter(Reach::Private, &["169.254.169.254"]).is_err_and(|Denied(text)| text.contains("never")));
    }

    #[tokio::test]
    async fn names_behind_an_outgoing_proxy_are_checked_as_far_as_possible() {
        for (text, reach) in
            [("http://metadata.google.internal/", Reach::Private), ("http://localhost/", Reach::Public), ("http://a.localhost./", Reach::Public)]
        {
            assert!(reach.check_name(&Url::parse(text).unwrap()).await.is_err(), "{text}");
        }
        assert!(Reach::Private.check_name(&Url::parse("http://localhost/").unwrap()).await.is_ok());
        assert!(Reach::Public.check_name(&Url::parse("http://does-not-exist.invalid/").unwrap()).await.is_ok());
    }
}
