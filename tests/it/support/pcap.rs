//! Datagrams written as a capture file, for `tshark` to judge.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Link type "raw IP".
const LINKTYPE_RAW: u32 = 101;

/// A capture in memory (the classic pcap format).
pub struct Capture(Vec<u8>);

impl Capture {
    pub fn new() -> Self {
        let mut bytes = Vec::new();
        for word in [0xA1B2_C3D4_u32, 0x0004_0002, 0, 0, 65_535, LINKTYPE_RAW] {
            bytes.extend(word.to_le_bytes());
        }
        Self(bytes)
    }

    /// Adds a UDP datagram over IPv4.
    pub fn add(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let (IpAddr::V4(source), IpAddr::V4(target)) = (from.ip(), to.ip()) else { panic!("IPv4 only") };
        let udp_length = u16::try_from(8 + datagram.len()).unwrap();
        let length = udp_length + 20;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
        packet.extend(source.octets());
        packet.extend(target.octets());
        packet.extend(from.port().to_be_bytes());
        packet.extend(to.port().to_be_bytes());
        packet.extend(udp_length.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(datagram);
        let captured = u32::from(length);
        for word in [1_790_000_000_u32, 0, captured, captured] {
            self.0.extend(word.to_le_bytes());
        }
        self.0.extend(packet);
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, &self.0).unwrap();
    }
}
