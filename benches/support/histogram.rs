//! Latencies in log-linear buckets: 64 to each power of two nanoseconds, so within 1.6 % up to eight seconds.

use std::time::Duration;

/// How many requests took how long.
pub(crate) struct Histogram {
    buckets: Vec<u64>,
}

impl Histogram {
    const STEPS: u64 = 64;
    const LONGEST: u64 = (1 << 33) - 1;

    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; Self::bucket(Self::LONGEST) + 1] }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX).min(Self::LONGEST);
        self.buckets[Self::bucket(nanos)] += 1;
    }

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The latency that this share (0 to 1) of the requests did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let total = self.count() as f64;
        let mut seen = 0.0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            let count = *count as f64;
            seen += count;
            if count > 0.0 && seen >= total * share {
                return Self::middle(bucket);
            }
        }
        Duration::ZERO
    }

    fn bucket(nanos: u64) -> usize {
        let shift = nanos.max(Self::STEPS).ilog2() - Self::STEPS.ilog2();
        let bucket = u64::from(shift) * Self::STEPS + (nanos >> shift);
        usize::try_from(bucket).unwrap_or(usize::MAX)
    }

    fn middle(bucket: usize) -> Duration {
        let bucket = bucket as u64;
        let shift = (bucket / Self::STEPS).saturating_sub(1);
        let low = (bucket - shift * Self::STEPS) << shift;
        Duration::from_nanos(low + (1 << shift) / 2)
    }
}
