//! Everything that is counted, as one text.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::app::App;
use crate::gate::endpoint;
use crate::metrics::text::{Text, seconds};
use crate::metrics::worker::{AWAITING, CLASSES, METHODS, Outcome, Requests, TROUBLES, Worker};
use crate::metrics::{ANSWERED, Counter, Job};
use crate::proxy::instances::Instances;
use crate::refusal::Refusal;
use crate::server::admin::active::Active;
use crate::server::tls::Tls;

/// How long the store may take to count mails that wait.
const PATIENCE: Duration = Duration::from_secs(1);

/// Writes all numbers.
pub(super) async fn write(app: &App, tls: Option<&Tls>, (all, active): (&Instances, &Active)) -> String {
    let mut text = Text::default();
    let workers = app.metrics.workers();
    let workers: Vec<&Worker> = workers.iter().map(|worker| &**worker).collect();
    process(&mut text, app);
    requests(&mut text, &workers);
    instances(&mut text, all);
    connections(&mut text, &workers);
    sessions(&mut text, app, &workers);
    if let Some(active) = active.sessions(app).await {
        let help = "Sessions in the store that have not expired: of all replicas, in use or not.";
        text.single(("sidegate_sessions_active", "gauge", help), active);
    }
    people(&mut text, app);
    mails(&mut text, app).await;
    upkeep(&mut text, app);
    certificates(&mut text, app, tls);
    text.finish()
}

fn sum(workers: &[&Worker], count: impl Fn(&Worker) -> &Counter) -> u64 {
    workers.iter().map(|worker| count(worker).get()).sum()
}

fn process(text: &mut Text, app: &App) {
    let (name, help) = ("sidegate_build_info", "The version that runs; always 1.");
    text.family(name, "gauge", help);
    text.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.single(("sidegate_ready", "gauge", "0 while this instance is going down."), {
        u8::from(!app.metrics.draining())
    });
    let [done, failed] = app.metrics.reloads();
    let name = "sidegate_config_reloads_total";
    text.family(name, "counter", "Reloads of the configuration.");
    text.sample(name, &[("outcome", "applied")], done.get());
    text.sample(name, &[("outcome", "refused")], failed.get());
    let name = "sidegate_config_reload_success";
    let help = "0 if the last reload was refused, so that an earlier configuration is in use.";
    text.single((name, "gauge", help), u8::from(!app.metrics.reload_failed()));
    let name = "sidegate_config_last_reload_timestamp_seconds";
    text.single((name, "gauge", "When the configuration in use was read."), app.metrics.configured.get());
    let [done, failed] = app.metrics.certificates();
    let name = "sidegate_certificate_changes_total";
    text.family(name, "counter", "Changes of the files of certificates that were found without a reload.");
    text.sample(name, &[("outcome", "applied")], done.get());
    text.sample(name, &[("outcome", "refused")], failed.get());
    let Some(own) = Process::read() else { return };
    let name = "process_start_time_seconds";
    text.single((name, "gauge", "When the process started."), own.started);
    let name = "process_cpu_seconds_total";
    text.single((name, "counter", "User and system time."), own.processor);
    let name = "process_resident_memory_bytes";
    text.single((name, "gauge", "Resident memory."), own.resident);
    let name = "process_open_fds";
    text.single((name, "gauge", "Open file descriptors."), own.files);
}

