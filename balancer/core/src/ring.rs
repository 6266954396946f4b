//! The hash ring of the original, point for point, so that a client stays with its server across a migration.

/// Most points one ring may have; beyond it every server gets fewer points.
pub const MAX_POINTS: usize = 4_000_000;

/// Most points of a server that has no rivals: it is chosen without a look at them.
const MAX_ALONE: usize = 1024;

const TWO_32: f64 = 4_294_967_296.0;

/// Points of one level, sorted by value.
#[derive(Debug, Clone)]
pub struct Ring {
    points: Vec<(u32, u32)>,
    servers: usize,
}

/// The original's string hash.
pub fn hash(text: &[u8]) -> u32 {
    text.iter().fold(0, |h: u32, b| {
        h.wrapping_mul(31).wrapping_add(u32::from(*b))
    })
}

impl Ring {
    /// A ring over servers given as `host:port` and weight. Every server gets 20 points per unit of the *sum* of weights.
    pub fn new<'a>(servers: impl Iterator<Item = (&'a str, f64)> + Clone) -> Self {
        let count = servers.clone().count();
        let weights: f64 = servers.clone().map(|(_, weight)| weight).sum();
        let each = points_each(weights, count);
        let mut points = Vec::with_capacity(each * count);
        for (server, (text, _)) in servers.enumerate() {
            let base = f64::from(hash(text.as_bytes()));
            points.extend((1..=each).map(|c| (point(base, c), server as u32)));
        }
        points.sort_unstable();
        Self {
            points,
            servers: count,
        }
    }

    /// The first available server at or after `key`, going round once.
    pub fn find(&self, key: u32, available: impl Fn(usize) -> bool) -> Option<usize> {
        if self.servers == 1 {
            return available(0).then_some(0);
        }
        let start = self.points.partition_point(|(value, _)| *value < key);
        let (before, after) = self.points.split_at(start);
        let mut walk = after.iter().chain(before).map(|(_, s)| *s as usize);
        let home = walk.next().filter(|server| available(*server));
        // Without anybody available the walk would pass every point; servers are few, so ask them first.
        home.or_else(|| {
            let any = (0..self.servers).find(|server| available(*server))?;
            // Weights that come to nothing leave a ring without points.
            walk.find(|server| available(*server)).or(Some(any))
        })
    }

    /// Points in order, as value and server.
    pub fn points(&self) -> &[(u32, u32)] {
        &self.points
    }
}

/// Whole points per server, capped so that the ring stays within [`MAX_POINTS`].
fn points_each(weights: f64, servers: usize) -> usize {
    // Finite and not negative by validation; the cast saturates and the cap makes it small.
    let wanted = (20.0 * weights) as usize;
    match servers {
        0 | 1 => wanted.min(MAX_ALONE),
        _ => wanted.min(MAX_POINTS / servers),
    }
}

/// Evaluated from left to right in doubles, as the original does, rounding included.
fn point(base: f64, c: usize) -> u32 {
    let product = base * c as f64 * 13.0;
    (product - (product / TWO_32).floor() * TWO_32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn huge_weights_are_capped() {
        let ring = Ring::new([("a:1", 1e15), ("b:1", 1e15)].into_iter());
        assert_eq!(ring.points().len(), MAX_POINTS);
        let alone = Ring::new([("a:1", 1e15)].into_iter());
        assert_eq!(alone.points().len(), MAX_ALONE);
    }

    proptest! {
        /// A key moves only when its own server goes away.
        #[test]
        fn keys_stay(ports in proptest::collection::btree_set(1u16..9999, 2..6), key in any::<u32>(), gone in any::<usize>()) {
            let names: Vec<String> = ports.iter().map(|p| format!("10.0.0.1:{p}")).collect();
            let ring = Ring::new(names.iter().map(|n| (n.as_str(), 1.0)));
            let home = ring.find(key, |_| true);
            let gone = gone % names.len();
            let then = ring.find(key, |s| s != gone);
            prop_assert!(home == Some(gone) || home == then);
        }
    }
}
