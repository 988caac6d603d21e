//! HTTP/1.1 as far as a server of JSON needs it: one request at a time, bodies of a known length, answers whole or in
//! chunks. Heads are parsed by `httparse`.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

/// Bytes of a head, and headers of it, at most.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Why a request gets no answer of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    message: String,
}

impl Problem {
    /// A problem with its status.
    pub fn new(status: u16, message: impl Into<String>) -> Problem {
        Problem { status, message: message.into() }
    }

    /// As OpenAI's clients expect it.
    pub fn json(&self) -> Value {
        let kind = if self.status < 500 { "invalid_request_error" } else { "server_error" };
        json!({"error": {"message": self.message, "type": kind, "param": null, "code": self.status}})
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// With its query.
    pub path: String,
    /// Of the length that was announced.
    pub body: Vec<u8>,
}

/// What a connection has for us.
pub enum Incoming {
    /// The next request.
    Request(Request),
    /// The client has gone, or what it sent was refused.
    End,
}

/// What a head says beyond the request itself.
struct Head {
    method: String,
    path: String,
    body_bytes: usize,
    keeps: bool,
    expects_continue: bool,
}

/// A client's connection.
pub struct Connection {
    stream: TcpStream,
    /// Read, but not yet part of a request.
    buffer: Vec<u8>,
    goes_on: bool,
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Payload Too Large",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

/// Parses a whole head; none where more bytes are needed.
fn parse(bytes: &[u8]) -> Result<Option<(usize, Head)>, Problem> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
            return Err(Problem::new(431, "the head is too long"));
        }
        Err(error) => return Err(Problem::new(400, format!("not HTTP: {error}"))),
    };
    let method = request.method.unwrap_or_default().to_owned();
    let path = request.path.unwrap_or_default().to_owned();
    let values = |name: &str| {
        let named = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| String::from_utf8_lossy(header.value).trim().to_ascii_lowercase()).collect::<Vec<_>>()
    };
    if !values("transfer-encoding").is_empty() {
        return Err(Problem::new(501, "chunked requests are not taken; send Content-Length"));
    }
    let connection = values("connection").concat();
    let keeps = if request.version == Some(1) { connection != "close" } else { connection == "keep-alive" };
    let expects_continue = values("expect").iter().any(|value| value == "100-continue");
    let body_bytes = body_bytes(&method, &values("content-length"))?;
    Ok(Some((length, Head { method, path, body_bytes, keeps, expects_continue })))
}

/// The announced length; two that differ may be an attempt to smuggle a request past a proxy.
fn body_bytes(method: &str, announced: &[String]) -> Result<usize, Problem> {
    match announced {
        [] if method == "POST" => Err(Problem::new(411, "send Content-Length")),
        [] => Ok(0),
        [first, others @ ..] if others.iter().all(|other| other == first) => {
            let digits = first.bytes().all(|byte| byte.is_ascii_digit());
            let bytes = first.parse().ok().filter(|_| digits);
            bytes.ok_or_else(|| Problem::new(400, "Content-Length is no number"))
        }
        _ => Err(Problem::new(400, "two Content-Length headers differ")),
    }
}

impl Connection {
    /// Over a stream whose timeouts are set.
    pub fn new(stream: TcpStream) -> Connection {
        Connection { stream, buffer: Vec::new(), goes_on: true }
    }

    /// Whether another request may follow.
    pub fn goes_on(&self) -> bool {
        self.goes_on
    }

    /// Reads more; false where the client has ended.
    fn fill(&mut self) -> std::io::Result<bool> {
        let mut bytes = [0; 8 << 10];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count > 0)
    }

    /// Waits for the next request; one that is no request is refused here.
    pub fn receive(&mut self, body_bytes_max: usize) -> std::io::Result<Incoming> {
        let (head_bytes, head) = loop {
            match parse(&self.buffer) {
                Ok(Some(found)) => break found,
                Ok(None) => {}
                Err(problem) => return self.refuse(&problem).map(|()| Incoming::End),
            }
            if !self.fill()? {
                return Ok(Incoming::End);
            }
        };
        self.goes_on = head.keeps;
        if head.body_bytes > body_bytes_max {
            let problem = Problem::new(413, format!("a body may have {body_bytes_max} bytes"));
            return self.refuse(&problem).map(|()| Incoming::End);
        }
        if head.expects_continue {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        while self.buffer.len() < head_bytes + head.body_bytes {
            if !self.fill()? {
                return Ok(Incoming::End);
            }
        }
        let rest = self.buffer.split_off(head_bytes + head.body_bytes);
        let body = std::mem::replace(&mut self.buffer, rest).split_off(head_bytes);
        Ok(Incoming::Request(Request { method: head.method, path: head.path, body }))
    }

    fn head(&self, status: u16, fields: &str) -> String {
        let connection = if self.goes_on { "keep-alive" } else { "close" };
        format!("HTTP/1.1 {status} {}\r\n{fields}Connection: {connection}\r\n\r\n", reason(status))
    }

    fn send(&mut self, status: u16, value: &Value) -> std::io::Result<()> {
        let body = value.to_string();
        let fields = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        self.stream.write_all((self.head(status, &fields) + &body).as_bytes())
    }

    /// Answers with 200 and JSON.
    pub fn send_json(&mut self, value: &Value) -> std::io::Result<()> {
        self.send(200, value)
    }

    /// Answers with a problem; the connection goes on.
    pub fn send_problem(&mut self, problem: &Problem) -> std::io::Result<()> {
        self.send(problem.status, &problem.json())
    }

    /// Answers with a problem after which nothing on this connection can be understood.
    pub fn refuse(&mut self, problem: &Problem) -> std::io::Result<()> {
        self.goes_on = false;
        self.send_problem(problem)?;
        // Closing while bytes of the client are unread would reset the connection and lose the answer.
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let mut unread = [0; 8 << 10];
        for _ in 0..HEAD_BYTES_MAX {
            if self.stream.read(&mut unread)? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Begins a stream of events.
    pub fn begin_events(&mut self) -> std::io::Result<()> {
        let fields = "Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n";
        self.stream.write_all(self.head(200, fields).as_bytes())
    }

    /// Sends an event.
    pub fn send_event(&mut self, data: &str) -> std::io::Result<()> {
        let event = format!("data: {data}\n\n");
        self.stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
    }

    /// Ends the stream of events.
    pub fn end_events(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"0\r\n\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_that_are_doubtful_are_refused() {
        let of = |values: &[&str]| body_bytes("POST", &values.iter().map(|v| v.to_string()).collect::<Vec<_>>());
        assert_eq!((of(&["12"]), of(&["12", "12"])), (Ok(12), Ok(12)));
        for wrong in [&["12", "13"][..], &["+12"], &["-1"], &["0x1"], &["1 2"], &[""], &["99999999999999999999999"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(body_bytes("GET", &[]), Ok(0));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_head_or_a_problem_or_not_enough(bytes in proptest::collection::vec(0u8.., 0..300)) {
            let _ = parse(&bytes);
        }
    }
}