fn requests(text: &mut Text, workers: &[&Worker]) {
    answered(text, workers);
    decisions(text, workers);
    let under_way = sum(workers, |worker| &worker.begun).saturating_sub(sum(workers, |worker| &worker.ended));
    text.single(("sidegate_requests_in_flight", "gauge", "Requests that are being answered."), under_way);
    let name = "sidegate_requests_abandoned_total";
    let help = "Requests whose client went before there was an answer.";
    text.single((name, "counter", help), sum(workers, |worker| &worker.abandoned));
    let name = "sidegate_request_duration_seconds";
    text.family(name, "histogram", "From the head of a request to the end of its answer.");
    for (o, outcome) in Outcome::NAMES.iter().enumerate() {
        text.histogram(name, &[("outcome", outcome)], workers.iter().map(|worker| &worker.durations[o]));
    }
    let name = "sidegate_upstream_duration_seconds";
    text.family(name, "histogram", "From asking the app to the head of its answer.");
    text.histogram(name, &[], workers.iter().map(|worker| &worker.upstream));
    let name = "sidegate_upstream_errors_total";
    text.family(name, "counter", "What the app did not answer, or not to the end.");
    for (t, kind) in TROUBLES.iter().enumerate() {
        text.sample(name, &[("kind", kind)], sum(workers, |worker| &worker.troubles[t]));
    }
    let name = "sidegate_refusals_total";
    text.family(name, "counter", "Requests that were refused, by the code that the client was told.");
    for (code, count) in by_code(workers, |worker, place| &worker.refusals[place]) {
        text.sample(name, &[("code", code)], count);
    }
    let name = "sidegate_endpoint_requests_total";
    text.family(name, "counter", "Requests for our own endpoints.");
    for (place, (method, path)) in (0..).map_while(|place| Some((place, endpoint::at_place(place)?))) {
        for (c, code) in CLASSES.iter().enumerate() {
            let count: u64 = workers.iter().map(|worker| worker.endpoints[place][c].get()).sum();
            if count > 0 {
                text.sample(name, &[("endpoint", &format!("{method} {path}")), ("code", code)], count);
            }
        }
    }
    let name = "sidegate_sent_bytes_total";
    text.single((name, "counter", "Bytes of bodies sent to clients."), sum(workers, |worker| &worker.sent));
}

fn answered(text: &mut Text, workers: &[&Worker]) {
    let name = "sidegate_requests_total";
    text.family(name, "counter", "Requests that were answered, by the rule that speaks of them.");
    let mut routes = BTreeMap::<String, Vec<Arc<Requests>>>::new();
    for (route, requests) in workers.iter().flat_map(|worker| worker.routes()) {
        routes.entry(route).or_default().push(requests);
    }
    for (route, parts) in &routes {
        for (o, outcome) in Outcome::NAMES.iter().enumerate() {
            for (m, method) in METHODS.iter().enumerate() {
                for (c, code) in CLASSES.iter().enumerate() {
                    let count: u64 = parts.iter().map(|requests| requests.get(o, m, c)).sum();
                    if count > 0 {
                        let labels = [
                            ("route", route.as_str()),
                            ("outcome", outcome),
                            ("method", method),
                            ("code", code),
                        ];
                        text.sample(name, &labels, count);
                    }
                }
            }
        }
    }
}

fn decisions(text: &mut Text, workers: &[&Worker]) {
    let name = "sidegate_auth_decisions_total";
    text.family(name, "counter", "Whether requests may go to the app, and why not.");
    for (place, reason) in ["anonymous", "session"].into_iter().enumerate() {
        let count = sum(workers, |worker| &worker.allowed[place]);
        text.sample(name, &[("outcome", "allowed"), ("reason", reason)], count);
    }
    for (code, count) in by_code(workers, |worker, place| &worker.denied[place]) {
        text.sample(name, &[("outcome", "denied"), ("reason", code)], count);
    }
}

/// What there is of each refusal, by its code.
fn by_code(
    workers: &[&Worker],
    count: impl Fn(&Worker, usize) -> &Counter,
) -> impl Iterator<Item = (&'static str, u64)> {
    let mut told = BTreeMap::<&str, u64>::new();
    for (place, refusal) in Refusal::ALL.iter().enumerate() {
        *told.entry(refusal.code()).or_default() += sum(workers, |worker| count(worker, place));
    }
    told.into_iter().filter(|(_, count)| *count > 0)
}

fn instances(text: &mut Text, instances: &Instances) {
    let name = "sidegate_upstream_up";
    text.family(name, "gauge", "0 while an instance of the app is not well, or is passed over.");
    for (instance, up) in instances.states() {
        text.sample(name, &[("instance", instance)], u8::from(up));
    }
}

