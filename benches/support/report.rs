//! What `forward` found out: tables of medians with their range, and the targets that were met or missed.

use std::fmt::Write as _;

use crate::site::{Protocol, Target, Traffic};

/// One sample.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    /// Requests per second.
    pub(crate) rate: f64,
    /// Microseconds of the proxy's processor time for each request.
    pub(crate) cpu: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    /// Milliseconds.
    pub(crate) p99: f64,
    /// Cores that the proxy used.
    pub(crate) busy: f64,
    /// Microseconds of the load generator's processor time for each request.
    pub(crate) load: f64,
    /// MiB resident in the proxy's processes.
    pub(crate) resident: f64,
}

impl Figures {
    pub(crate) fn mean(a: &Self, b: &Self) -> Self {
        Self {
            rate: f64::midpoint(a.rate, b.rate),
            cpu: f64::midpoint(a.cpu, b.cpu),
            p50: f64::midpoint(a.p50, b.p50),
            p99: f64::midpoint(a.p99, b.p99),
            busy: f64::midpoint(a.busy, b.busy),
            load: f64::midpoint(a.load, b.load),
            resident: f64::midpoint(a.resident, b.resident),
        }
    }

    /// Ratios; what a proxy does not have (the processor time of no process) is no number.
    fn over(&self, base: &Self) -> Ratio {
        Ratio {
            rate: self.rate / base.rate,
            cpu: if self.cpu > 0.0 { self.cpu / base.cpu } else { f64::NAN },
            p50: self.p50 / base.p50,
            p99: self.p99 / base.p99,
        }
    }
}

#[derive(Clone, Copy)]
struct Ratio {
    rate: f64,
    cpu: f64,
    p50: f64,
    p99: f64,
}

/// Memory without load.
pub(crate) struct Retained {
    /// MiB before anybody signed up, if anybody can.
    pub(crate) fresh: Option<f64>,
    /// MiB after the first request, which follows a sign-up and a sign-in.
    pub(crate) idle: f64,
    /// KiB that one idle connection adds.
    pub(crate) connection: f64,
    /// KiB that one client adds which does not read its answer of 1 MiB, if that was measured.
    pub(crate) stalled: Option<f64>,
    /// Bytes that one cached session adds, if there are sessions.
    pub(crate) session: Option<f64>,
}

/// All samples of a run.
pub(crate) struct Report {
    /// Whom all others are compared with.
    base: Target,
    pub(crate) baseline: Vec<Figures>,
    pub(crate) retained: Vec<(Target, Retained)>,
    /// Samples kept although other programs were busy.
    pub(crate) disturbed: usize,
    rows: Vec<Row>,
}

struct Row {
    target: Target,
    figures: Vec<Figures>,
    to_base: Vec<Ratio>,
    to_auth_request: Vec<Ratio>,
    to_session_checked: Vec<Ratio>,
    to_oauth2_proxy: Vec<Ratio>,
    to_open: Vec<Ratio>,
}

impl Report {
    pub(crate) fn new(base: Target, targets: &[Target]) -> Self {
        let others = targets.iter().copied().filter(|target| *target != base);
        let rows = others
            .map(|target| Row {
                target,
                figures: Vec::new(),
                to_base: Vec::new(),
                to_auth_request: Vec::new(),
                to_session_checked: Vec::new(),
                to_oauth2_proxy: Vec::new(),
                to_open: Vec::new(),
            })
            .collect();
        Self { base, baseline: Vec::new(), retained: Vec::new(), disturbed: 0, rows }
    }

    /// Takes one round: every target with the mean of the baseline around it.
    pub(crate) fn add_round(&mut self, samples: &[(Target, Figures, Figures)]) {
        let of =
            |wanted| samples.iter().find(|(target, ..)| *target == wanted).map(|(_, figures, _)| figures);
        for row in &mut self.rows {
            let Some((_, figures, base)) = samples.iter().find(|(target, ..)| *target == row.target) else {
                continue;
            };
            row.figures.push(*figures);
            row.to_base.push(figures.over(base));
            row.to_auth_request.extend(of(Target::AuthRequest).map(|base| figures.over(base)));
            row.to_session_checked.extend(of(Target::AuthRequestSession).map(|base| figures.over(base)));
            row.to_oauth2_proxy.extend(of(Target::Oauth2Proxy).map(|base| figures.over(base)));
            row.to_open.extend(of(Target::SidegateOpen).map(|base| figures.over(base)));
        }
    }

