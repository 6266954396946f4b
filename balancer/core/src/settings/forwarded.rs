//! Who a client is when other proxies stand before it, and what origins are told.

use std::net::IpAddr;

/// A network, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net {
    bits: u128,
    mask: u128,
    v4: bool,
}

impl Net {
    /// Reads `10.0.0.0/8`, `::1` and the like; None: it is none.
    pub fn read(text: &str) -> Option<Self> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse::<u32>().ok()?)),
            None => (text, None),
        };
        let (bits, v4) = split(address.parse().ok()?);
        let whole = if v4 { 32 } else { 128 };
        let length = length.unwrap_or(whole);
        if length > whole {
            return None;
        }
        // The addresses of IPv4 are the last 32 bits.
        let rest = whole - length;
        let mask = u128::MAX.checked_shl(rest).unwrap_or(0);
        Some(Self {
            bits: bits & mask,
            mask,
            v4,
        })
    }

    /// Whether an address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, v4) = split(address);
        v4 == self.v4 && bits & self.mask == self.bits
    }
}

fn split(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    }
}

/// What is believed of, and told about, a request's way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forwarding {
    /// Whose word counts; None: everybody's list is handed on, nobody's is believed.
    pub trusted: Option<Box<[Net]>>,
    /// The client's address takes the place of `X-Forwarded-For`, instead of the sender's being added.
    pub replace: bool,
    /// `X-Forwarded-Proto` is told.
    pub proto: bool,
    /// `X-Forwarded-Host` is told.
    pub host: bool,
}

impl Forwarding {
    /// Whether a document says nothing of it: whoever sends is added to the list.
    pub fn is_usual(&self) -> bool {
        self.trusted.is_none() && !self.replace && !self.proto && !self.host
    }

    /// Whether the word of `sender` counts.
    pub fn trusts(&self, sender: IpAddr) -> bool {
        let nets = self.trusted.as_deref().unwrap_or_default();
        nets.iter().any(|net| net.contains(sender))
    }

    /// Whether what `sender` says of a request's way is handed on.
    pub fn hands_on(&self, sender: IpAddr) -> bool {
        self.trusted.is_none() || self.trusts(sender)
    }

    /// The client behind `sender`: the right-most address of the list that is not trusted, each element one header, last header last. What
    /// cannot be read was said by the trusted proxy after it, who then counts as the client.
    pub fn client<'a>(
        &self,
        sender: IpAddr,
        lists: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        let mut client = sender;
        let mut hops = lists.rev().flat_map(|list| list.rsplit(|b| *b == b','));
        while self.trusts(client) {
            match hops.next().and_then(address) {
                Some(hop) => client = hop,
                None => break,
            }
        }
        client
    }
}

/// An address as proxies write it: bare, or with a port, or in brackets.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop.trim_ascii()).ok()?;
    if let Ok(address) = hop.parse() {
        return Some(address);
    }
    match hop.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok(),
        None => hop.split_once(':')?.0.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (net, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db8:1::", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("::1", "::1", true),
        ] {
            let read = Net::read(net).expect(net);
            assert_eq!(read.contains(ip(address)), inside, "{net} {address}");
        }
        for bad in ["", "10.0.0.0/33", "::/129", "10.0/8", "a", "10.0.0.1/-1"] {
            assert_eq!(Net::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_client_is_the_last_hop_nobody_vouches_for() {
        let nets = ["10.0.0.0/8", "192.168.0.1"].map(|n| Net::read(n).expect(n));
        let forwarding = Forwarding {
            trusted: Some(nets.into()),
            ..Forwarding::default()
        };
        for (sender, lists, client) in [
            ("1.1.1.1", vec!["9.9.9.9"], "1.1.1.1"),
            ("10.0.0.1", vec![], "10.0.0.1"),
            ("10.0.0.1", vec!["9.9.9.9"], "9.9.9.9"),
            ("10.0.0.1", vec!["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
            (
                "10.0.0.1",
                vec!["6.6.6.6", "9.9.9.9,192.168.0.1"],
                "9.9.9.9",
            ),
            ("10.0.0.1", vec!["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            ("10.0.0.1", vec!["6.6.6.6, unknown, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", vec!["9.9.9.9:4711"], "9.9.9.9"),
            ("10.0.0.1", vec!["[2001:db8::1]:80"], "2001:db8::1"),
        ] {
            let lists = lists.iter().map(|l| l.as_bytes());
            assert_eq!(
                forwarding.client(ip(sender), lists),
                ip(client),
                "{sender} {client}"
            );
        }
        let nobody = Forwarding::default();
        let list = [&b"9.9.9.9"[..]];
        assert_eq!(
            nobody.client(ip("10.0.0.1"), list.into_iter()),
            ip("10.0.0.1")
        );
        assert!(nobody.hands_on(ip("1.1.1.1")) && !forwarding.hands_on(ip("1.1.1.1")));
    }
}
