//! Clients behind a proxy: whose address is theirs, when all connections come from it.
//!
//! `X-Forwarded-For` has the addresses that a request has come by, each proxy's client behind those before it. Anybody can
//! send one, so it is read from its end, and only as far as those who wrote are trusted.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;

/// The header, as nginx, Traefik, HAProxy and cloudflared write it.
const FORWARDED: &str = "x-forwarded-for";
/// The most addresses that are looked at.
const MOST: usize = 32;

/// Addresses with the same first bits: `10.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn has(&self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()).leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected an address, such as 127.0.0.1, or a network, such as 10.0.0.0/8".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(all);
        if bits > all {
            return Err(wrong());
        }
        Ok(Self { address: address.to_canonical(), bits })
    }
}

/// The address of who asks: that of the connection, unless a trusted proxy says another one.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.has(address));
    let lines = headers.get_all(FORWARDED).iter().filter_map(|line| line.to_str().ok());
    let mut way: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let mut client = peer;
    for _ in 0..MOST {
        if !is_trusted(client) {
            break;
        }
        // What is no address ends the way: who wrote it knows no better.
        let Some(before) = way.pop().and_then(address) else { break };
        client = before;
    }
    client
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse().map(|address: SocketAddr| address.ip()).ok();
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(with_port).or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // A test may fail by panicking.
    use super::*;

    fn seen(trusted: &[&str], peer: &str, lines: &[&'static str]) -> String {
        let trusted: Vec<Network> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, line.parse().unwrap());
        }
        client(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    #[test]
    fn a_network_is_an_address_or_more() {
        for wrong in ["", "a", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let has =
            |network: &str, address: &str| network.parse::<Network>().unwrap().has(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.1.2") && !has("10.0.0.0/8", "11.0.0.1"));
        assert!(has("0.0.0.0/0", "1.2.3.4") && !has("0.0.0.0/0", "::1"));
        assert!(has("127.0.0.1", "::ffff:127.0.0.1") && !has("127.0.0.1", "127.0.0.2"));
        assert!(has("2001:db8::/32", "2001:db8:1::1") && !has("::1", "::2"));
    }

    #[test]
    fn nobody_is_believed_who_is_not_trusted() {
        assert_eq!(seen(&[], "127.0.0.1", &["1.2.3.4"]), "127.0.0.1");
        assert_eq!(seen(&["10.0.0.0/8"], "9.9.9.9", &["1.2.3.4"]), "9.9.9.9");
    }

    #[test]
    fn a_proxys_client_is_the_last_one_that_nobody_trusts() {
        let proxies = ["10.0.0.0/8", "::1"];
        assert_eq!(seen(&proxies, "::1", &["1.2.3.4"]), "1.2.3.4");
        // The client has made up what is before it.
        assert_eq!(seen(&proxies, "10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(seen(&proxies, "10.0.0.1", &["6.6.6.6", "1.2.3.4:5678"]), "1.2.3.4");
        assert_eq!(seen(&proxies, "10.0.0.1", &["[2001:db8::1]:80"]), "2001:db8::1");
        assert_eq!(seen(&proxies, "10.0.0.1", &["1.2.3.4, unknown"]), "10.0.0.1");
        assert_eq!(seen(&proxies, "10.0.0.1", &["10.0.0.3"]), "10.0.0.3");
        assert_eq!(seen(&proxies, "10.0.0.1", &[]), "10.0.0.1");
    }
}