    /// Absolute figures, ratios and memory as Markdown.
    pub(crate) fn tables(&self) -> String {
        let mut text = String::from(
            "| target | req/s | CPU µs/request | p50 ms | p99 ms | proxy busy, cores | RSS MiB | load µs/request |\n|---|---|---|---|---|---|---|---|\n",
        );
        let baseline = (self.base.name(), &self.baseline);
        let rows = self.rows.iter().map(|row| (row.target.name(), &row.figures));
        for (name, figures) in std::iter::once(baseline).chain(rows) {
            let cell = |read: fn(&Figures) -> f64, digits| spread(figures.iter().map(read), digits);
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} | {} | {} | {} |",
                cell(|figures| figures.rate, 0),
                cell(|figures| figures.cpu, 1),
                cell(|figures| figures.p50, 2),
                cell(|figures| figures.p99, 2),
                cell(|figures| figures.busy, 2),
                cell(|figures| figures.resident, 1),
                cell(|figures| figures.load, 1),
            );
        }
        text += "\n| ratio | req/s | CPU/request | p50 | p99 |\n|---|---|---|---|---|\n";
        for row in &self.rows {
            ratio_row(&mut text, row.target, self.base.name(), &row.to_base);
            if row.target == Target::Sidegate {
                ratio_row(&mut text, row.target, "nginx auth_request", &row.to_auth_request);
                let checked = "nginx auth_request, session checked";
                ratio_row(&mut text, row.target, checked, &row.to_session_checked);
                ratio_row(&mut text, row.target, "oauth2-proxy, signed in", &row.to_oauth2_proxy);
                ratio_row(&mut text, row.target, "its own public path", &row.to_open);
            }
        }
        if !self.retained.is_empty() {
            text += &self.memory();
        }
        if self.disturbed > 0 {
            let _ = writeln!(
                text,
                "\n{} samples were disturbed by other programs: measure again.",
                self.disturbed
            );
        }
        text
    }

    /// What was kept in memory, as Markdown.
    pub(crate) fn memory(&self) -> String {
        let mut text = String::from(
            "\n| memory | as started, MiB | idle, MiB | each idle connection, KiB | each client that does not read 1 MiB, KiB | each cached session, bytes |\n|---|---|---|---|---|---|\n",
        );
        for (target, memory) in &self.retained {
            let fresh = memory.fresh.map_or("–".to_owned(), |mebibytes| format!("{mebibytes:.1}"));
            let session = memory.session.map_or("–".to_owned(), |bytes| format!("{bytes:.0}"));
            let stalled = memory.stalled.map_or("–".to_owned(), |kibibytes| format!("{kibibytes:.1}"));
            let _ = writeln!(
                text,
                "| {} | {fresh} | {:.1} | {:.1} | {stalled} | {session} |",
                target.name(),
                memory.idle,
                memory.connection
            );
        }
        text
    }

    /// The medians of Sidegate ÷ the baseline as one row of the table of figures in `README.md`.
    pub(crate) fn row(&self, traffic: &str) -> String {
        let Some(row) = self.rows.iter().find(|row| matches!(row.target, Target::Sidegate | Target::Verify))
        else {
            return String::new();
        };
        let cell = |read: fn(&Ratio) -> f64| median(row.to_base.iter().map(read));
        format!(
            "| {traffic} ÷ {} | {:.2} | {:.2} | {:.2} | {:.2} |\n",
            self.base.name(),
            cell(|ratio| ratio.rate),
            cell(|ratio| ratio.cpu),
            cell(|ratio| ratio.p50),
            cell(|ratio| ratio.p99)
        )
    }

    /// One line for every target of the design that this traffic can judge.
    pub(crate) fn verdicts(&self, traffic: Traffic) -> String {
        let mut text = String::new();
        let Some(row) = self.rows.iter().find(|row| row.target == Target::Sidegate) else {
            return text;
        };
        let median_of = |ratios: &[Ratio], read: fn(&Ratio) -> f64| median(ratios.iter().map(read));
        let cpu = median_of(&row.to_base, |ratio| ratio.cpu);
        let (first, then) = match (traffic.protocol, traffic.post, traffic.answer) {
            (Protocol::H2, ..) => (0.85, 0.6),
            (Protocol::Http, true, _) => (1.0, 0.87),
            (Protocol::Http, false, 0..=1024) => (1.0, 0.9),
            (Protocol::Https, ..) | (Protocol::Http, false, 1025..=65_536) => (0.9, 0.8),
            (Protocol::Http, false, _) => (0.65, 0.41),
        };
        at_most(&mut text, "CPU/request against nginx proxy_pass", cpu, first, then);
        if traffic.protocol != Protocol::Http || traffic.post || traffic.fresh || traffic.answer > 1024 {
            return text;
        }
        let rate = median_of(&row.to_base, |ratio| ratio.rate);
        at_least(&mut text, "req/s against nginx proxy_pass", rate, 1.0, 1.1);
        let rate = median_of(&row.to_auth_request, |ratio| ratio.rate);
        at_least(&mut text, "req/s against nginx auth_request", rate, 1.9, 2.1);
        let rate = median_of(&row.to_session_checked, |ratio| ratio.rate);
        at_least(&mut text, "req/s against nginx auth_request, session checked", rate, 1.9, 2.1);
        let rate = median_of(&row.to_oauth2_proxy, |ratio| ratio.rate);
        at_least(&mut text, "req/s against oauth2-proxy, signed in", rate, 3.5, 5.0);
        let p99 = median_of(&row.to_base, |ratio| ratio.p99);
        at_most(&mut text, "p99 against nginx proxy_pass", p99, 1.2, 1.0);
        let authentication = (median_of(&row.to_open, |ratio| ratio.cpu) - 1.0) * 100.0;
        at_most(&mut text, "authentication on top of the public path, % CPU", authentication, 5.0, 2.0);
        if let Some((_, memory)) = self.retained.iter().find(|(target, _)| *target == Target::Sidegate) {
            at_most(&mut text, "resident when idle, MiB", memory.idle, 20.0, 12.0);
            at_most(&mut text, "resident for each idle connection, KiB", memory.connection, 16.0, 8.0);
            at_most(
                &mut text,
                "resident for each client that does not read, KiB",
                memory.stalled.unwrap_or(f64::NAN),
                100.0,
                64.0,
            );
            let session = memory.session.unwrap_or(f64::NAN);
            at_most(&mut text, "resident for each cached session, bytes", session, 1024.0, 512.0);
        }
        text
    }
}

