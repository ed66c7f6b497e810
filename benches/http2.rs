//! What does a request by HTTP/2 under TLS cost, next to nginx?
//!
//! ```text
//! cargo bench --bench http2
//! cargo bench --bench http2 -- --rounds 8 --streams 32
//! ```
//!
//! Needs `nginx`, `openssl`, `h2load` (nghttp2-client) and util-linux in the path; Linux only. Both proxies have one
//! worker on core 0 and stand in front of the same upstream, which `h2load` shares the other cores with. nginx is sampled
//! before and after Sidegate, and a ratio is Sidegate ÷ mean of these two. CPU is scheduler time of the proxy's processes ÷
//! requests.

#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::error::Error;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

#[path = "support/process.rs"]
#[expect(dead_code, reason = "shared with benchmarks that need more of it")]
mod process;

use process::Process;

/// Compares HTTP/2 through Sidegate with HTTP/2 through nginx.
#[derive(Parser)]
struct Options {
    /// How often Sidegate is sampled.
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Requests of a sample.
    #[arg(long, default_value_t = 30_000)]
    requests: u32,
    /// Connections of the load generator.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Requests under way on each.
    #[arg(long, default_value_t = 8)]
    streams: u32,
    /// The Sidegate to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_sidegate"))]
    sidegate: PathBuf,
    /// cargo passes it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let folder = |name: &str| -> std::io::Result<PathBuf> {
        let path = directory.path().join(name);
        fs::create_dir(&path)?;
        Ok(path)
    };
    let tls = folder("tls")?;
    certificate(&tls)?;
    let body = "x".repeat(1024);
    let upstream = nginx(&folder("upstream")?, "1", |address| {
        format!("server {{ listen {address}; location / {{ return 200 '{body}'; }} }}")
    })?;
    let (certificate, key) = (tls.join("cert.pem"), tls.join("key.pem"));
    let baseline = nginx(&folder("nginx")?, "0", |address| {
        format!(
            "upstream app {{ server {}; keepalive 256; }}\n\
             server {{ listen {address} ssl http2; ssl_certificate {}; ssl_certificate_key {};\n\
             location / {{ proxy_pass http://app; proxy_set_header Connection ''; }} }}",
            upstream.address,
            certificate.display(),
            key.display()
        )
    })?;
    let ours = sidegate(&options.sidegate, &folder("sidegate")?, upstream.address, &tls)?;
    let mut ratios = Vec::new();
    println!("{:>10} {:>10} {:>10} {:>8}", "nginx µs", "ours µs", "ours/s", "CPU");
    for _ in 0..options.rounds {
        let before = sample(&options, &baseline)?;
        let own = sample(&options, &ours)?;
        let after = sample(&options, &baseline)?;
        let nginx = f64::midpoint(before.cpu, after.cpu);
        ratios.push(own.cpu / nginx);
        println!("{nginx:>10.1} {:>10.1} {:>10.0} {:>8.2}", own.cpu, own.rate, own.cpu / nginx);
    }
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios.first().unwrap_or(&f64::NAN), ratios.last().unwrap_or(&f64::NAN));
    let median = ratios.get(ratios.len() / 2).unwrap_or(&f64::NAN);
    println!("CPU of a request by HTTP/2, Sidegate ÷ nginx: {median:.2} [{least:.2}..{most:.2}]");
    Ok(())
}

/// What one run of the load generator showed.
struct Sample {
    /// Microseconds of processor time for each request.
    cpu: f64,
    /// Requests in a second.
    rate: f64,
}

fn sample(options: &Options, server: &Process) -> Result<Sample, Box<dyn Error>> {
    let number = |name: &str, value: u32| [name.to_owned(), value.to_string()];
    let before = server.cpu();
    let output = Command::new("taskset")
        .args(["-c", "1", "h2load"])
        .args(number("-n", options.requests))
        .args(number("-c", options.connections))
        .args(number("-m", options.streams))
        .arg(format!("https://{}/open/x", server.address))
        .output()?;
    let cpu = server.cpu().saturating_sub(before);
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    if !report.contains(&format!("{} 2xx", options.requests)) {
        return Err(format!("requests were lost (h2load is needed):\n{report}").into());
    }
    let rate = report.split_once(" req/s").and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    Ok(Sample { cpu: cpu.as_secs_f64() * 1e6 / f64::from(options.requests), rate: rate.unwrap_or(f64::NAN) })
}

fn certificate(folder: &Path) -> Result<(), Box<dyn Error>> {
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -keyout key.pem -out cert.pem \
        -subj /CN=bench -addext subjectAltName=IP:127.0.0.1";
    let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output()?;
    if made.status.success() { Ok(()) } else { Err("openssl makes no certificate".into()) }
}

fn nginx(
    folder: &Path,
    core: &str,
    server: impl FnOnce(SocketAddr) -> String,
) -> Result<Process, Box<dyn Error>> {
    let address = process::free_address()?;
    let text = format!(
        "daemon off; user root; worker_processes 1; pid nginx.pid; error_log stderr error;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; tcp_nopush on; default_type text/plain; proxy_http_version 1.1;\n\
         keepalive_timeout 1h; keepalive_requests 1000000000;\n\
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n{}\n}}\n",
        server(address)
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text)?;
    let (folder_name, file_name) = (folder.display().to_string(), file.display().to_string());
    Process::start(
        Some(core),
        folder,
        address,
        ["nginx", "-e", "stderr", "-p", &folder_name, "-c", &file_name],
    )
}

fn sidegate(
    binary: &Path,
    folder: &Path,
    upstream: SocketAddr,
    tls: &Path,
) -> Result<Process, Box<dyn Error>> {
    let address = process::free_address()?;
    let file = folder.join("sidegate.toml");
    let text = format!(
        "secret = \"a root secret for benchmarks on loopback only\"\n\
         [listen]\naddress = \"{address}\"\nworkers = 1\n[public]\nurl = \"https://{address}\"\n\
         [tls]\ncertificate = \"{0}/cert.pem\"\nkey = \"{0}/key.pem\"\n\
         [upstream]\nurl = \"http://{upstream}\"\n[store]\nurl = \"sqlite:{1}/db\"\n\
         [[rules]]\npath = \"/open/**\"\naccess = \"public\"\n",
        tls.display(),
        folder.display()
    );
    fs::write(&file, text)?;
    let (binary, file) = (binary.display().to_string(), file.display().to_string());
    Process::start(Some("0"), folder, address, [binary.as_str(), "serve", "--config", &file])
}