fn connections(text: &mut Text, workers: &[&Worker]) {
    let open = sum(workers, |worker| &worker.connections);
    text.single(("sidegate_connections_open", "gauge", "Connections of clients."), open);
    let name = "sidegate_connections_refused_total";
    let refused = sum(workers, |worker| &worker.turned_away);
    text.single((name, "counter", "Connections turned away because there were too many."), refused);
    let name = "sidegate_connections_shed_total";
    let shed = sum(workers, |worker| &worker.shed);
    text.single((name, "counter", "Idle connections closed to make room for others."), shed);
    let name = "sidegate_connections_timed_out_total";
    text.family(name, "counter", "Connections closed because what they began with did not come in time.");
    for (at, awaiting) in AWAITING.iter().enumerate() {
        text.sample(name, &[("awaiting", awaiting)], sum(workers, |worker| &worker.timed_out[at]));
    }
    let [begun, ended] = [0, 1].map(|at| sum(workers, |worker| &worker.tunnels[at]));
    let name = "sidegate_upgraded_connections";
    text.single(
        (name, "gauge", "Connections that have left HTTP (WebSockets)."),
        begun.saturating_sub(ended),
    );
    let name = "sidegate_upgrades_total";
    text.single((name, "counter", "Connections that have left HTTP so far."), begun);
}

fn sessions(text: &mut Text, app: &App, workers: &[&Worker]) {
    let name = "sidegate_session_cache_hits_total";
    text.single((name, "counter", "Sessions found in memory."), sum(workers, |worker| &worker.hits));
    let name = "sidegate_session_cache_misses_total";
    let help = "Sessions for which the store or a key was asked.";
    text.single((name, "counter", help), sum(workers, |worker| &worker.misses));
    let name = "sidegate_session_cache_entries";
    text.single((name, "gauge", "Sessions in memory."), app.sessions.cache.entries());
    let name = "sidegate_session_cache_evictions_total";
    let help = "Sessions that had to make room in memory for others.";
    text.single((name, "counter", help), app.sessions.cache.evictions());
    let name = "sidegate_store_errors_total";
    text.single((name, "counter", "Questions to the store that failed."), app.metrics.store_errors());
}

fn people(text: &mut Text, app: &App) {
    let counts = app.store.counts();
    let name = "sidegate_auth_events_total";
    text.family(name, "counter", "What people did with their accounts, or tried to.");
    for ((event, outcome), count) in counts.events.all() {
        text.sample(name, &[("event", &event), ("outcome", outcome)], count);
    }
    let name = "sidegate_logins_total";
    text.family(name, "counter", "Sign-ins, by the way they came: password, code or a provider.");
    for ((way, outcome), count) in counts.sign_ins.all() {
        text.sample(name, &[("method", &way), ("outcome", outcome)], count);
    }
    let name = "sidegate_provider_request_duration_seconds";
    text.family(name, "histogram", "Requests to providers: what was asked of which, and what came of it.");
    app.metrics.providers.each(|(provider, asked, outcome), took| {
        let labels = [("provider", provider), ("op", asked), ("outcome", outcome)];
        text.histogram(name, &labels, std::iter::once(took));
    });
    provider_errors(text, app);
    let name = "sidegate_budget_spent_total";
    text.family(name, "counter", "Attempts that were counted, by whose budget paid.");
    for (budget, [spent, _]) in app.limits.counts() {
        text.sample(name, &[("bucket", budget)], spent);
    }
    let name = "sidegate_rate_limited_total";
    text.family(name, "counter", "Attempts for which no budget was left.");
    for (budget, [_, empty]) in app.limits.counts() {
        text.sample(name, &[("bucket", budget)], empty);
    }
}