/// The verdict on the user instructions of one authenticated forward.
pub(crate) fn instructions(each: f64) -> String {
    let mut text = String::new();
    at_most(&mut text, "user instructions for each authenticated forward", each, 24_000.0, 18_500.0);
    text
}

fn ratio_row(text: &mut String, target: Target, base: &str, ratios: &[Ratio]) {
    if ratios.is_empty() {
        return;
    }
    let cell = |read: fn(&Ratio) -> f64| spread(ratios.iter().map(read), 2);
    let _ = writeln!(
        text,
        "| {} ÷ {base} | {} | {} | {} | {} |",
        target.name(),
        cell(|ratio| ratio.rate),
        cell(|ratio| ratio.cpu),
        cell(|ratio| ratio.p50),
        cell(|ratio| ratio.p99),
    );
}

fn at_least(text: &mut String, what: &str, value: f64, first: f64, then: f64) {
    verdict(text, what, value, ("≥", first, value >= first), ("≥", then, value >= then));
}

fn at_most(text: &mut String, what: &str, value: f64, first: f64, then: f64) {
    verdict(text, what, value, ("≤", first, value <= first), ("≤", then, value <= then));
}

type Bound<'a> = (&'a str, f64, bool);

fn verdict(text: &mut String, what: &str, value: f64, first: Bound<'_>, then: Bound<'_>) {
    if value.is_nan() {
        let _ = writeln!(text, "- {what}: not measured");
        return;
    }
    let word = |met| if met { "pass" } else { "MISS" };
    let _ = writeln!(
        text,
        "- {what}: {value:.2}; first {} {}: {}; then {} {}: {}",
        first.0,
        first.1,
        word(first.2),
        then.0,
        then.1,
        word(then.2)
    );
}

/// Median and range of the values that are numbers.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let sorted = sorted(values);
    match (sorted.first(), sorted.last()) {
        (Some(low), Some(high)) if *high > 0.0 => {
            format!("{:.digits$} [{low:.digits$}..{high:.digits$}]", middle(&sorted))
        }
        _ => "–".to_owned(),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    middle(&sorted(values))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn middle(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}
