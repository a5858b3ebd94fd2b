//! The standard plugin of the backend suite as a bare worker: blocking lines, no SDK.
//!
//! What it answers stands in `kodex_backend::suite`; `fixtures/suite/suite.py` is the same in Python.

use std::{
    io::{self, BufRead, Write},
    time::Duration,
};

use kodex_plugin::wire::{CallReply, CallRequest, Frame, Id, Log, Now, method};
use kodex_plugin::{Json, Limits, RequestKind, host::LogLevel, wire};
use serde_json::{Value, json};

struct Lines {
    input: io::StdinLock<'static>,
    output: io::Stdout,
    line: Vec<u8>,
}

impl Lines {
    /// Reads the next line; nothing at the end of the input.
    fn next(&mut self) -> Option<&[u8]> {
        self.line.clear();
        let n = self.input.read_until(b'\n', &mut self.line).ok()?;
        (n > 0).then_some(self.line.as_slice())
    }

    fn send(&mut self, line: Result<Vec<u8>, serde_json::Error>) -> io::Result<()> {
        self.output.write_all(&line?)?;
        self.output.flush()
    }

    /// Asks the host and waits for its answer.
    fn ask(&mut self, method: &str) -> Option<Value> {
        let id = Id::Text("suite".to_owned());
        self.send(wire::write_request(&id, method, json!({})))
            .ok()?;
        match wire::parse(self.next()?, &Limits::default()).ok()? {
            Frame::Response { result, .. } => serde_json::from_str(result.ok()?.get()).ok(),
            Frame::Request { .. } | Frame::Notification { .. } => None,
        }
    }
}

fn main() -> io::Result<()> {
    let mut lines = Lines {
        input: io::stdin().lock(),
        output: io::stdout(),
        line: Vec::new(),
    };
    let limits = Limits::default();
    loop {
        let Some(line) = lines.next() else {
            return Ok(());
        };
        let Ok(Frame::Request { id, method, params }) = wire::parse(line, &limits) else {
            continue;
        };
        let params = params.map_or("null", |raw| raw.get());
        match &*method {
            method::INITIALIZE => {
                let params: Value = serde_json::from_str(params)?;
                let result = json!({
                    "contract": {"version": wire::CONTRACT_VERSION, "features": ["cancel", "clock", "log"]},
                    "plugin": {"name": params["plugin"], "version": "0.1.0"},
                });
                lines.send(wire::write_result(&id, result))?;
            }
            method::CALL => {
                // Read as raw text: the suite is also what speed is measured with.
                let call: Raw<'_> = serde_json::from_str(params)?;
                if call.name == "echo" {
                    let line = echo(&id, call.payload.get());
                    lines.send(Ok(line))?;
                    continue;
                }
                let call: CallRequest = serde_json::from_str(params)?;
                match answer(&mut lines, call) {
                    Ok(reply) => lines.send(wire::write_result(&id, CallReply { reply }))?,
                    Err((code, message)) => {
                        let error = wire::ErrorObject {
                            code,
                            message,
                            data: None,
                        };
                        lines.send(wire::write_error(&id, &error))?;
                    }
                }
            }
            method::SHUTDOWN => {
                lines.send(wire::write_result(&id, Value::Null))?;
                return Ok(());
            }
            _ => {}
        }
    }
}

#[derive(serde::Deserialize)]
struct Raw<'a> {
    name: &'a str,
    #[serde(borrow)]
    payload: &'a serde_json::value::RawValue,
}

fn echo(id: &Id, payload: &str) -> Vec<u8> {
    let id = match id {
        Id::Number(number) => number.to_string(),
        Id::Text(text) => json!(text).to_string(),
    };
    let mut line = Vec::with_capacity(payload.len() + 64);
    for part in [
        r#"{"jsonrpc":"2.0","id":"#,
        &id,
        r#","result":{"reply":"#,
        payload,
        "}}\n",
    ] {
        line.extend_from_slice(part.as_bytes());
    }
    line
}

type Answer = Result<Option<Json>, (i64, String)>;

fn answer(lines: &mut Lines, call: CallRequest) -> Answer {
    let some = |value: Value| Ok(Some(Json::from(value)));
    match (call.kind, call.name.as_str()) {
        (RequestKind::Hook, "none") => Ok(None),
        (RequestKind::Hook, "null") => some(Value::Null),
        (RequestKind::Hook, "raise") => Err((wire::code::RAISED, "it went wrong".to_owned())),
        (RequestKind::Hook, "slow") => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(None)
        }
        (RequestKind::Hook, "big") => some(Value::from("x".repeat(200_000))),
        (RequestKind::Hook, "log") => {
            let log = Log {
                level: LogLevel::Warning,
                message: "seen".to_owned(),
                fields: Some(Json::from(json!({"n": 1}))),
            };
            let _ = lines.send(wire::write_notification(method::LOG, log));
            Ok(None)
        }
        (RequestKind::Hook, "clock") => match lines.ask(method::CLOCK_NOW) {
            Some(now) => match serde_json::from_value::<Now>(now.clone()) {
                Ok(_) => some(now),
                Err(error) => Err((wire::code::INTERNAL, error.to_string())),
            },
            None => Err((wire::code::INTERNAL, "the host does not answer".to_owned())),
        },
        (RequestKind::Tool, "add") => {
            let input = call.payload.value();
            match (input["a"].as_i64(), input["b"].as_i64()) {
                (Some(a), Some(b)) => some(json!({"sum": a.wrapping_add(b)})),
                _ => Err((
                    wire::code::DOMAIN,
                    "a and b must be whole numbers".to_owned(),
                )),
            }
        }
        _ => Err((
            wire::code::METHOD_NOT_FOUND,
            format!("there is no {}", call.name),
        )),
    }
}
