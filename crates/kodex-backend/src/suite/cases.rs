//! The cases. Each is one function and one row.

use std::{fmt::Debug, time::Duration};

use kodex_plugin::{Failure, Json, Limits, PluginError, Reply, RequestKind, host::LogLevel};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    Case, Running, Verdict,
    exchange::{Exchange, LONG, UNIX_MS},
};

macro_rules! cases {
    ($($name:ident)*) => {
        pub(super) const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            run: |exchange| -> Running<'_> { Box::pin($name(exchange)) },
        }),*];
    };
}

cases! {
    a_hook_is_answered
    text_of_every_kind_comes_back_as_it_went
    line_breaks_in_a_payload_are_harmless
    numbers_keep_their_digits
    nothing_is_no_reply
    null_is_a_reply
    an_error_keeps_its_text
    an_error_does_no_harm
    a_tool_is_answered
    a_tool_may_refuse_its_input
    a_big_reply_arrives_whole
    calls_beside_each_other_keep_apart
    a_log_line_reaches_the_host
    the_host_answers
    a_slow_call_is_left_behind
    a_dropped_call_is_left_behind
    the_state_can_be_asked_at_any_time
    an_activation_follows_a_deactivation
}

fn same<T: PartialEq + Debug>(got: &T, want: &T) -> Verdict {
    match got == want {
        true => Ok(()),
        false => Err(format!("got {got:.200?}, want {want:.200?}")),
    }
}

fn replies(got: Result<Reply, PluginError>, want: Value) -> Verdict {
    same(&got, &Ok(Reply::from(want)))
}

async fn echoes(exchange: &Exchange, value: Value) -> Verdict {
    replies(exchange.hook("echo", value.clone()).await, value)
}

async fn a_hook_is_answered(exchange: &Exchange) -> Verdict {
    echoes(
        exchange,
        json!({"text": "hello", "list": [1, true, null, {}]}),
    )
    .await
}

async fn text_of_every_kind_comes_back_as_it_went(exchange: &Exchange) -> Verdict {
    for text in [
        "",
        "Grüße, 世界, 👩‍🚀",
        "\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{2029}\u{feff}\u{fffd}\u{10ffff}",
        "quotes \" and \\ and / and \t\r\n",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n",
    ] {
        echoes(exchange, json!({"text": text, text: "as a key"})).await?;
    }
    Ok(())
}

async fn line_breaks_in_a_payload_are_harmless(exchange: &Exchange) -> Verdict {
    let text = "{\r\n  \"a\" : [ 1,\n\t2 ],\n  \"b\" : \"c\\nd\"\r\n}";
    let payload = Json::parse(text, &Limits::default()).map_err(|error| error.to_string())?;
    let reply = exchange.call(RequestKind::Hook, "echo", &payload, LONG);
    replies(reply.await, json!({"a": [1, 2], "b": "c\nd"}))
}

async fn numbers_keep_their_digits(exchange: &Exchange) -> Verdict {
    echoes(
        exchange,
        json!([
            0,
            -1,
            9_007_199_254_740_993_u64,
            u64::MAX,
            i64::MIN,
            0.1,
            1e300,
            -2.5e-300
        ]),
    )
    .await
}

async fn nothing_is_no_reply(exchange: &Exchange) -> Verdict {
    same(
        &exchange.hook("none", json!({})).await,
        &Ok(Reply::nothing()),
    )
}

async fn null_is_a_reply(exchange: &Exchange) -> Verdict {
    replies(exchange.hook("null", json!({})).await, Value::Null)
}

async fn an_error_keeps_its_text(exchange: &Exchange) -> Verdict {
    let got = exchange.hook("raise", json!({})).await;
    same(&got, &Err(PluginError::raised("it went wrong")))
}

async fn an_error_does_no_harm(exchange: &Exchange) -> Verdict {
    for _ in 0..3 {
        an_error_keeps_its_text(exchange).await?;
        echoes(exchange, json!("still here")).await?;
    }
    Ok(())
}

async fn a_tool_is_answered(exchange: &Exchange) -> Verdict {
    let sum = exchange.tool("add", json!({"a": 2, "b": -5})).await;
    replies(sum, json!({"sum": -3}))
}

async fn a_tool_may_refuse_its_input(exchange: &Exchange) -> Verdict {
    let got = exchange.tool("add", json!({"a": "two"})).await;
    let want = PluginError::domain("a and b must be whole numbers");
    same(&want.failure, &Failure::Domain)?;
    same(&got, &Err(want))
}

async fn a_big_reply_arrives_whole(exchange: &Exchange) -> Verdict {
    replies(
        exchange.hook("big", json!({})).await,
        json!("x".repeat(200_000)),
    )
}

async fn calls_beside_each_other_keep_apart(exchange: &Exchange) -> Verdict {
    for round in 0..20 {
        let ask = |n: usize| echoes(exchange, json!([round, n, "x".repeat(n * 1_000)]));
        let (a, b, c, d) = tokio::join!(ask(1), ask(2), ask(0), ask(30));
        a.and(b).and(c).and(d)?;
    }
    Ok(())
}

async fn a_log_line_reaches_the_host(exchange: &Exchange) -> Verdict {
    let reply = exchange.hook("log", json!({})).await;
    same(&reply, &Ok(Reply::nothing()))?;
    let want = [(LogLevel::Warning, "seen".to_owned(), json!({"n": 1}))];
    let arrived = async {
        while exchange.logged().is_empty() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let _ = timeout(LONG, arrived).await;
    same(&exchange.logged(), &want.to_vec())
}

async fn the_host_answers(exchange: &Exchange) -> Verdict {
    for _ in 0..3 {
        let reply = exchange.hook("clock", json!({})).await;
        replies(reply, json!({"unix_ms": UNIX_MS}))?;
    }
    Ok(())
}

/// A call that overran may cost the process; the next call must not notice.
async fn a_slow_call_is_left_behind(exchange: &Exchange) -> Verdict {
    let span = Duration::from_millis(200);
    let payload = Json::object();
    let slow = exchange.call(RequestKind::Hook, "slow", &payload, span);
    // Who enforces the deadline is open: the dispatcher does it for a native plugin.
    if let Ok(got) = timeout(span + Duration::from_secs(1), slow).await {
        same(&got.map_err(|error| error.failure), &Err(Failure::Timeout))?;
    }
    echoes(exchange, json!("still here")).await
}

async fn a_dropped_call_is_left_behind(exchange: &Exchange) -> Verdict {
    let payload = Json::object();
    let span = Duration::from_millis(500);
    let slow = exchange.call(RequestKind::Hook, "slow", &payload, span);
    if timeout(Duration::from_millis(50), slow).await.is_ok() {
        return Err("a slow call was answered at once".to_owned());
    }
    // Asked at once, a plugin that does one thing after the other is still busy with the dropped
    // call, and may lose this one with its process; the one after that finds a new process.
    let _ = exchange.hook("echo", json!("beside")).await;
    echoes(exchange, json!("still here")).await
}

async fn the_state_can_be_asked_at_any_time(exchange: &Exchange) -> Verdict {
    let _ = exchange.plugin.health();
    let (reply, ()) = tokio::join!(echoes(exchange, json!(1)), async {
        let _ = exchange.plugin.health();
    });
    reply
}

async fn an_activation_follows_a_deactivation(exchange: &Exchange) -> Verdict {
    echoes(exchange, json!(1)).await?;
    exchange.end().await?;
    exchange.begin().await.map_err(|error| error.to_string())?;
    echoes(exchange, json!(2)).await
}
