//! The model over HTTP, as OpenAI's completions: `POST /v1/completions` (streamed or whole, with log-probabilities, also
//! of the prompt, so that evaluation harnesses run against it), `GET /v1/models`, `GET /health`.
//!
//! A thread a connection, a bounded number of them, over the standard library's sockets: a model answers few requests at
//! a time, and an async runtime would wait for the same cores. Whatever bytes come in, what goes out is an answer with
//! a status, or nothing.

mod answer;
mod completions;
mod http;
mod request;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

pub use completions::Engine;
use http::{Connection, Incoming, Problem};

/// How long a client may be silent, or not read.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more are told to come back.
    pub connections: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 32, body_bytes: 8 << 20 }
    }
}

/// Answers on `listener` until the process ends.
///
/// # Errors
/// Where the listener fails for good.
pub fn serve(listener: &TcpListener, engine: Engine, limits: Limits) -> std::io::Result<()> {
    let engine = Arc::new(engine);
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // A client that has gone before it was accepted, or a moment without descriptors, is no end.
            Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => return Err(error),
            Err(_) => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
        };
        let (engine, guard) = (engine.clone(), Guard::enter(&open));
        let full = guard.number > limits.connections;
        let answer = move || {
            let _guard = guard;
            // The client has gone: nobody is left to be told.
            let _ = if full { turn_away(stream) } else { converse(stream, &engine, limits) };
        };
        // Without a thread the connection closes, and the client tries again.
        let _ = std::thread::Builder::new().name("connection".to_owned()).spawn(answer);
    }
}

/// Counts a connection while it lives.
struct Guard {
    open: Arc<AtomicUsize>,
    number: usize,
}

