//! The text in which numbers are handed out: Prometheus' text format 0.0.4.

use std::fmt::{Display, Write as _};

use super::{BOUNDS, Histogram};

/// What `Content-Type` says of it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Numbers being written down.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// Begins a family of numbers: `kind` is `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One number of a family.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// A family that is one number.
    pub fn single(&mut self, (name, kind, help): (&str, &str, &str), value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// One histogram of a family: the sum of `parts`.
    pub fn histogram<'h>(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        parts: impl Iterator<Item = &'h Histogram>,
    ) {
        let (mut buckets, mut sum) = ([0; BOUNDS.len() + 1], 0);
        for part in parts {
            sum += part.sum();
            for (total, count) in buckets.iter_mut().zip(part.buckets()) {
                *total += count;
            }
        }
        let mut so_far = 0;
        for (place, count) in buckets.iter().enumerate() {
            so_far += count;
            let bound = BOUNDS.get(place).map_or_else(|| "+Inf".to_owned(), |bound| seconds(*bound));
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(("le", &bound)));
            let _ = writeln!(self.0, " {so_far}");
        }
        self.sample(&format!("{name}_sum"), labels, seconds(sum));
        self.sample(&format!("{name}_count"), labels, so_far);
    }

    fn labels(&mut self, labels: &[(&str, &str)], last: Option<(&str, &str)>) {
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(last) {
            let _ = write!(self.0, "{separator}{name}=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    c => self.0.push(c),
                }
            }
            self.0.push('"');
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
    }

    /// All that was written.
    pub fn finish(self) -> String {
        self.0
    }
}

/// Microseconds as seconds, without digits that say nothing.
pub fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn labels_are_escaped_and_buckets_add_up() {
        let mut text = Text::default();
        text.sample("a_total", &[("x", "q\"\\\n")], 3);
        let (one, two) = (Histogram::default(), Histogram::default());
        one.note(Duration::from_millis(1));
        two.note(Duration::from_mins(1));
        text.histogram("h", &[("o", "f")], [&one, &two].into_iter());
        let text = text.finish();
        assert!(text.starts_with("a_total{x=\"q\\\"\\\\\\n\"} 3\n"), "{text}");
        for line in [
            "h_bucket{o=\"f\",le=\"0.0005\"} 0",
            "h_bucket{o=\"f\",le=\"0.001\"} 1",
            "h_bucket{o=\"f\",le=\"10\"} 1",
            "h_bucket{o=\"f\",le=\"+Inf\"} 2",
            "h_sum{o=\"f\"} 60.001",
            "h_count{o=\"f\"} 2",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