fn provider_errors(text: &mut Text, app: &App) {
    let name = "sidegate_provider_errors_total";
    text.family(name, "counter", "Requests to providers that failed or were refused, whatever was asked.");
    let mut errors = BTreeMap::<(String, String), u64>::new();
    app.metrics.providers.each(|(provider, _, outcome), took| {
        if outcome != ANSWERED {
            *errors.entry((provider.to_owned(), outcome.to_owned())).or_default() +=
                took.buckets().sum::<u64>();
        }
    });
    for ((provider, kind), count) in errors {
        text.sample(name, &[("provider", &provider), ("kind", &kind)], count);
    }
}

async fn mails(text: &mut Text, app: &App) {
    let mails = &app.store.counts().mails;
    let name = "sidegate_mails_total";
    text.family(name, "counter", "Mails, by what became of them.");
    for (outcome, count) in [
        ("queued", &mails.queued),
        ("sent", &mails.sent),
        ("put_off", &mails.put_off),
        ("given_up", &mails.given_up),
    ] {
        text.sample(name, &[("outcome", outcome)], count.get());
    }
    // What cannot be counted in time is left out, rather than told wrongly.
    if let Ok(Ok(waiting)) = timeout(PATIENCE, app.store.outbox_waiting()).await {
        text.single(("sidegate_mails_waiting", "gauge", "Mails that are to be sent."), waiting);
    }
}

fn upkeep(text: &mut Text, app: &App) {
    let metrics = &app.metrics;
    let name = "sidegate_job_runs_total";
    text.family(name, "counter", "How often a job did its work.");
    for job in Job::ALL {
        text.sample(name, &[("job", job.name())], metrics.job(job).runs.get());
    }
    let name = "sidegate_job_failures_total";
    text.family(name, "counter", "How often a job failed.");
    for job in Job::ALL {
        text.sample(name, &[("job", job.name())], metrics.job(job).failures.get());
    }
    let name = "sidegate_job_duration_seconds_total";
    text.family(name, "counter", "How long the runs of a job took in all.");
    for job in Job::ALL {
        text.sample(name, &[("job", job.name())], seconds(metrics.job(job).took.get()));
    }
    let name = "sidegate_deleted_rows_total";
    text.family(name, "counter", "Rows that were deleted because they were old.");
    for ((what, _), count) in metrics.deleted.all() {
        text.sample(name, &[("what", &what)], count);
    }
    let name = "sidegate_lost_log_lines_total";
    let help = "Lines of the log that nobody took in time.";
    text.single((name, "counter", help), app.log_sink().map_or(0, |sink| sink.lost()));
    let name = "sidegate_spans_total";
    text.family(name, "counter", "Spans, by whether the collector has them.");
    for (outcome, count) in ["sent", "lost"].into_iter().zip(&metrics.spans) {
        text.sample(name, &[("outcome", outcome)], count.get());
    }
}

fn certificates(text: &mut Text, app: &App, tls: Option<&Tls>) {
    let (Some(tls), Some(config)) = (tls, &app.config.tls) else { return };
    let name = "sidegate_tls_cert_not_after_seconds";
    text.family(name, "gauge", "Until when a certificate is good.");
    for (until, files) in tls.not_after().into_iter().zip(&config.certificates) {
        if let Some(until) = until {
            text.sample(name, &[("file", &files.certificate.display().to_string())], until);
        }
    }
}

/// What the system says of this process.
struct Process {
    started: u64,
    processor: String,
    resident: u64,
    files: usize,
}

impl Process {
    /// `None` where there is no such thing (proc(5)).
    fn read() -> Option<Self> {
        /// Ticks in a second, on every Linux that there is (`sysconf(_SC_CLK_TCK)`).
        const TICKS: u64 = 100;
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name of the program may hold anything; what follows it does not.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
        let booted = fs::read_to_string("/proc/stat").ok()?;
        let booted =
            booted.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u64>().ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let resident = resident.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024;
        Some(Self {
            started: booted + number(22)? / TICKS,
            processor: seconds((number(14)? + number(15)?) * 1_000_000 / TICKS),
            resident,
            files: fs::read_dir("/proc/self/fd").ok()?.count(),
        })
    }
}
