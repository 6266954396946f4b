//! The hash of an address as text (`203.0.113.7`, `2001:db8::7`), without writing the text down.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Polynomial;

pub(super) fn hash(ip: IpAddr, multiplier: u64) -> u64 {
    let mut text = Polynomial::new(multiplier);
    match ip {
        IpAddr::V4(ip) => v4(ip, &mut text),
        IpAddr::V6(ip) => v6(ip, &mut text),
    }
    text.hash
}

fn v4(ip: Ipv4Addr, text: &mut Polynomial) {
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            text.add(b".");
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|d| b'0' + d);
        let zeros = usize::from(octet < 100) + usize::from(octet < 10);
        text.add(&digits[zeros..]);
    }
}

/// As RFC 5952 writes it: the longest run of zeros, the first of equals, is left out.
fn v6(ip: Ipv6Addr, text: &mut Polynomial) {
    if let Some(mapped) = ip.to_ipv4_mapped() {
        text.add(b"::ffff:");
        return v4(mapped, text);
    }
    let segments = ip.segments();
    let (start, length) = longest_zeros(&segments);
    if length < 2 {
        return groups(&segments, text);
    }
    groups(&segments[..start], text);
    text.add(b"::");
    groups(&segments[start + length..], text);
}

fn longest_zeros(segments: &[u16; 8]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), 0);
    for (at, segment) in segments.iter().enumerate() {
        run = if *segment == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (at + 1 - run, run);
        }
    }
    best
}

fn groups(segments: &[u16], text: &mut Polynomial) {
    for (at, segment) in segments.iter().enumerate() {
        if at > 0 {
            text.add(b":");
        }
        let digits =
            [12, 8, 4, 0].map(|shift| b"0123456789abcdef"[usize::from(segment >> shift & 15)]);
        // Leading zeros stay away, but one digit is written.
        let zeros = (segment.leading_zeros() as usize / 4).min(3);
        text.add(&digits[zeros..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring;
    use proptest::prelude::*;

    fn as_text(ip: IpAddr) -> u32 {
        ring::hash(ip.to_string().as_bytes())
    }

    proptest! {
        #[test]
        fn addresses_are_hashed_as_text(ip in any::<IpAddr>()) {
            prop_assert_eq!(hash(ip, 31) as u32, as_text(ip));
        }

        #[test]
        fn so_are_those_with_zeros(
            segments in proptest::array::uniform8(prop_oneof![3 => Just(0), 1 => Just(0xffff), 2 => 0u16..0x1100]),
        ) {
            let ip = Ipv6Addr::from(segments).into();
            prop_assert_eq!(hash(ip, 31) as u32, as_text(ip));
        }
    }

    #[test]
    fn odd_ones_too() {
        for text in [
            "::",
            "::1",
            "1::",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "2001:db8:0:0:1:0:0:1",
            "1:0:1:0:1:0:1:0",
        ] {
            let ip = text.parse().expect(text);
            assert_eq!(hash(ip, 31) as u32, as_text(ip), "{text}");
        }
    }
}
