//! What an Opus packet says of itself in its first bytes (RFC 6716 §3.1, §3.2).

/// Samples at 48 kHz in the longest packet: 120 ms (RFC 6716 §3.2.5).
pub const MAX_PACKET_SAMPLES: u32 = 5760;

/// Samples at 48 kHz that one frame of a configuration lasts (RFC 6716 table 2).
const fn frame_samples(config: u8) -> u32 {
    match config {
        // SILK: 10, 20, 40, 60 ms.
        0..12 => [480, 960, 1920, 2880][config as usize % 4],
        // Hybrid: 10, 20 ms.
        12..16 => [480, 960][config as usize % 2],
        // CELT: 2.5, 5, 10, 20 ms.
        _ => [120, 240, 480, 960][config as usize % 4],
    }
}

/// Samples at 48 kHz that a packet lasts; nothing if it is malformed (§3.4 R1, R2, R5).
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let (toc, rest) = packet.split_first()?;
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        // Code 3: the count stands in the low 6 bits of the next byte.
        _ => u32::from(rest.first()? & 0x3f),
    };
    let samples = frames * frame_samples(toc >> 3);
    (1..=MAX_PACKET_SAMPLES).contains(&samples).then_some(samples)
}

/// Channels that a packet is coded with: 1 or 2.
pub fn packet_channels(packet: &[u8]) -> Option<u8> {
    packet.first().map(|toc| 1 + (toc >> 2 & 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_last_as_their_first_bytes_say() {
        for (packet, samples) in [
            (&[0xfc, 0xff, 0xfe][..], Some(960)), // CELT fullband, 20 ms, stereo
            (&[0x78, 0], Some(960)),              // hybrid, 20 ms
            (&[0x18], Some(2880)),                // SILK, 60 ms
            (&[0x81], Some(240)),                 // two of 2.5 ms
            (&[0x83, 48], Some(5760)),            // 48 of 2.5 ms
            (&[0x83, 49], None),                  // more than 120 ms
            (&[0x83, 0x40], None),                // no frame
            (&[0x83], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:?}");
        }
        assert_eq!([0xfc, 0xf8].map(|toc| packet_channels(&[toc])), [Some(2), Some(1)]);
    }
}
