//! Who a client is: the peer of the connection, or whom trusted proxies speak for (`X-Forwarded-For`, RFC 7239
//! `Forwarded`). Pure.
//!
//! Each proxy appends the address that it was called from. So the list is read from the right, and only as long as
//! what was read is a proxy that we trust; what stands further left was written by the client, who may write anything.
//! For the same reason one field is read and the other never: proxies pass on what they do not write themselves.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;

use crate::config::ForwardedHeader;
use crate::domain::network::Network;

/// The address of the client. `written` is what the trusted proxies write.
pub(super) fn client(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    written: ForwardedHeader,
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let one = match written {
        ForwardedHeader::XForwardedFor => node,
        ForwardedHeader::Forwarded => forwarded_for,
    };
    let names: Vec<Option<IpAddr>> = list(headers, written.name()).map(one).collect();
    for name in names.into_iter().rev() {
        // A proxy that hides its peer, or nonsense: the last that is known stands for all behind it.
        let Some(address) = name else { break };
        client = address.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// Why a proxy speaks for others in vain, if one does.
pub(super) fn unheard(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[Network],
    written: ForwardedHeader,
) -> Option<&'static str> {
    let says = |header: ForwardedHeader| headers.contains_key(header.name());
    let near = match peer.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    };
    let is_trusted = trusted.iter().any(|network| network.contains(peer));
    if !says(ForwardedHeader::XForwardedFor) && !says(ForwardedHeader::Forwarded) {
        None
    } else if is_trusted {
        let sentence = "a trusted proxy without the header of http.forwarded_header but with another: limits count all its clients as one";
        (!says(written)).then_some(sentence)
    } else {
        let sentence =
            "a proxy that is not in http.trusted_proxies: limits count all its clients as one";
        near.then_some(sentence)
    }
}

/// The elements of a list over all fields of that name, in order. Commas in quotes do not separate; no address has one.
fn list<'a>(headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
    let fields = headers.get_all(name).into_iter();
    fields
        .flat_map(|field| field.to_str().unwrap_or("").split(','))
        .map(str::trim)
}

/// `for=` of one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    node(value.trim().trim_matches('"'))
}

/// An address, with or without a port; IPv6 with or without brackets. None for `unknown` and invented names.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    const XFF: ForwardedHeader = ForwardedHeader::XForwardedFor;

    fn found(
        peer: &str,
        fields: &[(&'static str, &'static str)],
        written: ForwardedHeader,
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let trusted = ["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap());
        client(peer.parse().unwrap(), &headers, &trusted, written).to_string()
    }

    #[test]
    fn strangers_speak_for_themselves_only() {
        let said = [("x-forwarded-for", "1.2.3.4"), ("forwarded", "for=1.2.3.4")];

        for written in [XFF, ForwardedHeader::Forwarded] {
            assert_eq!(found("192.0.2.9", &said, written), "192.0.2.9");
            assert_eq!(found("::ffff:192.0.2.9", &said, written), "192.0.2.9");
        }
    }

    #[test]
    fn list_is_read_from_the_right_through_trusted_proxies() {
        let cases = [
            ("x-forwarded-for", "1.1.1.1", "1.1.1.1"),
            ("x-forwarded-for", "9.9.9.9, 1.1.1.1", "1.1.1.1"),
            ("x-forwarded-for", "9.9.9.9, 1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("x-forwarded-for", "10.0.0.3,10.0.0.2", "10.0.0.3"),
            ("x-forwarded-for", "1.1.1.1:4711", "1.1.1.1"),
            ("x-forwarded-for", "2001:db8::1", "2001:db8::1"),
            ("x-forwarded-for", "[2001:db8::1]:4711", "2001:db8::1"),
            ("x-forwarded-for", "::ffff:1.1.1.1", "1.1.1.1"),
            ("x-forwarded-for", "1.1.1.1, nonsense", "10.0.0.1"),
            ("x-forwarded-for", "1.1.1.1, unknown, 10.0.0.2", "10.0.0.2"),
            ("x-forwarded-for", "", "10.0.0.1"),
            ("forwarded", "for=1.1.1.1", "1.1.1.1"),
            (
                "forwarded",
                "for=9.9.9.9, For=\"1.1.1.1:80\";proto=https",
                "1.1.1.1",
            ),
            (
                "forwarded",
                "proto=https;for=\"[2001:db8::1]:80\"",
                "2001:db8::1",
            ),
            ("forwarded", "for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("forwarded", "for=1.1.1.1, for=_hidden", "10.0.0.1"),
            ("forwarded", "by=1.1.1.1", "10.0.0.1"),
        ];
        for (name, value, expected) in cases {
            let written = if name == XFF.name() {
                XFF
            } else {
                ForwardedHeader::Forwarded
            };
            assert_eq!(
                found("10.0.0.1", &[(name, value)], written),
                expected,
                "{name}: {value}"
            );
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        let two = [
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-for", "1.1.1.1"),
        ];

        assert_eq!(found("::1", &two, XFF), "1.1.1.1");
    }

    #[test]
    fn header_that_the_proxy_does_not_write_is_the_clients_and_ignored() {
        let both = [("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=9.9.9.9")];

        assert_eq!(found("::1", &both, XFF), "1.1.1.1");
        assert_eq!(found("::1", &both, ForwardedHeader::Forwarded), "9.9.9.9");
        assert_eq!(found("::1", &both[..1], ForwardedHeader::Forwarded), "::1");
        assert_eq!(found("::1", &both[1..], XFF), "::1");
    }

    #[test]
    fn proxy_that_is_not_heard_is_noticed() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let told = |peer: &str, name: Option<&'static str>| {
            let value = HeaderValue::from_static("for=1.1.1.1");
            let fields = name.map(|name| (HeaderName::from_static(name), value));
            let headers = HeaderMap::from_iter(fields);
            unheard(peer.parse().unwrap(), &headers, &trusted, XFF)
        };
        let says = |peer: &str, name, word: &str| told(peer, Some(name)).unwrap().contains(word);

        assert!(says("127.0.0.1", "x-forwarded-for", "trusted_proxies"));
        assert!(says("127.0.0.1", "forwarded", "trusted_proxies"));
        assert!(says("10.0.0.1", "forwarded", "forwarded_header"));
        assert_eq!(told("10.0.0.1", Some("x-forwarded-for")), None);
        assert_eq!(told("192.0.2.1", Some("x-forwarded-for")), None);
        assert_eq!(told("127.0.0.1", None), None);
    }
}
