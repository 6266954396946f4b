//! Where a WebSocket stream is between two frames (RFC 6455, section 5.2): only there a frame of our own may be put in.

/// A close frame of a server with status 1001, "going away".
pub const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];

/// Most bytes of a frame's head: two, a length of eight, a mask of four.
const MOST_HEAD: usize = 14;

/// Follows the frames of one direction.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    head: [u8; MOST_HEAD],
    /// Bytes of the head that have come.
    came: usize,
    /// Bytes of the payload that have not.
    payload: u64,
    /// A close frame has begun: nothing may follow it.
    closing: bool,
}

impl Frames {
    /// These bytes have passed.
    pub fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let length = self.payload.min(bytes.len() as u64);
                self.payload -= length;
                // No more than there are.
                bytes = &bytes[usize::try_from(length).unwrap_or(bytes.len())..];
            } else {
                self.head[self.came] = bytes[0];
                self.came += 1;
                bytes = &bytes[1..];
                self.head_came();
            }
        }
    }

    /// Whether a frame may be put in here.
    pub fn is_between(&self) -> bool {
        self.came == 0 && self.payload == 0 && !self.closing
    }

    fn head_came(&mut self) {
        let Some(length) = head_length(&self.head[..self.came]) else {
            return;
        };
        if self.came == length {
            self.payload = payload_length(&self.head);
            self.closing |= self.head[0] & 0x0F == 0x8;
            self.came = 0;
        }
    }
}

/// Length of a frame's head; None: more of it is needed to tell.
fn head_length(head: &[u8]) -> Option<usize> {
    let second = head.get(1)?;
    let length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    Some(2 + length + mask)
}

fn payload_length(head: &[u8; MOST_HEAD]) -> u64 {
    match head[1] & 0x7F {
        126 => u64::from(u16::from_be_bytes([head[2], head[3]])),
        127 => u64::from_be_bytes([
            head[2], head[3], head[4], head[5], head[6], head[7], head[8], head[9],
        ]),
        short => u64::from(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap_or_default()),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![7; if masked { 4 } else { 0 }]);
        frame.extend(vec![9; length]);
        frame
    }

    proptest! {
        /// However the bytes are cut up, between two frames is where they end.
        #[test]
        fn between_is_where_a_frame_ends(
            lengths in proptest::collection::vec((prop_oneof![0usize..300, 65_530usize..65_600], any::<bool>()), 1..5),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let (mut stream, mut ends) = (Vec::new(), vec![0]);
            for (length, masked) in lengths {
                stream.extend(frame(2, length, masked));
                ends.push(stream.len());
            }
            let mut cuts: Vec<_> = cuts.iter().map(|c| c.index(stream.len())).chain([stream.len()]).collect();
            cuts.sort_unstable();
            let (mut frames, mut at) = (Frames::default(), 0);
            for cut in cuts {
                frames.pass(&stream[at..cut]);
                at = cut;
                prop_assert_eq!(frames.is_between(), ends.contains(&at), "after {} bytes", at);
            }
        }
    }

    #[test]
    fn nothing_follows_a_close_frame() {
        let mut frames = Frames::default();
        frames.pass(&frame(1, 5, false));
        assert!(frames.is_between());
        frames.pass(&GOING_AWAY);
        assert!(!frames.is_between());
    }
}