impl Guard {
    fn enter(open: &Arc<AtomicUsize>) -> Guard {
        Guard { open: open.clone(), number: open.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn connection(stream: TcpStream) -> std::io::Result<Connection> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(Connection::new(stream))
}

fn turn_away(stream: TcpStream) -> std::io::Result<()> {
    connection(stream)?.refuse(&Problem::new(503, "every connection is taken; try again"))
}

/// Answers the requests of one connection, one after the other.
fn converse(stream: TcpStream, engine: &Engine, limits: Limits) -> std::io::Result<()> {
    let mut connection = connection(stream)?;
    while let Incoming::Request(request) = connection.receive(limits.body_bytes)? {
        if let Err(failed) = route(&request, engine, &mut connection) {
            match failed {
                answer::Failed::Client(error) => return Err(error),
                answer::Failed::Request(problem) => connection.send_problem(&problem)?,
            }
        }
        if !connection.goes_on() {
            break;
        }
    }
    Ok(())
}

fn route(request: &http::Request, engine: &Engine, connection: &mut Connection) -> Result<(), answer::Failed> {
    let path = request.path.split('?').next().unwrap_or_default();
    match (request.method.as_str(), path) {
        ("POST", "/v1/completions") => completions::answer(request, engine, connection),
        ("GET", "/v1/models") => Ok(connection.send_json(&json!({"object": "list", "data": [engine.describe()]}))?),
        ("GET", "/health") => Ok(connection.send_json(&json!({"status": "ok"}))?),
        ("GET", one) if one.strip_prefix("/v1/models/") == Some(engine.name()) => {
            Ok(connection.send_json(&engine.describe())?)
        }
        (_, "/v1/completions" | "/v1/models" | "/health") => {
            Err(Problem::new(405, format!("{} is not allowed here", request.method)).into())
        }
        _ => Err(Problem::new(404, "there are /v1/completions, /v1/models and /health").into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::SocketAddr;

    use serde_json::Value;

    use super::*;
    use crate::generate::testing::{bytes_codec, shaped};

    /// A server of a random model of bytes.
    fn server(limits: Limits) -> SocketAddr {
        let folder = tempfile::tempdir().unwrap();
        let engine = Engine::new(shaped(256, 24, Some(0)), bytes_codec(folder.path()), "tiny".into());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, engine, limits));
        address
    }

    /// Sends bytes, closes this side, and returns all that comes back.
    fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        // A server that has refused may close before it has read everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn post(address: SocketAddr, body: &str) -> (String, Value) {
        let head = format!("POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = exchange(address, (head + body).as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap_or_default())
    }

    #[test]
    fn a_text_is_continued_and_counted() {
        let address = server(Limits::default());
        let (status, answer) =
            post(address, r#"{"prompt": "ab", "max_tokens": 3, "temperature": 0, "ignore_eos": true}"#);
        assert_eq!(status, "HTTP/1.1 200 OK");
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        assert_eq!((&answer["usage"]["prompt_tokens"], &answer["usage"]["completion_tokens"]), (&2.into(), &3.into()));
        assert_eq!(answer["choices"][0]["logprobs"], Value::Null);
    }

    #[test]
    fn log_probabilities_of_the_prompt_are_those_of_scoring_it() {
        let address = server(Limits::default());
        let body = r#"{"prompt": [[1, 2, 3, 4]], "max_tokens": 1, "temperature": 0, "logprobs": 2, "echo": true}"#;
        let (_, answer) = post(address, body);
        let found = &answer["choices"][0]["logprobs"];
        let model = shaped(256, 24, Some(0));
        let piece = crate::eval::Piece { tokens: vec![1, 2, 3, 4], scored_from: 1 };
        let scores = crate::eval::score(&model, &[piece]).unwrap().concat();
        assert_eq!(found["token_logprobs"][0], Value::Null);
        for (index, score) in scores.iter().enumerate() {
            let told = found["token_logprobs"][index + 1].as_f64().unwrap();
            assert!((told - f64::from(*score)).abs() < 1e-4, "{told} {score}");
        }
        // The chosen token is the most likely one, and stands among the most likely ones with the very same number.
        let chosen = found["token_logprobs"][4].as_f64().unwrap();
        let top = found["top_logprobs"][4].as_object().unwrap();
        let best = top.values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max);
        assert_eq!((chosen, top.len()), (best, 2));
    }

    #[test]
    fn several_prompts_and_choices_are_answered_in_order() {
        let (_, answer) =
            post(server(Limits::default()), r#"{"prompt": ["a", "b"], "n": 2, "max_tokens": 1, "seed": 3}"#);
        let indices: Vec<_> =
            answer["choices"].as_array().unwrap().iter().map(|c| c["index"].as_u64().unwrap()).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
    }

    #[test]
    fn a_stream_is_the_same_text_in_pieces_and_ends_with_done() {
        let address = server(Limits::default());
        let ask = |stream: bool| {
            format!(r#"{{"prompt": "ab", "max_tokens": 12, "temperature": 0, "ignore_eos": true, "stream": {stream}}}"#)
        };
        let whole = post(address, &ask(false)).1["choices"][0]["text"].as_str().unwrap().to_owned();
        let body = ask(true);
        let head =
            format!("POST /v1/completions HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        let answer = exchange(address, (head + &body).as_bytes());
        assert!(answer.contains("text/event-stream") && answer.contains("data: [DONE]\n\n"), "{answer}");
        let events = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let pieces: String = events.map(|e| e["choices"][0]["text"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(pieces, whole);
    }

    #[test]
    fn one_connection_carries_several_requests() {
        let request = "GET /v1/models HTTP/1.1\r\n\r\n";
        let answer = exchange(server(Limits::default()), request.repeat(3).as_bytes());
        assert_eq!(answer.matches("\"id\":\"tiny\"").count(), 3);
    }

    #[test]
    fn wrong_requests_have_a_status_and_a_message() {
        let address = server(Limits { body_bytes: 1000, ..Limits::default() });
        for (body, said) in [
            ("{", "JSON"),
            ("[]", "object"),
            ("{}", "prompt"),
            (r#"{"prompt": 5}"#, "prompt"),
            (r#"{"prompt": [1, "a"]}"#, "prompt"),
            (r#"{"prompt": [999]}"#, "999"),
            (r#"{"prompt": [-1]}"#, "prompt"),
            (r#"{"prompt": "a", "max_tokens": -1}"#, "max_tokens"),
            (r#"{"prompt": "a", "temperature": "hot"}"#, "temperature"),
            (r#"{"prompt": "a", "temperature": -1}"#, "temperature"),
            (r#"{"prompt": "a", "logprobs": 500}"#, "logprobs"),
            (r#"{"prompt": "a", "n": 0}"#, "n"),
            (r#"{"prompt": "a", "frequency_penalty": 1}"#, "frequency_penalty"),
            (r#"{"prompt": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#, "24 positions"),
        ] {
            let (status, answer) = post(address, body);
            assert_eq!(status, "HTTP/1.1 400 Bad Request", "{body}: {answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains(said), "{body}: {answer}");
        }
        assert_eq!(post(address, &" ".repeat(2000)).0, "HTTP/1.1 413 Payload Too Large");
        assert!(exchange(address, b"GET /nothing HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(exchange(address, b"PUT /v1/models HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(exchange(address, b"POST /v1/completions HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 411 "));
    }

    #[test]
    fn no_bytes_bring_the_server_down() {
        let address = server(Limits::default());
        let long = vec![b'a'; 100_000];
        let headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
        for bytes in [&b""[..], b"\r\n\r\n", b"\0\xff\xfe\r\n\r\n", b"GET", &long, headers.as_bytes()] {
            exchange(address, bytes);
        }
        for index in 0..200u64 {
            let random = (0..300u64).map(|at| crate::rng::bits(5, index, at) as u8).collect::<Vec<u8>>();
            exchange(address, &[b"POST /v1/completions HTTP/1.1\r\nContent-Length: 300\r\n\r\n", &random[..]].concat());
            exchange(address, &random);
        }
        exchange(address, b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n");
        exchange(address, b"POST /v1/completions HTTP/1.1\r\nContent-Length: 10\r\nContent-Length: 20\r\n\r\n");
        exchange(
            address,
            b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        );
        let deep = format!("{{\"prompt\": {}}}", "[".repeat(100_000));
        assert_eq!(post(address, &deep).0, "HTTP/1.1 400 Bad Request");
        assert!(exchange(address, b"GET /health HTTP/1.1\r\n\r\n").contains("\"ok\""));
    }

    #[test]
    fn more_connections_than_allowed_are_turned_away() {
        let address = server(Limits { connections: 1, ..Limits::default() });
        let held = TcpStream::connect(address).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let answer = exchange(address, b"GET /health HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        drop(held);
    }
}
