//! Of two lists of times: medians, percentiles, and whether a guesser could tell them apart.

/// The value that this share (0 to 1) of a sorted list does not exceed (nearest rank).
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "lists stay far below 2^52")]
    let rank = (sorted.len() as f64 * share).ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank within the list")]
    sorted.get(rank as usize - 1).copied().unwrap_or(f64::NAN)
}

/// The two-sided p-value of the Mann-Whitney U test: how often two samples of one distribution would differ
/// this much in rank. Normal approximation with ties corrected, for samples of twenty and more.
pub(crate) fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> =
        a.iter().map(|&value| (value, true)).chain(b.iter().map(|&value| (value, false))).collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    #[expect(clippy::cast_precision_loss, reason = "lists stay far below 2^52")]
    let count = |length: usize| length as f64;
    let (mut ranks_of_a, mut ties, mut before) = (0.0, 0.0, 0.0);
    for equal in all.chunk_by(|x, y| x.0.total_cmp(&y.0).is_eq()) {
        let size = count(equal.len());
        let from_a = count(equal.iter().filter(|(_, from_a)| *from_a).count());
        ranks_of_a += from_a * (before + f64::midpoint(size, 1.0));
        ties += size * size * size - size;
        before += size;
    }
    let (a, b, n) = (count(a.len()), count(b.len()), count(all.len()));
    let u = ranks_of_a - a * (a + 1.0) / 2.0;
    let variance = a * b / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    beyond((u - a * b / 2.0).abs() / variance.sqrt())
}

/// The share of a normal distribution beyond `z` deviations on either side: `erfc(z / √2)` by the continued
/// fraction of its tail (DLMF 7.9.3), and by the series around zero (DLMF 7.6.2) where that converges badly.
fn beyond(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let bell = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for step in 1..100 {
            term *= 2.0 * x * x / f64::from(2 * step + 1);
            sum += term;
        }
        return 1.0 - 2.0 * bell * sum;
    }
    let tail = (1..100).rev().fold(x, |rest, step| x + f64::from(step) / 2.0 / rest);
    bell / tail
}
