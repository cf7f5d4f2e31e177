//! Packets out of a stream of octets: each says in its header how long it is (RFC 6613 §2.6.1 keeps that header as it is).

use std::ops::RangeInclusive;

use crate::radius::packet::Packet;

/// Octets that tell how long a packet is: code, identifier, length.
const HEAD: usize = 4;

/// The lengths that a packet may have, in octets (RFC 2865 §3).
const LENGTHS: RangeInclusive<usize> = 20..=Packet::MAX;

/// The header claims a length that no packet has: where the next one begins will never be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet claims to be {0} octets long")]
pub struct BadLength(
    /// So many octets.
    pub usize,
);

/// What has come and is not taken yet: at most a packet, and what came along with it.
#[derive(Debug)]
pub struct Inbox {
    room: Box<[u8]>,
    begin: usize,
    end: usize,
}

impl Default for Inbox {
    /// Nothing has come.
    fn default() -> Self {
        Self { room: vec![0; 2 * Packet::MAX].into_boxed_slice(), begin: 0, end: 0 }
    }
}

impl Inbox {
    /// Takes the next packet out, if the whole of it is here.
    ///
    /// # Errors
    ///
    /// The stream is of no use any more.
    pub fn take(&mut self) -> Result<Option<&[u8]>, BadLength> {
        let waiting = self.room.get(self.begin..self.end).unwrap_or_default();
        let Some([_, _, high, low]) = waiting.first_chunk::<HEAD>() else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if !LENGTHS.contains(&length) {
            return Err(BadLength(length));
        }
        if waiting.len() < length {
            return Ok(None);
        }
        let begin = self.begin;
        self.begin += length;
        Ok(self.room.get(begin..begin + length))
    }

    /// Whether a packet has begun that is not whole.
    #[must_use]
    pub const fn is_begun(&self) -> bool {
        self.begin < self.end
    }

    /// Where what comes next is to be put; never empty once every whole packet is taken.
    pub fn free(&mut self) -> &mut [u8] {
        self.room.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        self.room.get_mut(self.end..).unwrap_or_default()
    }

    /// Notes that so many octets were put there.
    pub fn put(&mut self, octets: usize) {
        self.end = (self.end + octets).min(self.room.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet of this length, marked.
    fn packet(mark: u8, length: usize) -> Vec<u8> {
        let mut packet = vec![mark; length];
        packet[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        packet
    }

    fn pour(inbox: &mut Inbox, octets: &[u8]) -> usize {
        let free = inbox.free();
        let count = free.len().min(octets.len());
        free[..count].copy_from_slice(&octets[..count]);
        inbox.put(count);
        count
    }

    #[test]
    fn a_length_that_no_packet_has_ends_it() {
        for (length, is_good) in [(0, false), (4, false), (19, false), (20, true), (4096, true), (4097, false)] {
            let mut inbox = Inbox::default();
            pour(&mut inbox, &packet(1, length.max(4)).into_iter().collect::<Vec<_>>());
            inbox.room[2..4].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            match inbox.take() {
                Ok(taken) => assert!(is_good && taken.is_some_and(|taken| taken.len() == length), "{length}"),
                Err(BadLength(claimed)) => assert!(!is_good && claimed == length, "{length}"),
            }
        }
    }

    #[test]
    fn a_packet_is_begun_from_its_first_octet_to_its_last() {
        let mut inbox = Inbox::default();
        assert!(!inbox.is_begun());
        for octet in packet(7, 20).iter().take(19) {
            pour(&mut inbox, &[*octet]);
            assert!(inbox.is_begun() && inbox.take() == Ok(None));
        }
        pour(&mut inbox, &[7]);
        assert_eq!(inbox.take(), Ok(Some(&*packet(7, 20))));
        assert!(!inbox.is_begun());
    }

    proptest! {
        #[test]
        fn however_the_stream_is_cut_the_same_packets_come_out(
            lengths in proptest::collection::vec(prop_oneof![20usize..200, 4000usize..=4096], 1..20),
            cuts in proptest::collection::vec(1usize..9000, 1..40),
        ) {
            let packets: Vec<_> = lengths.iter().enumerate()
                .map(|(mark, length)| packet(u8::try_from(mark).unwrap(), *length)).collect();
            let stream = packets.concat();
            let (mut inbox, mut rest, mut cuts) = (Inbox::default(), &*stream, cuts.into_iter().cycle());
            let mut taken = Vec::new();
            while !rest.is_empty() {
                let most = cuts.next().unwrap().min(rest.len());
                let count = pour(&mut inbox, &rest[..most]);
                prop_assert!(count > 0, "there is always room");
                rest = &rest[count..];
                while let Some(packet) = inbox.take().unwrap() {
                    taken.push(packet.to_vec());
                }
            }
            prop_assert_eq!(taken, packets);
            prop_assert!(!inbox.is_begun());
        }
    }
}
