//! A socket and bytes: requests that no HTTP library would send, answers read as they came.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// No answer takes longer on any machine; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The body, decoded.
    pub(crate) body: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Response {
    /// The first field of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// All fields of this name.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The `code` of a JSON refusal.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Raw {
    /// Connects.
    pub(crate) fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        Self::over(stream)
    }

    /// Connects, if anybody listens.
    pub(crate) fn try_connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// Connects from this address of this machine.
    pub(crate) fn connect_from(from: IpAddr, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of ours");
        socket.connect(&to.into()).expect("a connection");
        Self::over(socket.into())
    }

    /// Connects with little room for what comes, and has it come in the segments of an Ethernet: those of loopback make
    /// so much room at the sender that nobody would ever wait for this client.
    pub(crate) fn connect_narrow(to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(64 * 1024).expect("a size");
        socket.set_tcp_mss(1448).expect("a size");
        socket.connect(&to.into()).expect("a connection");
        Self::over(socket.into())
    }

    /// Connects to a socket in the file system.
    pub(crate) fn connect_to_file(path: &Path) -> Self {
        let stream = UnixStream::connect(path).expect("a connection");
        Self::over(TcpStream::from(OwnedFd::from(stream)))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a read time-out");
        stream.set_write_timeout(Some(PATIENCE)).expect("a write time-out");
        Self { stream, unread: Vec::new() }
    }

    /// The socket alone, of which nothing has been read.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The same connection, to send and read at the same time.
    pub(crate) fn try_clone(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a socket"), unread: Vec::new() }
    }

    /// Sends bytes as they are; a closed connection is no error, the answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends bytes; false if the other side takes no more of them.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Ends our side.
    pub(crate) fn end(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        self
    }

    /// Reads one answer; interim ones are passed over.
    pub(crate) fn answer(&mut self) -> Response {
        self.try_answer(false).expect("an answer")
    }

    /// Reads the answer to a `HEAD` request.
    pub(crate) fn answer_to_head(&mut self) -> Response {
        self.try_answer(true).expect("an answer")
    }

    /// Reads one answer, or tells how the connection ended. `to_head`: the request was a `HEAD`.
    pub(crate) fn try_answer(&mut self, to_head: bool) -> io::Result<Response> {
        loop {
            let mut response = self.head()?;
            if (100..200).contains(&response.status) && response.status != 101 {
                continue;
            }
            self.body(&mut response, to_head)?;
            return Ok(response);
        }
    }

    /// Reads one head, interim or not.
    pub(crate) fn head(&mut self) -> io::Result<Response> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n\r\n") {
                break at + 4;
            }
            self.more()?;
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {text:?}")))?;
        Ok(Response { status, headers: fields(lines), body: Vec::new(), trailers: Vec::new() })
    }

    fn body(&mut self, response: &mut Response, to_head: bool) -> io::Result<()> {
        if to_head || matches!(response.status, 101 | 204 | 304) {
            return Ok(());
        }
        if response.header("transfer-encoding").is_some() {
            loop {
                let line = self.line()?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16)
                    .map_err(|_| io::Error::other(format!("no chunk size in {line:?}")))?;
                if size == 0 {
                    break;
                }
                response.body.extend(self.exactly(size)?);
                self.exactly(2)?;
            }
            let mut trailers = Vec::new();
            loop {
                let line = self.line()?;
                if line.is_empty() {
                    break;
                }
                trailers.push(line);
            }
            response.trailers = fields(trailers.iter().map(String::as_str));
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| io::Error::other("no length"))?;
            response.body = self.exactly(length)?;
        } else {
            response.body = self.rest()?;
        }
        Ok(())
    }

    fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(at) = find(&self.unread, b"\r\n") {
                break at;
            }
            self.more()?;
        };
        let line: Vec<u8> = self.unread.drain(..end + 2).collect();
        Ok(String::from_utf8_lossy(&line[..end]).into_owned())
    }

    /// Reads this many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.more()?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// Reads to the end of the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.more() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.unread));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the other side ends the connection (with or without a reset) and sends nothing more.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.rest() {
            Ok(rest) => rest.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn more(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 65_536];
        let count = loop {
            match self.stream.read(&mut buffer) {
                // A signal of the process, a child's end for one, is no word of the other side.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread.extend_from_slice(&buffer[..count]);
        Ok(())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn fields<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<(String, String)> {
    lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// Sends `request` on a new connection and reads the answer.
pub(crate) fn ask(to: SocketAddr, request: impl AsRef<[u8]>) -> Response {
    Raw::connect(to).send(request).answer()
}

/// As many open files as the clients of a test need.
pub(crate) fn many_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Some(maximum.map_or(8192, |most| most.min(8192)));
    if current.is_some_and(|current| Some(current) < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }).expect("it is allowed");
    }
}
