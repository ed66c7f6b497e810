//! How soon it is seen that a session was ended: by who ended it, by another replica, and by one that is not told.

use std::env;
use std::error::Error;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::str::FromStr as _;
use std::thread;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::database::Kind;
use crate::ordeal::{self, PASSWORD, now};
use crate::servers::process::Process;
use crate::servers::running::{Client, Plan};
use crate::{Options, answer, cells, deaf};

const EMAIL: &str = "ada@example.com";
/// `session.cache_age` here, in seconds: the default of 30 would only take longer.
const CACHE_AGE: u64 = 3;

/// Prints what each sees; between replicas, if a PostgreSQL server is named.
pub(crate) fn table(options: &Options, app: SocketAddr) -> Result<(), Box<dyn Error>> {
    println!(
        "\n| a sign-out is seen, {} rounds | least | median | most | requests let through |",
        options.rounds
    );
    println!("|---|---:|---:|---:|---:|");
    for kind in Kind::available() {
        let database = kind.create();
        let one = start(options, app, &database.url())?;
        Client::connect(one.0.address)?.sign_up(EMAIL, PASSWORD)?;
        let name = kind.name();
        println!("| {name}, by the replica that ended it | {} |", watch(options, &one.0, &one.0)?);
        if kind == Kind::Postgres {
            let other = start(options, app, &database.url())?;
            println!("| {name}, by another replica | {} |", watch(options, &one.0, &other.0)?);
            let deaf = start(options, app, &around(&database.url())?)?;
            let row = format!("by another that is not told, session.cache_age = {CACHE_AGE} s");
            println!("| {name}, {row} | {} |", watch(options, &one.0, &deaf.0)?);
        }
    }
    if env::var_os("SIDEGATE_BENCH_POSTGRES").is_none() {
        println!("\nSIDEGATE_BENCH_POSTGRES names no server: nothing between replicas was measured");
    }
    Ok(())
}

/// The same database, by a way on which no notification comes through.
fn around(url: &str) -> Result<String, Box<dyn Error>> {
    let options = PgConnectOptions::from_str(url)?;
    let server = (options.get_host(), options.get_port());
    let server = std::net::ToSocketAddrs::to_socket_addrs(&server)?.next().ok_or("no address")?;
    let deaf = deaf::start(server)?;
    // Messages are to be told apart on the way.
    let options = options.ssl_mode(PgSslMode::Disable).host("127.0.0.1").port(deaf.port());
    Ok(options.to_url_lossy().to_string())
}

fn start(
    options: &Options,
    app: SocketAddr,
    url: &str,
) -> Result<(Process, tempfile::TempDir), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let sections = format!(
        "[limits]\nattempts_per_address = 1000000\nattempts_per_account = 1000000\nattempts_in_all = 1000000\n\
         requests_per_connection = 0\n\n\
         [session]\ncache_age = \"{CACHE_AGE}s\"\n\n[password]\nanswer_floor = \"0ms\"\n"
    );
    let plan = Plan {
        binary: &options.sidegate,
        cores: None,
        callgrind: false,
        certificate: None,
        files: None,
        workers: 2,
        upstream: app,
        protocol: "http1",
        store: format!("url = \"{url}\""),
        sections: &sections,
    };
    let process = plan.start(folder.path())?;
    // What follows a start is over: the feed is heard.
    thread::sleep(Duration::from_secs(1));
    Ok((process, folder))
}

/// Ends sessions at `one` that `other` knows and asks `other` until it refuses: cells of the times and a count.
fn watch(options: &Options, one: &Process, other: &Process) -> Result<String, Box<dyn Error>> {
    let (mut times, mut through) = (Vec::new(), 0);
    for round in 0..options.rounds {
        let cookie = Client::connect(one.address)?.sign_in(EMAIL, PASSWORD)?.session_cookie()?;
        let mut asked = ordeal::connect(other.address, Duration::from_secs(20))?;
        let mut ended = ordeal::connect(one.address, Duration::from_secs(20))?;
        if ask(&mut asked, other.address, &cookie)? != 200 {
            return Err("the session opens nothing".into());
        }
        // So that copies are of different ages.
        thread::sleep(Duration::from_millis(u64::try_from(round)? * 97 % (CACHE_AGE * 500)));
        let address = one.address;
        let request = format!(
            "POST /auth/sign-out HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: {cookie}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        ended.write_all(request.as_bytes())?;
        if answer::read(&mut ended)?.0 != 200 {
            return Err("no sign-out".into());
        }
        let begun = now();
        while ask(&mut asked, other.address, &cookie)? == 200 {
            through += 1;
            thread::sleep(Duration::from_micros(200));
        }
        times.push(begun.elapsed());
    }
    Ok(format!("{} | {through}", cells(&mut times)))
}

fn ask(stream: &mut TcpStream, address: SocketAddr, cookie: &str) -> Result<u16, Box<dyn Error>> {
    let request = format!("GET /x HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    Ok(answer::read(stream)?.0)
}
