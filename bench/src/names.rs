//! A name server on loopback for measurements with many recipient domains: nobody needs a zone of that size.
//!
//! Answers for every `d<N>.test` that one of so many providers takes its mail, in turns, and for each provider's host an
//! address of loopback. Says "no such record" to everything else. Speaks as much of RFC 1035 as that needs, over UDP.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};
use tokio::net::UdpSocket;

/// Providers that have an address of their own.
pub(crate) const PROVIDERS_MAX: u64 = 50_000;
/// Bytes of a question and of an answer; both are far below.
const PACKET_BYTES: usize = 512;
const HEADER_BYTES: usize = 12;
/// Record types (RFC 1035 section 3.2.2).
const TYPE_A: u16 = 1;
const TYPE_MX: u16 = 15;
/// For how long an answer holds: longer than any run.
const TTL_SECONDS: u32 = 86_400;

/// Serves until its runtime ends; gives the address.
pub(crate) async fn serve(providers: u64) -> Result<SocketAddr> {
    ensure!(
        (1..=PROVIDERS_MAX).contains(&providers),
        "1 to {PROVIDERS_MAX} providers"
    );
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await?;
    let address = socket.local_addr()?;
    tokio::spawn(async move {
        let mut packet = [0; PACKET_BYTES];
        loop {
            let Ok((length, asker)) = socket.recv_from(&mut packet).await else {
                continue;
            };
            if let Some(answer) = answer(&packet[..length], providers) {
                // Whoever gets no answer asks again.
                let _ = socket.send_to(&answer, asker).await;
            }
        }
    });
    Ok(address)
}

/// The answer to a question; none to what is no question.
fn answer(packet: &[u8], providers: u64) -> Option<Vec<u8>> {
    let (labels, end) = name(packet)?;
    let kind = u16::from_be_bytes([*packet.get(end)?, *packet.get(end + 1)?]);
    let question = packet.get(HEADER_BYTES..end + 4)?;
    let data = match (kind, labels.as_slice()) {
        (TYPE_MX, [domain, "test"]) => numbered(domain, 'd').map(|number| exchange(number % providers)),
        (TYPE_A, ["mx", provider, "test"]) => {
            numbered(provider, 'p').map(|number| address_of(number).octets().to_vec())
        }
        _ => None,
    };
    let mut answer = packet.get(..2)?.to_vec();
    // An answer with authority, recursion was asked for and is there; one question, no or one answer.
    answer.extend([0x85, 0x80, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(data) = data {
        // The name is the one of the question, which begins behind the header.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(TTL_SECONDS.to_be_bytes());
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// The labels of the first question's name, and where it ends.
fn name(packet: &[u8]) -> Option<(Vec<&str>, usize)> {
    let (mut labels, mut at) = (Vec::new(), HEADER_BYTES);
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels, at));
        }
        labels.push(std::str::from_utf8(packet.get(at..at + length)?).ok()?);
        at += length;
    }
}

fn numbered(label: &str, letter: char) -> Option<u64> {
    label.strip_prefix(letter)?.parse().ok()
}

/// `10 mx.p<provider>.test.`
fn exchange(provider: u64) -> Vec<u8> {
    let mut data = vec![0, 10];
    for label in ["mx", &format!("p{provider}"), "test"] {
        data.push(u8::try_from(label.len()).unwrap_or(0));
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}

/// The address of a provider's host: one for each, from 127.1.0.1 on.
fn address_of(provider: u64) -> Ipv4Addr {
    let part = |number: u64| u8::try_from(number % 250).unwrap_or(0);
    Ipv4Addr::new(
        127,
        1 + part(provider / 62_500),
        part(provider / 250),
        1 + part(provider),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(labels: &[&str], kind: u16) -> Vec<u8> {
        let mut packet = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in labels {
            packet.push(u8::try_from(label.len()).unwrap());
            packet.extend(label.as_bytes());
        }
        packet.push(0);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        // An OPT record, as resolvers send it.
        packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        packet
    }

    /// The data of the answer's record, if it has one.
    fn check(labels: &[&str], kind: u16, expect: Option<&[u8]>) {
        let answer = answer(&question(labels, kind), 500).unwrap();
        assert_eq!(answer[..2], [7, 9], "the number of the question");
        assert_eq!(answer[7] == 1, expect.is_some(), "{labels:?}");
        if let Some(data) = expect {
            assert!(answer.ends_with(data), "{labels:?}: {answer:?}");
        }
    }

    #[test]
    fn domains_share_providers_in_turns_and_each_has_an_address() {
        check(&["d7", "test"], TYPE_MX, Some(b"\x00\x0a\x02mx\x02p7\x04test\x00"));
        check(&["d1003", "test"], TYPE_MX, Some(b"\x02mx\x02p3\x04test\x00"));
        check(&["mx", "p3", "test"], TYPE_A, Some(&[127, 1, 0, 4]));
        check(&["mx", "p499", "test"], TYPE_A, Some(&[127, 1, 1, 250]));
        check(&["mx", "p3", "test"], 28, None);
        check(&["x", "test"], TYPE_MX, None);
        assert_eq!(answer(&[1, 2, 3], 5), None);
        let addresses: std::collections::BTreeSet<_> = (0..PROVIDERS_MAX).map(address_of).collect();
        assert_eq!(addresses.len() as u64, PROVIDERS_MAX);
    }
}
